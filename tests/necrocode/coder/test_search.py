"""Searching: matches with their places, what git ignores left out, and an end even to patterns without one."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest

from necrocode.coder.tools.beneath import Beneath, Refused
from necrocode.coder.tools.ignored import outline
from necrocode.coder.tools.search import search
from necrocode.engine.errors import Interrupted
from necrocode.engine.stop import StopToken


def files(root: Path, **contents: str) -> None:
    for name, content in contents.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def lines(root: Path, pattern: str, path: str = ".") -> list[str]:
    return search(root, pattern, path, StopToken()).split("\n")


@pytest.mark.parametrize("pattern", ["needle", "ne+dle", r"\bneedle\b"])
def test_matches_come_with_file_and_line(tmp_path: Path, pattern: str) -> None:
    files(tmp_path, a="hay\n  needle here\n", sub__b="needle\n", c="hay\n")
    assert lines(tmp_path, pattern) == ["a:2: needle here", "sub/b:1: needle"]
    assert lines(tmp_path, pattern, "sub") == ["sub/b:1: needle"]
    assert lines(tmp_path, pattern, "a") == ["a:2: needle here"]


def test_no_match_is_said(tmp_path: Path) -> None:
    files(tmp_path, a="hay\n")
    assert lines(tmp_path, "needle") == ["No line matches 'needle'."]


def test_what_git_ignores_is_left_out_unless_it_is_asked_for(tmp_path: Path) -> None:
    files(tmp_path, build__out="needle\n", a__x_log="needle\n", a__keep_log="needle\n", sub__only="needle\n")
    (tmp_path / ".gitignore").write_text("build/\n*_log\n!keep_log\n")
    (tmp_path / "sub" / ".gitignore").write_text("only\n")
    assert lines(tmp_path, "needle") == ["a/keep_log:1: needle"]
    assert lines(tmp_path, "needle", "build") == ["build/out:1: needle"]


def test_git_itself_links_and_binaries_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("needle\n")
    slot = tmp_path / "slot"
    files(slot, **{".git__config": "needle\n", "a": "needle\n"})
    (slot / "link").symlink_to("../outside")
    (slot / "binary").write_bytes(b"needle\0")
    assert lines(slot, "needle") == ["a:1: needle"]


def test_results_are_bounded(tmp_path: Path) -> None:
    files(tmp_path, a="needle " * 500 + "\n", b="needle\n" * 5000)
    told = search(tmp_path, "needle", ".", StopToken())
    assert len(told) < 10_000
    assert "there are more than these" in told


@pytest.mark.parametrize("pattern", ["(", "[a", "a{2,1}", "(?P<x>a)(?P<x>b)", "*"])
def test_a_pattern_that_is_none_is_refused(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(Refused, match="not a regular expression"):
        search(tmp_path, pattern, ".", StopToken())


@pytest.mark.parametrize("path", ["../x", ".git", "nothing"])
def test_a_place_that_is_none_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(Refused):
        search(tmp_path, "x", path, StopToken())


def test_a_pattern_without_end_is_ended_and_holds_up_nobody(tmp_path: Path) -> None:
    files(tmp_path, a="a" * 60 + "\n")
    beats = 0
    ended = threading.Event()

    def beat() -> None:
        nonlocal beats
        while not ended.wait(0.05):
            beats += 1

    heart = threading.Thread(target=beat)
    heart.start()
    with pytest.raises(Refused, match="took too long"):
        search(tmp_path, "(a+)+$x|(a|a)+b", ".", StopToken(), time_limit=timedelta(seconds=1))
    ended.set()
    heart.join()
    assert beats >= 5


def test_a_stop_is_heard(tmp_path: Path) -> None:
    files(tmp_path, a="a" * 60 + "\n")
    stop = StopToken()
    timer = threading.Timer(0.4, stop.stop, [Interrupted()])
    timer.start()
    begun = time.monotonic()
    with pytest.raises(Interrupted):
        search(tmp_path, "(a|a)+b", ".", stop)
    timer.join()
    assert time.monotonic() - begun < 10


def test_an_outline_lists_a_small_repository_whole_and_the_top_of_a_large_one(tmp_path: Path) -> None:
    files(tmp_path, README="", src__a="", src__deep__b="", junk__x="")
    (tmp_path / ".gitignore").write_text("junk/\n")
    with Beneath(tmp_path) as folder:
        assert outline(folder, max_entries=60, max_bytes=1000) == [".gitignore", "README", "src/a", "src/deep/b"]
        assert outline(folder, max_entries=4, max_bytes=1000) == [".gitignore", "README", "src/"]
        assert outline(folder, max_entries=2, max_bytes=1000) == [".gitignore", "src/"]
