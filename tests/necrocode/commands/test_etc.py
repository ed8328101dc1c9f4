"""The copy of /etc that sandboxes mount."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from necrocode.commands import etc
from necrocode.commands.etc import etc_copy
from necrocode.commands.toolroots import etc_paths


def test_the_copy_holds_what_the_pieces_hold_and_is_made_once(tmp_path: Path) -> None:
    copy = etc_copy(tmp_path, etc_paths())
    assert (copy / "passwd").read_bytes() == Path("/etc/passwd").read_bytes()
    assert (copy / "ssl/certs").is_dir() == Path("/etc/ssl/certs").is_dir()
    assert not (copy / "shadow").exists()
    assert not (copy / "ssl/private").exists()
    assert all((copy / name).exists() for name in etc.PLACES)
    before = copy.stat().st_mtime_ns
    assert etc_copy(tmp_path, etc_paths()) == copy
    assert copy.stat().st_mtime_ns == before
    assert [path.name for path in tmp_path.iterdir()] == [copy.name]


def test_fewer_pieces_are_another_copy_and_both_stay(tmp_path: Path) -> None:
    whole = etc_copy(tmp_path, ["/etc/passwd", "/etc/group", "/etc/none-such"])
    part = etc_copy(tmp_path, ["/etc/passwd"])
    assert whole != part
    assert (whole / "group").exists() and not (part / "group").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_left_out(tmp_path: Path) -> None:
    copy = etc_copy(tmp_path, ["/etc/shadow", "/etc/passwd"])
    assert not (copy / "shadow").exists() and (copy / "passwd").exists()
