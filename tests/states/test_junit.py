"""JUnit XML: what runners write is read; what anybody else writes does no harm."""

from __future__ import annotations

import json
import time

import pytest

from necrocode.states.junit import (
    MAX_BYTES,
    MAX_DETAILS,
    MAX_FAILING,
    MAX_MESSAGE,
    MAX_NAME,
    MAX_NAMED,
    UnreadableReport,
    read,
)

PYTEST = b"""<?xml version="1.0" encoding="utf-8"?>
<testsuites name="pytest tests"><testsuite name="pytest" errors="1" failures="1" skipped="1" tests="4" time="0.123">
<testcase classname="tests.test_a" name="test_ok" time="0.001" />
<testcase classname="tests.test_a" name="test_bad[1]" time="0.002"><failure message="assert 1 == 2">def test_bad():
&gt;   assert 1 == 2
E   assert 1 == 2</failure></testcase>
<testcase classname="tests.test_a" name="test_later"><skipped type="pytest.skip" message="later" /></testcase>
<testcase classname="" name="tests.test_b" time="0.000"><error message="collection failure">Import</error></testcase>
</testsuite></testsuites>"""

MAVEN = b"""<testsuite xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" name="com.example.AppTest" time="1,234.5">
<properties><property name="java.version" value="21"/></properties>
<testcase name="greets" classname="com.example.AppTest" time="0.04">
<failure type="org.opentest4j.AssertionFailedError"><![CDATA[expected: <a> but was: <b>
\tat com.example.AppTest.greets(AppTest.java:12)]]></failure><system-out>said <![CDATA[<much>]]></system-out>
</testcase></testsuite>"""


def case(name: str, failing: str = "") -> str:
    return f'<testcase name="{name}">{failing}</testcase>'


def suite(*cases: str) -> bytes:
    return f"<testsuite>{''.join(cases)}</testsuite>".encode()


FAILURE = '<failure message="no">trace</failure>'


def test_what_pytest_writes() -> None:
    report = read(PYTEST)
    assert (report.tests, report.failures, report.errors, report.skipped, report.seconds) == (4, 1, 1, 1, 0.003)
    bad, broken = report.failing
    assert (bad.test_id, bad.kind, bad.message, bad.seconds) == (
        "tests.test_a::test_bad[1]",
        "failure",
        "assert 1 == 2",
        0.002,
    )
    assert bad.details.endswith("E   assert 1 == 2")
    assert (broken.test_id, broken.kind) == ("tests.test_b", "error")


def test_what_maven_writes_with_the_failure_in_a_text_alone() -> None:
    (failing,) = read(MAVEN).failing
    assert failing.test_id == "com.example.AppTest::greets"
    assert failing.message == "org.opentest4j.AssertionFailedError"
    assert failing.details.startswith("expected: <a> but was: <b>\n\tat com.example")


def test_a_test_that_failed_and_errs_in_its_tear_down_counts_once() -> None:
    report = read(suite(case("a", FAILURE + '<error message="tear-down"/>'), case("b", "<skipped/>" + FAILURE)))
    assert (report.tests, report.failures, report.errors, report.skipped) == (2, 2, 0, 0)


def test_a_namespace_and_nested_suites_make_no_difference() -> None:
    case = b'<a:testsuite><a:testcase name="x"><a:error/></a:testcase></a:testsuite>'
    report = read(b'<a:testsuites xmlns:a="u"><a:testsuite>%b</a:testsuite></a:testsuites>' % case)
    assert (report.tests, report.errors, report.failing[0].name) == (1, 1, "x")


def test_what_is_kept_is_bounded_however_much_fails() -> None:
    names = [f"{'n' * 400}{number}" for number in range(MAX_FAILING + MAX_NAMED + 7)]
    long = f'<failure message="{"m" * 5000}">{"d" * 10_000}</failure>'
    report = read(suite(*(case(name, long) for name in names)))
    assert (len(report.failing), len(report.also_failing), report.unnamed) == (MAX_FAILING, MAX_NAMED, 7)
    assert {len(test.name) for test in report.failing} == {MAX_NAME}
    assert len({test.name for test in report.failing} | set(report.also_failing)) == MAX_FAILING + MAX_NAMED, (
        "told apart"
    )
    assert {len(test.message) for test in report.failing} == {MAX_MESSAGE}
    assert max(len(test.details) for test in report.failing) == MAX_DETAILS
    assert len(json.dumps(report.as_json())) < 300_000


def test_reports_of_several_files_are_added_up() -> None:
    total, other = read(PYTEST), read(suite(case("a"), case("b", FAILURE)))
    total.absorb(other)
    assert (total.tests, total.failures, [test.name for test in total.failing][-1]) == (6, 2, "b")


def test_secrets_are_masked_before_anything_is_cut_and_control_characters_are_shown_as_such() -> None:
    secret = "s3cret-token"
    name = "x" * (MAX_NAME - 5) + secret
    failing = read(
        suite(case(name, f'<failure message="a\u202eb&#x85;{secret}">{secret}</failure>')),
        mask=lambda text: text.replace(secret, "***"),
    ).failing[0]
    assert secret[:4] not in repr(failing)
    assert failing.message == "a\ufffdb\ufffd***"


BILLION_LAUGHS = b"""<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY lol "lol">
<!ENTITY lol2 "&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;">
<!ENTITY lol3 "&lol2;&lol2;&lol2;&lol2;&lol2;&lol2;&lol2;&lol2;&lol2;&lol2;">]>
<testsuite><testcase name="&lol3;"/></testsuite>"""


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "not well-formed"),
        (b"ok", "not well-formed"),
        (b"\x00\x01\x02", "not well-formed"),
        (PYTEST[:-20], "not well-formed"),
        (b"<testsuite>&#27;</testsuite>", "not well-formed"),
        (b"<html><body/></html>", "another root"),
        (BILLION_LAUGHS, "document type"),
        (b'<!DOCTYPE t SYSTEM "file:///etc/passwd"><testsuite/>', "document type"),
        (b'<!DOCTYPE t [<!ENTITY x SYSTEM "file:///etc/passwd">]><testsuite>&x;</testsuite>', "document type"),
        (b'<?xml version="1.0" encoding="no-such"?><testsuite/>', "not well-formed|decoded"),
        (b"<testsuite>" * 51 + b"</testsuite>" * 51, "nested"),
        (b"<testsuite>" + b" " * MAX_BYTES + b"</testsuite>", "larger than"),
    ],
    ids=lambda value: value[:40].decode("latin-1") if isinstance(value, bytes) else "",
)
def test_what_is_no_junit_xml_or_means_harm_is_refused(content: bytes, why: str) -> None:
    with pytest.raises(UnreadableReport, match=why):
        read(content)


@pytest.mark.parametrize("text", ["nan", "inf", "-5", "1e400", "soon", ""])
def test_a_time_that_is_none_counts_as_nothing(text: str) -> None:
    assert read(f'<testsuite><testcase name="a" time="{text}"/></testsuite>'.encode()).seconds == 0


def test_a_file_of_the_largest_size_is_read_in_seconds() -> None:
    began = time.monotonic()
    one = case("name", FAILURE)
    report = read(suite(one * ((4 * 1024 * 1024) // len(one))))
    assert report.unnamed > 10_000
    assert time.monotonic() - began < 10
