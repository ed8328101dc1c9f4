"""What the model is told of failed tests: the failing ones first, within a budget, the same for the same results."""

from __future__ import annotations

from typing import Any

from necrocode.coder.feedback import FEEDBACK_CHARACTERS, FEEDBACK_EACH, told
from necrocode.states.ports import TestResult


def test(name: str, message: str = "assert 1 == 2", details: str = "") -> dict[str, Any]:
    return {"id": name, "name": name, "kind": "failure", "message": message, "details": details, "seconds": 0.1}


test.__test__ = False  # type: ignore[attr-defined]


def report(*failing: dict[str, Any], also: tuple[str, ...] = (), unnamed: int = 0) -> dict[str, Any]:
    failures = len(failing) + len(also) + unnamed
    return {
        "tests": failures + 10,
        "failures": failures,
        "errors": 0,
        "skipped": 0,
        "failing": list(failing),
        "also_failing": list(also),
        "unnamed": unnamed,
    }


def failed(command: str = "pytest", output: str = "OUTPUT", **more: Any) -> TestResult:
    return TestResult(command, False, "exited", 1, output, 1.0, **more)


def test_the_failing_tests_stand_before_the_output() -> None:
    text = told([failed(report=report(test("a::x", "boom\n  at once", "the trace"), test("a::y")))])
    assert text.startswith(
        "`pytest`: exit code 1\n2 of 12 tests failed:\n- a::x: boom at once\n- a::y: assert 1 == 2\n"
    )
    assert text.index("a::y") < text.index("the trace") < text.index("OUTPUT")


def test_what_failed_before_is_told_apart_and_comes_last() -> None:
    text = told([failed(report=report(test("old"), test("new"), also=("old too",)), failed_before=["old", "old too"])])
    assert "3 of 13 tests failed, 2 of which failed before the change, too:\n- new" in text
    assert "Failed before the change, too: old, old too" in text
    assert "none of which failed before" in told([failed(report=report(test("new")), failed_before=[])])
    assert "all of which failed before" in told([failed(report=report(test("old")), failed_before=["old"])])


def test_without_a_report_there_is_the_output() -> None:
    assert told([failed()]) == "`pytest`: exit code 1\n```\nOUTPUT\n```"
    assert told([failed(report=report())]) == "`pytest`: exit code 1\n```\nOUTPUT\n```"


def test_however_much_failed_it_stays_within_the_budget() -> None:
    long = [test("n" * 600 + str(number), "m" * 500, "d" * 1500) for number in range(50)]
    many = failed(
        output="o" * 60_000,
        report=report(*long, also=tuple("a" * 600 + str(n) for n in range(500)), unnamed=1000),
        failed_before=[test["id"] for test in long[20:]],
    )
    assert len(told([many])) < FEEDBACK_EACH + 200
    assert "more" in told([many])
    for count in (2, 10, 50):
        assert len(told([many] * count)) < FEEDBACK_CHARACTERS + count * 200


def test_the_same_results_give_the_same_words() -> None:
    results = [failed(report=report(test("b"), test("a")), failed_before=["a"]), failed("lint")]
    assert told(results) == told(list(results))
