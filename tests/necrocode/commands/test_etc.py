"""The copy of /etc that sandboxes mount."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from necrocode.commands import etc
from necrocode.commands.etc import etc_copy
from necrocode.commands.toolroots import etc_paths

HOSTS = "127.0.0.1 localhost\n"


def test_the_copy_holds_what_the_pieces_hold_and_is_made_once(tmp_path: Path) -> None:
    copy = etc_copy(tmp_path, etc_paths(), HOSTS)
    assert (copy / "passwd").read_bytes() == Path("/etc/passwd").read_bytes()
    assert (copy / "ssl/certs").is_dir() == Path("/etc/ssl/certs").is_dir()
    assert not (copy / "shadow").exists()
    assert not (copy / "ssl/private").exists()
    assert all((copy / name).exists() for name in etc.PLACES)
    assert (copy / "hosts").read_text() == HOSTS
    before = copy.stat().st_mtime_ns
    assert etc_copy(tmp_path, etc_paths(), HOSTS) == copy
    assert copy.stat().st_mtime_ns == before
    assert [path.name for path in tmp_path.iterdir()] == [copy.name]


def test_other_pieces_and_another_hosts_file_are_another_copy_and_all_stay(tmp_path: Path) -> None:
    whole = etc_copy(tmp_path, ["/etc/passwd", "/etc/group", "/etc/none-such"], HOSTS)
    part = etc_copy(tmp_path, ["/etc/passwd"], HOSTS)
    other = etc_copy(tmp_path, ["/etc/passwd"], "127.0.0.1 elsewhere\n")
    assert len({whole, part, other}) == 3
    assert (whole / "group").exists() and not (part / "group").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_left_out(tmp_path: Path) -> None:
    copy = etc_copy(tmp_path, ["/etc/shadow", "/etc/passwd"], HOSTS)
    assert not (copy / "shadow").exists() and (copy / "passwd").exists()
