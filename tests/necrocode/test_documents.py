"""Documents: strict, bounded, and clear about what is wrong where."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from necrocode.documents import Format, UnreadableDocument, format_of, parse, read_bounded

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs", "Cc"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs", "Cc"])), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(value=st.dictionaries(st.sampled_from("abc"), plain) | st.lists(plain))
def test_json_is_read_as_the_library_reads_it(value: object) -> None:
    text = json.dumps(value, ensure_ascii=False)
    assert parse(text.encode(), None) == value
    assert parse(text.encode("utf-8-sig"), "json") == value


@given(value=st.dictionaries(st.sampled_from("abc"), plain, min_size=1))
def test_yaml_is_read_as_the_library_reads_it(value: object) -> None:
    assert parse(yaml.safe_dump(value).encode(), "yaml") == value


@given(content=st.binary(max_size=80), form=st.sampled_from(["json", "yaml", "toml", None]))
def test_any_bytes_are_read_or_refused(content: bytes, form: Format | None) -> None:
    try:
        parse(content, form)
    except UnreadableDocument as error:
        assert str(error)


@pytest.mark.parametrize(
    ("content", "form", "problem"),
    [
        (b"", None, "is empty"),
        (b" \n", "json", "is empty"),
        (b'{"a": 1,}', "json", r"is not JSON: .* \(line 1, column 9\)"),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "json", "has the key 'c' twice"),
        (b'{"a": NaN}', "json", "holds NaN, which is not JSON"),
        (b'{"a": -1e999}', "json", "a number that is not finite"),
        (b'{"a": "\\ud800"}', "json", "half a surrogate pair"),
        (b'{"\\udc00": 1}', "json", "half a surrogate pair"),
        (b"[" * 60 + b"]" * 60, "json", "more than 50 levels"),
        (b"[" * 200_000, "json", "more than 50 levels"),
        (b"1" * 5000, "json", "is not JSON"),
        (b"a: 1\nb: 2\na: 3\n", "yaml", r"has the key 'a' twice \(line 3\)"),
        (b"x: {b: 1, b: 2}", "yaml", "has the key 'b' twice"),
        (b"1: a", "yaml", r"has the key 1 \(line 1\), which is not text"),
        (b"yes: a", "yaml", "has the key True .* put it in quotes"),
        (b"? [a]\n: b", "yaml", "which is not text"),
        (b"a: &x [1]\nb: *x\n", "yaml", "YAML alias"),
        (b"a: !!python/object/apply:os.system [id]", "yaml", "could not determine a constructor"),
        (b"a: .inf", "yaml", "a number that is not finite"),
        (b"a: 2026-02-30", "yaml", "put text in quotes"),
        (b"a: [1\nb: 2", "yaml", r"is not YAML: .* \(line \d+, column \d+\)"),
        (b"a: 1\n---\nb: 2\n", "yaml", "is not YAML"),
        (b"[" * 3000, "yaml", "more than 50 levels"),
        (b"a = 1\na = 2", "toml", "is not TOML"),
        (b"\xe4\xf6", "yaml", r"is not UTF-8 text \(byte 0\): save it as UTF-8"),
        (b"a: \x00", "yaml", "NUL"),
        (b"\xff\xfea", "json", "is not UTF-16 text"),
    ],
)
def test_what_is_wrong_is_said(content: bytes, form: Format | None, problem: str) -> None:
    with pytest.raises(UnreadableDocument, match=problem):
        parse(content, form)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_is_understood(encoding: str) -> None:
    assert parse('{"a": "ä"}'.encode(encoding), None) == {"a": "ä"}


def test_without_an_extension_the_content_says_the_format() -> None:
    assert parse(b' \n{"a": 1}', None) == {"a": 1}
    assert parse(b"a: 1", None) == {"a": 1}
    assert [format_of(Path(name)) for name in ("a.JSON", "a.yml", "a.yaml", "a.toml", "a.txt", "-")] == [
        "json",
        "yaml",
        "yaml",
        "toml",
        None,
        None,
    ]


def test_a_large_file_is_refused_without_reading_it_all(tmp_path: Path) -> None:
    path = tmp_path / "large.json"
    with path.open("wb") as file:
        file.truncate(10_000_000_000)
    began = time.process_time()
    with pytest.raises(UnreadableDocument, match="larger than 2,097,152 bytes"):
        read_bounded(path)
    assert time.process_time() - began < 1


def test_a_file_that_is_not_there_and_a_folder_are_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(UnreadableDocument, match="does not exist"):
        read_bounded(tmp_path / "missing.json")
    with pytest.raises(UnreadableDocument, match="is a folder"):
        read_bounded(tmp_path)
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(UnreadableDocument, match="cannot be read"):
        read_bounded(loop)


def test_a_dash_is_standard_input() -> None:
    program = "from pathlib import Path; from necrocode.documents import *; print(parse(read_bounded(Path('-')), None))"
    ended = subprocess.run([sys.executable, "-c", program], input=b"a: 1", capture_output=True, check=True)
    assert ended.stdout.strip() == b"{'a': 1}"
