"""Patterns mean what they mean to git."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from necrocode.git.ignore import EMPTY, Rules
from necrocode.git.slot import SlotFiles
from tests.necrocode.git.repositories import git, make_store, write

PIECES = st.sampled_from(
    [
        "a",
        "b",
        "ab",
        "*",
        "**",
        "?",
        "[ab]",
        "[!a]",
        "[^b]",
        "[a-c]",
        "[[:alpha:]]",
        "[]a]",
        "[a",
        "a*",
        "*b",
        "a*b",
        "*a*",
        "\\a",
        "\\*",
        "***",
        ".",
        "[\\]]",
        "[a-]",
        "é",
    ]
)
LINES = st.builds(
    lambda negated, lead, parts, tail: negated + lead + "/".join(parts) + tail,
    st.sampled_from(["", "", "", "!"]),
    st.sampled_from(["", "", "/"]),
    st.lists(PIECES, min_size=1, max_size=3),
    st.sampled_from(["", "", "/", " ", "\\ ", "\r", "  ", "\\"]),
)
FILES = st.lists(st.sampled_from(["a", "b", "ab", "c", "aab", "*", "]", "-", "é", "a "]), min_size=1, max_size=3).map(
    "/".join
)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    top=st.lists(LINES, max_size=4), inner=st.lists(LINES, max_size=3), paths=st.sets(FILES, min_size=3, max_size=12)
)
def test_the_files_that_count_are_those_that_git_lists(top: list[str], inner: list[str], paths: set[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        slot = root / "slot"
        made: dict[str, str | bytes] = {
            path: "x" for path in paths if not any(other.startswith(path + "/") for other in paths)
        }
        write(slot, made)
        write(slot, {".gitignore": "\n".join(top) + "\n"})
        if (slot / "a").is_dir():
            write(slot, {"a/.gitignore": "\n".join(inner) + "\n"})
        git(slot, "init", "--quiet")
        listed = git(slot, "ls-files", "-z", "--others", "--exclude-standard").split("\0")
        store = make_store(root / "store.git")
        tree = SlotFiles(slot, root / "state", store).snapshot()
        assert sorted(path for path, _ in store.flatten(tree)) == sorted(path for path in listed if path)


@pytest.mark.parametrize(
    ("patterns", "path", "is_directory", "ignored"),
    [
        ("*.o\n!keep.o\n", "deep/x.o", False, True),
        ("*.o\n!keep.o\n", "keep.o", False, False),
        ("build/\n", "build", False, False),
        ("build/\n", "a/build", True, True),
        ("/top\n", "a/top", False, False),
        ("a/**/z\n", "a/b/c/z", False, True),
        ("#comment\n\\#file\n", "#file", False, True),
        ("\ufeffbom\n", "bom", False, True),
        ("crlf\r\n", "crlf", False, True),
        ("kept\\ \n", "kept ", False, True),
        ("", "anything", False, False),
    ],
)
def test_one_pattern(patterns: str, path: str, is_directory: bool, ignored: bool) -> None:
    assert Rules(EMPTY, "", patterns.encode()).ignores(path, is_directory) is ignored


def test_a_deeper_file_overrides_one_above() -> None:
    above = Rules(EMPTY, "", b"*.log\n")
    below = Rules(above, "sub/", b"!kept.log\n/own\n")
    assert not below.ignores("sub/kept.log", False)
    assert below.ignores("sub/other.log", False)
    assert below.ignores("sub/own", False)
    assert not below.ignores("sub/deeper/own", False)


def test_a_hostile_pattern_costs_no_time() -> None:
    rules = Rules(EMPTY, "", b"*a" * 60 + b"b\n" + b"**/a/" * 60 + b"b\n" + b"/".join([b"*a*a*a*a*b"] * 5))
    started = time.monotonic()
    assert not rules.ignores("/".join(["a" * 200] * 100), False)
    assert not rules.ignores("/".join(["a"] * 1000), False)
    assert time.monotonic() - started < 20
