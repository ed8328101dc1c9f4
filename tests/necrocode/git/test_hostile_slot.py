"""What a model may have done to a slot: nothing outside is written, read or run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from necrocode.engine.errors import EnvironmentFault, TaskError
from necrocode.git.slot import SlotFiles
from tests.necrocode.git.repositories import make_store, picture, write

BASE: dict[str, str | bytes] = {"a.txt": "a", "dir/b.txt": "b", "dir/deep/c.txt": "c", "run.sh": "#!/bin/sh\n"}


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    write(folder, {"precious": "untouched", "deep/c.txt": "not the slot's", "b.txt": "not the slot's either"})
    return folder


@pytest.fixture
def slot(tmp_path: Path) -> Path:
    folder = tmp_path / "slot" / "work"
    write(folder, BASE)
    return folder


@pytest.fixture
def files(tmp_path: Path, slot: Path) -> SlotFiles:
    return SlotFiles(slot, tmp_path / "slot" / "state", make_store(tmp_path / "store.git"))


def _expected() -> dict[bytes, tuple[str, bytes]]:
    return {os.fsencode(name): ("file", str(content).encode()) for name, content in BASE.items()}


@pytest.mark.parametrize("how", ["restore", "lay"])
def test_a_directory_replaced_by_a_link_elsewhere_is_put_right_without_following_it(
    files: SlotFiles, slot: Path, outside: Path, how: str
) -> None:
    tree = files.snapshot()
    before = picture(outside)
    shutil.rmtree(slot / "dir")
    (slot / "dir").symlink_to(outside)
    assert "dir/precious" not in dict(files.store.flatten(files.snapshot()))
    files.restore(tree) if how == "restore" else files.lay(tree, tracked=[tree])
    assert picture(outside) == before
    assert picture(slot) == _expected()
    assert not (slot / "dir").is_symlink()


@pytest.mark.parametrize("how", ["restore", "lay"])
def test_a_file_replaced_by_a_link_elsewhere_is_replaced_not_written_through(
    files: SlotFiles, slot: Path, outside: Path, how: str
) -> None:
    tree = files.snapshot()
    (slot / "a.txt").unlink()
    (slot / "a.txt").symlink_to(outside / "precious")
    files.restore(tree) if how == "restore" else files.lay(tree, tracked=[tree])
    assert (outside / "precious").read_text() == "untouched"
    assert picture(slot) == _expected()


@pytest.mark.parametrize("kind", ["pointer", "link", "directory"])
def test_lay_removes_any_git_without_opening_it(files: SlotFiles, slot: Path, outside: Path, kind: str) -> None:
    tree = files.snapshot()
    before = picture(outside)
    if kind == "pointer":
        (slot / ".git").write_text(f"gitdir: {outside}\n")
    elif kind == "link":
        (slot / ".git").symlink_to(outside)
    else:
        write(slot, {".git/config": f'[core]\n\tfsmonitor = "touch {outside}/ran"\n\tworktree = {outside}\n'})
        (slot / ".git" / "objects").symlink_to(outside)
    assert files.snapshot() == tree
    files.restore(tree)
    files.lay(tree, tracked=[tree])
    assert not os.path.lexists(slot / ".git")
    assert picture(outside) == before
    assert picture(slot) == _expected()


def test_a_hard_link_to_a_file_outside_is_replaced_not_written_through(
    files: SlotFiles, slot: Path, outside: Path
) -> None:
    tree = files.snapshot()
    (slot / "a.txt").unlink()
    os.link(outside / "precious", slot / "a.txt")
    files.restore(tree)
    assert (outside / "precious").read_text() == "untouched"
    assert (slot / "a.txt").read_text() == "a"


def test_a_link_as_gitignore_says_nothing(files: SlotFiles, slot: Path, outside: Path) -> None:
    write(outside, {"patterns": "*\n"})
    (slot / ".gitignore").symlink_to(outside / "patterns")
    assert set(dict(files.store.flatten(files.snapshot()))) == {*BASE, ".gitignore"}


def test_what_nobody_may_read_is_read_all_the_same(files: SlotFiles, slot: Path) -> None:
    tree = files.snapshot()
    (slot / "dir" / "b.txt").chmod(0)
    (slot / "dir").chmod(0)
    assert files.snapshot() == tree
    (slot / "dir" / "b.txt").write_text("changed")
    (slot / "dir").chmod(0o500)
    files.restore(tree)
    assert picture(slot) == _expected()


def test_directories_without_end_are_left_out_and_removed(files: SlotFiles, slot: Path) -> None:
    tree = files.snapshot()
    made = subprocess.run(
        [
            sys.executable,
            "-c",
            "import os\nfor _ in range(1500):\n os.mkdir('d')\n os.chdir('d')\nopen('f','w').close()",
        ],
        cwd=slot,
        check=False,
    )
    assert made.returncode == 0
    assert files.snapshot() == tree
    assert any("deeper" in warning for warning in files.take_warnings())
    files.lay(tree, tracked=[tree])
    assert picture(slot) == _expected()


def test_a_huge_untracked_file_is_left_out_and_named(files: SlotFiles, slot: Path) -> None:
    tree = files.snapshot()
    with (slot / "core.1234").open("wb") as file:
        file.truncate(101 << 20)
    assert files.snapshot() == tree
    assert any("core.1234" in warning for warning in files.take_warnings())


def test_a_slot_replaced_by_a_link_is_refused_and_laid_anew(files: SlotFiles, slot: Path, outside: Path) -> None:
    tree = files.snapshot()
    before = picture(outside)
    slot.rename(slot.with_name("moved"))
    slot.symlink_to(outside)
    with pytest.raises(EnvironmentFault) as caught:
        files.snapshot()
    assert caught.value.stop_reason == "slot_lost"
    with pytest.raises(EnvironmentFault):
        files.restore(tree)
    files.lay(tree, tracked=[tree])
    assert picture(outside) == before
    assert picture(slot) == _expected()


@pytest.mark.parametrize("name", [".git", "..", "a/b", ".Git", "git~1"])
def test_a_tree_with_a_name_that_git_would_not_check_out_is_refused(
    files: SlotFiles, slot: Path, outside: Path, name: str
) -> None:
    base = files.snapshot()
    store = files.store
    blob = store.read_tree(base)["a.txt"][1]
    from necrocode.git.objects import format_tree, object_id

    content = format_tree({"a.txt": (0o100644, blob), name: (0o100644, blob)})
    evil = object_id(b"tree", content)
    store.write_tree(evil, content)
    with pytest.raises(TaskError) as caught:
        files.restore(evil)
    assert caught.value.stop_reason == "unsupported_repo"
    assert picture(outside)[b"precious"] == ("file", b"untouched")
    files.restore(base)
    assert picture(slot) == _expected()


def test_a_damaged_memory_of_the_files_costs_time_only(files: SlotFiles, slot: Path, tmp_path: Path) -> None:
    tree = files.snapshot()
    files.save()
    memory = tmp_path / "slot" / "state" / "files.json"
    for damage in ("", "{", "[1, []]", '[1, [{"a.txt": [1]}, {}, {}, false, null]]', "[" * 5000):
        memory.write_text(damage)
        again = SlotFiles(slot, tmp_path / "slot" / "state", files.store)
        assert again.snapshot() == tree


def test_a_loaded_credential_in_a_file_is_neither_stored_nor_named_by_value(tmp_path: Path, slot: Path) -> None:
    from necrocode.git.objects import ObjectStore, object_id

    store = ObjectStore(
        make_store(tmp_path / "store.git").path,
        found_secret=lambda content: "GIT_TOKEN" if b"s3cr3t-value" in content else None,
    )
    files = SlotFiles(slot, tmp_path / "slot" / "state", store)
    files.snapshot()
    write(slot, {"dir/.env": "TOKEN=s3cr3t-value\n"})
    for _ in range(2):
        with pytest.raises(TaskError) as caught:
            files.snapshot()
        assert caught.value.stop_reason == "secret_in_diff"
        assert "dir/.env" in str(caught.value)
        assert "GIT_TOKEN" in str(caught.value)
        assert "s3cr3t" not in str(caught.value)
    assert not store.has(object_id(b"blob", b"TOKEN=s3cr3t-value\n"))
    (slot / "dir" / ".env").unlink()
    files.snapshot()
    write(slot, {"s3cr3t-value": "in a name"})
    with pytest.raises(TaskError):
        files.snapshot()
