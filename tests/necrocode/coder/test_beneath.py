"""Nothing outside the folder can be read or written, whatever a path says and whatever is swapped meanwhile."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from necrocode.coder.tools.beneath import MAX_FILE_BYTES, Beneath, Refused
from necrocode.coder.tools.resolving import has_openat2

SECRET = b"outside: not for the model"

WAYS = [
    pytest.param(True, marks=pytest.mark.skipif(not has_openat2(), reason="this kernel does not let us call openat2")),
    False,
]


@pytest.fixture
def slot(tmp_path: Path) -> Path:
    """A slot with links of all kinds, beside a secret."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_bytes(SECRET)
    slot = tmp_path / "slot"
    (slot / "sub" / "deep").mkdir(parents=True)
    (slot / ".git").mkdir()
    (slot / ".git" / "config").write_bytes(SECRET)
    (slot / "file").write_bytes(b"inside")
    (slot / "sub" / "file").write_bytes(b"inside")
    (slot / "up").symlink_to("../outside")
    (slot / "absolute").symlink_to(tmp_path / "outside")
    (slot / "sub" / "chain").symlink_to("../up")
    (slot / "secret").symlink_to("../outside/secret")
    (slot / "inner").symlink_to("sub/deep")
    (slot / "sub" / "back").symlink_to("..")
    (slot / "link").symlink_to("sub/file")
    (slot / "loop").symlink_to("loop")
    (slot / "g").symlink_to(".git")
    (slot / "proc").symlink_to("/proc/self/root")
    return slot


def outside_is_untouched(slot: Path) -> bool:
    outside = slot.parent / "outside"
    return [file.name for file in outside.iterdir()] == ["secret"] and (outside / "secret").read_bytes() == SECRET


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "path",
    [
        "../outside/secret",
        "sub/../../outside/secret",
        "/etc/passwd",
        "up/secret",
        "absolute/secret",
        "sub/chain/secret",
        "secret",
        "sub/back/up/secret",
        "sub/back/../outside/secret",
        "proc/etc/passwd",
        "loop",
        ".git/config",
        ".GIT/config",
        "sub/.git/config",
        ".git./config",
        "git~1/config",
        "g/config",
        "sub/back/g/config",
        "",
        " ",
        "a\0b",
        "\ud800",
        ".",
        "..",
        "/",
        "nothing",
        "file/below",
        "sub",
        "x" * 300,
    ],
)
def test_a_path_that_is_not_a_file_inside_is_refused(slot: Path, way: bool, path: str) -> None:
    with Beneath(slot, openat2=way) as folder, pytest.raises(Refused) as refused:
        folder.read(path)
    assert str(refused.value)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("path", ["file", "./file", "sub/../file", "sub/file", "link", "sub/back/file", "sub//file"])
def test_a_file_inside_is_read_by_any_of_its_names(slot: Path, way: bool, path: str) -> None:
    with Beneath(slot, openat2=way) as folder:
        assert folder.read(path)[0] == b"inside"
        assert folder.read(f"{slot}/{path}")[0] == b"inside"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "path",
    [
        "../new",
        "up/new",
        "absolute/new",
        "sub/chain/new",
        "secret",
        ".git/hooks/x",
        "g/x",
        "sub/.Git/x",
        "proc/tmp/x",
        "sub/back/up/new",
        "/new",
        ".",
        "inner",
        "loop",
        "loop/x",
        "file/x",
    ],
)
def test_a_write_that_would_leave_is_refused_and_leaves_nothing(slot: Path, way: bool, path: str) -> None:
    before = sorted(file for file in slot.rglob("*"))
    with Beneath(slot, openat2=way) as folder, pytest.raises(Refused):
        folder.write(path, b"new")
    assert outside_is_untouched(slot)
    assert sorted(file for file in slot.rglob("*")) == before


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("path", "real"),
    [
        ("new", "new"),
        ("a/b/c", "a/b/c"),
        ("inner/new", "sub/deep/new"),
        ("inner/x/new", "sub/deep/x/new"),
        ("link", "sub/file"),
        ("sub/back/file", "file"),
    ],
)
def test_a_write_says_where_the_file_really_is(slot: Path, way: bool, path: str, real: str) -> None:
    with Beneath(slot, openat2=way) as folder:
        assert folder.write(path, b"new") == real
    assert (slot / real).read_bytes() == b"new"
    assert not (slot / real).is_symlink()
    assert (slot / "link").is_symlink()


@pytest.mark.parametrize("mode", [0o644, 0o755, 0o600, 0o444])
def test_a_write_keeps_the_mode(slot: Path, mode: int) -> None:
    (slot / "file").chmod(mode)
    with Beneath(slot) as folder:
        folder.write("file", b"new")
    assert (slot / "file").stat().st_mode & 0o777 == mode


def test_a_write_does_not_reach_another_name_of_the_same_file(slot: Path) -> None:
    os.link(slot.parent / "outside" / "secret", slot / "hard")
    with Beneath(slot) as folder:
        folder.write("hard", b"new")
    assert outside_is_untouched(slot)


def test_removing_removes_a_link_and_not_what_it_points_to(slot: Path) -> None:
    with Beneath(slot) as folder:
        assert folder.remove("secret") == "secret"
        assert folder.remove("inner/../file") == "file"
        for path in ("up/secret", "sub", ".git/config", "nothing", "."):
            with pytest.raises(Refused):
                folder.remove(path)
    assert outside_is_untouched(slot)
    assert not (slot / "secret").is_symlink()


