"""Whatever was done to a slot: a snapshot is what git would have recorded, and restoring it gives the same bytes."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from necrocode.engine.identity import ProcessIdentity
from necrocode.git import memory
from necrocode.git.slot import SlotFiles
from tests.necrocode.git.repositories import fsck, git, make_store, picture, tree_by_git, write

NAMES = st.sampled_from(
    [name.encode() for name in ("a", "b", "c.txt", "d.log", "sub", "x y", "build", ".hidden", "a.b", "a-b", "a0")]
    + [
        name.encode()
        for name in ("é", "tab\there", "new\nline", 'quo"te', "back\\slash", ":colon", "~t", "-dash", "*s")
    ]
    + [bytes([0xFF, 0xFE])]
)
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(b"/".join)
CONTENTS = st.sampled_from([b"", b"x", b"one\ntwo\n", b"crlf\r\nline\r\n", b"\0binary\xff", b"x" * 5000, b"$Id$\n"])
PATTERNS = st.lists(
    st.sampled_from(
        [
            "*.log",
            "build/",
            "/a",
            "!d.log",
            "sub/**",
            "**/b",
            "a*",
            "!a-b",
            "x y",
            "[!a-c]*",
            "sub/a",
            "*/c.txt",
            "!sub/",
        ]
    ),
    max_size=3,
).map(lambda lines: "\n".join(lines).encode() + b"\n")
OPERATIONS = st.one_of(
    st.tuples(st.just("write"), PATHS, CONTENTS),
    st.tuples(st.just("write"), PATHS, CONTENTS),
    st.tuples(st.just("delete"), PATHS, st.just(b"")),
    st.tuples(st.just("mode"), PATHS, st.just(b"")),
    st.tuples(st.just("link"), PATHS, st.sampled_from([b"a", b"/etc/passwd", b"../..", b"nowhere", b"\xff", b"sub"])),
    st.tuples(st.just("directory"), PATHS, st.just(b"")),
    st.tuples(st.just("nested"), PATHS, CONTENTS),
    st.tuples(st.just("ignore"), st.lists(NAMES, max_size=2).map(b"/".join), PATTERNS),
    st.tuples(st.just("fifo"), PATHS, st.just(b"")),
)


def do(slot: Path, operation: tuple[str, bytes, bytes]) -> None:
    """One thing that a model might do. What is in the way of it goes."""
    kind, relative, content = operation
    path = os.path.join(os.fsencode(slot), relative)  # noqa: PTH118
    with contextlib.suppress(OSError):
        if kind == "delete":
            _remove(path)
            return
        if kind == "mode":
            os.chmod(path, 0o755 if os.stat(path).st_mode & 0o100 == 0 else 0o644)  # noqa: PTH101, PTH116
            return
        parent = os.path.dirname(path)  # noqa: PTH120
        while len(parent) > len(os.fsencode(slot)):
            if os.path.lexists(parent) and (os.path.islink(parent) or not os.path.isdir(parent)):  # noqa: PTH112, PTH114
                _remove(parent)
            parent = os.path.dirname(parent)  # noqa: PTH120
        if kind == "ignore":
            os.makedirs(path, exist_ok=True)  # noqa: PTH103
            _file(os.path.join(path, b".gitignore"), content)  # noqa: PTH118
            return
        _remove(path)
        os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
        actions: dict[str, Callable[[], None]] = {
            "write": lambda: _file(path, content),
            "link": lambda: os.symlink(content, path),  # noqa: PTH211
            "directory": lambda: os.makedirs(path),  # noqa: PTH103
            "fifo": lambda: os.mkfifo(path),
            "nested": lambda: _nested_repository(path, content),
        }
        actions[kind]()


def _file(path: bytes, content: bytes) -> None:
    with open(path, "wb") as file:  # noqa: PTH123
        file.write(content)


def _nested_repository(path: bytes, content: bytes) -> None:
    os.makedirs(os.path.join(path, b".git"))  # noqa: PTH103, PTH118
    _file(os.path.join(path, b".git/HEAD"), b"ref: refs/heads/main\n")  # noqa: PTH118
    _file(os.path.join(path, b"inside"), content)  # noqa: PTH118


def _remove(path: bytes) -> None:
    if os.path.isdir(path) and not os.path.islink(path):  # noqa: PTH112, PTH114
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)  # noqa: PTH108


def judged(slot: Path, scratch: Path) -> str:
    """git's own tree of a copy that has no nested repositories and no FIFOs in it."""
    copy = Path(tempfile.mkdtemp(dir=scratch)) / "copy"
    shutil.copytree(slot, copy, symlinks=True, ignore=_odd)
    return tree_by_git(copy, copy.parent)