@pytest.mark.parametrize("way", WAYS)
def test_what_is_no_regular_file_is_refused_at_once(slot: Path, way: bool) -> None:
    os.mkfifo(slot / "fifo")
    with Beneath(slot, openat2=way) as folder:
        for use in (lambda: folder.read("fifo"), lambda: folder.write("fifo", b"x")):
            with pytest.raises(Refused, match="is a FIFO"):
                use()
    assert (slot / "fifo").is_fifo()


def test_files_beyond_the_limit_are_refused(slot: Path) -> None:
    with (slot / "big").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    with Beneath(slot) as folder:
        with pytest.raises(Refused, match="too large"):
            folder.read("big")
        with pytest.raises(Refused, match="too large"):
            folder.write("new", b"x" * (MAX_FILE_BYTES + 1))


def test_walking_stays_inside_and_passes_git_over(slot: Path) -> None:
    with Beneath(slot) as folder:
        seen = {where: (list(folders), list(files)) for where, folders, files, _ in folder.walk()}
    assert seen == {"": (["sub"], ["file"]), "sub": (["deep"], ["file"]), "sub/deep": ([], [])}


def test_a_folder_that_is_a_link_itself_is_opened_where_it_leads(slot: Path) -> None:
    (slot.parent / "alias").symlink_to(slot)
    with Beneath(slot.parent / "alias") as folder:
        assert folder.read(f"{slot.parent}/alias/file")[0] == b"inside"
        assert folder.read(f"{slot}/file")[0] == b"inside"


PARTS = st.sampled_from(
    [
        r"..",
        r".",
        r"sub",
        r"up",
        r"absolute",
        r"back",
        r"chain",
        r"inner",
        r"link",
        r"g",
        r"proc",
        r"secret",
        r"outside",
        r".git",
        r".GIT",
        r"file",
        r"deep",
        r"root",
        r"etc",
        r"passwd",
        r"config",
        r"new",
        r"~",
        r"\..",
        r"...",
    ]
)
PATHS = st.one_of(st.lists(PARTS, max_size=7).map("/".join), st.text(max_size=30))


@pytest.mark.parametrize("way", WAYS)
@given(path=PATHS)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_string_is_a_way_out(slot: Path, way: bool, path: str) -> None:
    with Beneath(slot, openat2=way) as folder:
        with contextlib.suppress(Refused):
            assert folder.read(path)[0] != SECRET
        with contextlib.suppress(Refused):
            real = folder.write(path, b"inside")
            assert (slot / real).resolve().is_relative_to(slot.resolve())
        with contextlib.suppress(Refused):
            folder.names(path)
    assert outside_is_untouched(slot)
    assert (slot / ".git" / "config").read_bytes() == SECRET
    assert [file.name for file in slot.parent.iterdir() if file.name not in ("slot", "outside")] == []


@pytest.mark.parametrize(
    "path", ["file", "sub/back/link", "inner/../sub/file", "up/secret", "absolute/secret", "sub/chain", "nothing/x"]
)
def test_both_ways_of_opening_agree(slot: Path, path: str) -> None:
    if not has_openat2():
        pytest.skip("this kernel does not let us call openat2")

    def ask(way: bool) -> bytes | str:
        with Beneath(slot, openat2=way) as folder:
            try:
                return folder.read(path)[0]
            except Refused as refused:
                return str(refused)

    assert ask(True) == ask(False)


@pytest.mark.parametrize("way", WAYS)
def test_a_link_that_is_swapped_in_meanwhile_does_not_win(slot: Path, way: bool) -> None:
    """A link is turned outside and back, as fast as can be, while files behind it are used."""
    (slot / "inside").mkdir()
    (slot / "inside" / "secret").write_bytes(b"inside")
    (slot / "race").symlink_to("inside")
    ended = threading.Event()
    turns = 0

    def swap() -> None:
        nonlocal turns
        while not ended.is_set():
            for target in ("../outside", "inside"):
                (slot / "next").symlink_to(target)
                (slot / "next").rename(slot / "race")
            turns += 1

    attacker = threading.Thread(target=swap)
    attacker.start()
    read = written = 0
    end = time.monotonic() + 1.0
    try:
        with Beneath(slot, openat2=way) as folder:
            while time.monotonic() < end:
                with contextlib.suppress(Refused):
                    assert folder.read("race/secret")[0] == b"inside"
                    read += 1
                with contextlib.suppress(Refused):
                    folder.write("race/secret", b"inside")
                    written += 1
                with contextlib.suppress(Refused):
                    folder.write("race/new", b"inside")
    finally:
        ended.set()
        attacker.join()
    assert outside_is_untouched(slot)
    assert turns > 50
    assert read > 0
    assert written > 0


def test_the_race_is_real(slot: Path) -> None:
    """The negative control: a check of the real path followed by an open loses when the swap comes in between."""

    def checked_read(path: str, meanwhile: Callable[[], None]) -> bytes:
        real = (slot / path).resolve()
        assert real.is_relative_to(slot.resolve())
        meanwhile()
        return (slot / path).read_bytes()

    (slot / "race").mkdir()
    (slot / "race" / "secret").write_bytes(b"inside")

    def swap() -> None:
        (slot / "race").rename(slot / "aside")
        (slot / "up").rename(slot / "race")

    assert checked_read("race/secret", swap) == SECRET
    with Beneath(slot) as folder, pytest.raises(Refused):
        folder.read("race/secret")