def _odd(folder: str, names: list[str]) -> list[str]:
    fifos = [name for name in names if Path(folder, name).is_fifo()]
    return [name for name in names if name == ".git"] + fifos


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(before=st.lists(OPERATIONS, max_size=8), after=st.lists(OPERATIONS, max_size=8))
def test_a_snapshot_is_gits_own_tree_and_restoring_it_brings_back_every_byte(
    before: list[tuple[str, bytes, bytes]], after: list[tuple[str, bytes, bytes]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        store = make_store(root / "store.git")
        slot = root / "slot" / "work"
        slot.mkdir(parents=True)
        files = SlotFiles(slot, root / "slot" / "state", store)
        for operation in before:
            do(slot, operation)
        tree = files.snapshot()
        assert tree.hex() == judged(slot, root)
        kept = dict(store.flatten(tree))

        for operation in after:
            do(slot, operation)
        messed = files.snapshot()
        fresh = SlotFiles(slot, root / "other", store)
        assert messed == fresh.snapshot(), "what is remembered of the files must not show in the tree"
        event("changed" if messed != tree else "unchanged")

        files.restore(tree)
        now = picture(slot)
        for path, (mode, oid) in kept.items():
            kind, content = now[os.fsencode(path)]
            assert content == store.read_blob(oid)
            assert kind == {0o100644: "file", 0o100755: "executable", 0o120000: "link"}[mode]
        assert files.snapshot() == tree
        again = SlotFiles(slot, root / "slot" / "state", store)
        assert again.snapshot() == tree, "another process sees the same"

        files.lay(messed, tracked=[tree])
        assert picture(slot) == {
            os.fsencode(path): (
                {0o100644: "file", 0o100755: "executable", 0o120000: "link"}[mode],
                store.read_blob(oid),
            )
            for path, (mode, oid) in store.flatten(messed)
        }
        assert files.snapshot() == messed
        assert fsck(store.path) == ""


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(before=st.lists(OPERATIONS, max_size=6), after=st.lists(OPERATIONS, min_size=1, max_size=3))
def test_a_snapshot_of_the_named_paths_equals_a_whole_one(
    before: list[tuple[str, bytes, bytes]], after: list[tuple[str, bytes, bytes]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        store = make_store(root / "store.git")
        slot = root / "slot" / "work"
        slot.mkdir(parents=True)
        files = SlotFiles(slot, root / "slot" / "state", store)
        for operation in before:
            do(slot, operation)
        files.snapshot()
        for operation in after:
            do(slot, operation)
            kind, relative, _ = operation
            named = relative + (b"/" if relative else b"") + b".gitignore" if kind == "ignore" else relative
            partial = files.snapshot([os.fsdecode(named)])
            assert partial == SlotFiles(slot, root / "other", store).snapshot()


def test_a_file_changed_in_the_same_tick_and_to_the_same_size_is_seen(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store.git")
    slot = tmp_path / "slot" / "work"
    slot.mkdir(parents=True)
    files = SlotFiles(slot, tmp_path / "state", store)
    seen = set()
    for number in range(100, 200):
        (slot / "f").write_text(str(number))
        state = (slot / "f").stat()
        os.utime(slot / "f", ns=(state.st_atime_ns, 1_700_000_000_000_000_000))
        seen.add(files.snapshot())
    assert len(seen) == 100


def test_tracked_files_count_also_where_they_are_ignored(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store.git")
    slot = tmp_path / "slot" / "work"
    write(slot, {"out/kept.bin": "k", "out/other.bin": "o"})
    files = SlotFiles(slot, tmp_path / "slot" / "state", store)
    base = store.edit(files.snapshot(), {"out/other.bin": None})
    write(slot, {".gitignore": "out/\n"})
    files.lay(base, tracked=[base])
    write(slot, {".gitignore": "out/\n", "out/kept.bin": "changed", "out/new.bin": "n"})
    paths = {path for path, _ in store.flatten(files.snapshot())}
    assert paths == {".gitignore", "out/kept.bin"}
    files.restore(base)
    assert picture(slot) == {b"out/kept.bin": ("file", b"k")}, "what the run's own patterns hid is gone with them"


def test_what_patterns_hid_and_no_longer_hide_is_removed_by_a_restore(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store.git")
    slot = tmp_path / "slot" / "work"
    write(slot, {"a": "a"})
    files = SlotFiles(slot, tmp_path / "slot" / "state", store)
    tree = files.snapshot()
    write(slot, {".gitignore": "*.tmp\n", "x.tmp": "hidden by a pattern of the run itself"})
    files.restore(tree)
    assert set(picture(slot)) == {b"a"}
    assert files.snapshot() == tree


def test_submodules_are_kept_as_the_commits_they_are(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store.git")
    slot = tmp_path / "slot" / "work"
    write(slot, {"a": "a"})
    files = SlotFiles(slot, tmp_path / "slot" / "state", store)
    commit = bytes.fromhex("11" * 20)
    base = store.edit(files.snapshot(), {"lib": (0o160000, commit)})
    files.lay(base, tracked=[base])
    assert (slot / "lib").is_dir()
    assert files.snapshot() == base
    write(slot, {"lib/.git": "gitdir: ../elsewhere\n", "lib/source.c": "int x;"})
    assert files.snapshot() == base, "a populated submodule is still one"
    (slot / "lib" / ".git").unlink()
    vendored = dict(store.flatten(files.snapshot()))
    assert "lib/source.c" in vendored, "plain files in its place are files"
    files.restore(base)
    assert files.snapshot() == base
    files.lay(base, tracked=[base])
    assert not list((slot / "lib").iterdir())


def test_nothing_is_written_for_an_unchanged_slot(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store.git")
    slot = tmp_path / "slot" / "work"
    write(slot, {f"d{n}/f": str(n) for n in range(20)})
    files = SlotFiles(slot, tmp_path / "slot" / "state", store)
    tree = files.snapshot()
    before = git(store.path, "count-objects", "-v")
    assert files.snapshot() == tree
    assert git(store.path, "count-objects", "-v") == before


def test_special_files_and_names_that_git_refuses_are_left_out_and_named(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store.git")
    slot = tmp_path / "slot" / "work"
    write(slot, {"a": "a", ".GIT/config": "x", "git~1": "y"})
    os.mkfifo(slot / "pipe")
    files = SlotFiles(slot, tmp_path / "slot" / "state", store)
    assert [path for path, _ in store.flatten(files.snapshot())] == ["a"]
    said = " ".join(files.take_warnings())
    assert ".GIT" in said
    assert "git~1" in said
    assert "pipe" in said
    files.snapshot()
    (slot / "pipe").unlink()
    (slot / "pipe").write_text("a file now")
    assert "pipe" in dict(store.flatten(files.snapshot()))


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", "", "."])
def test_a_named_path_that_leaves_the_slot_is_refused(tmp_path: Path, path: str) -> None:
    slot = tmp_path / "slot" / "work"
    write(slot, {"a": "a"})
    files = SlotFiles(slot, tmp_path / "slot" / "state", make_store(tmp_path / "store.git"))
    files.snapshot()
    with pytest.raises(ValueError, match="relative"):
        files.snapshot([path])
    write(slot, {"a": "b"})
    assert files.snapshot(["./a"]) == SlotFiles(slot, tmp_path / "other", files.store).snapshot()


def test_what_is_remembered_of_files_ends_with_the_boot(tmp_path: Path) -> None:
    file = tmp_path / "files.json"
    memory.save(file, memory.KnownDirectory())
    assert memory.load(file) is not None
    written = file.read_text()
    boot = ProcessIdentity.current().boot_id
    file.write_text(written.replace(boot, boot[::-1]))
    assert memory.load(file) is None, "a power cut may have taken the content of a file, and left its size and times"
