"""A process killed while it writes: the next one puts everything right."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from necrocode.git.descriptors import TEMPORARY
from necrocode.git.slot import SlotFiles
from tests.necrocode.git.conftest import Bench
from tests.necrocode.git.repositories import git, make_store, picture, write

_LOOP = """
import sys
from pathlib import Path
from necrocode.git.objects import ObjectStore
from necrocode.git.slot import SlotFiles
slot, store, *trees = sys.argv[1:]
files = SlotFiles(Path(slot), Path(slot).parent / "state", ObjectStore(Path(store)))
print("ready", flush=True)
while True:
    for tree in trees:
        files.restore(bytes.fromhex(tree))
        files.lay(bytes.fromhex(tree), tracked=[bytes.fromhex(trees[0])])
        files.snapshot()
"""


def test_a_slot_is_made_whole_whenever_the_process_that_wrote_it_was_killed(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store.git")
    slot = tmp_path / "slot" / "work"
    pictures, trees = [], []
    for turn in range(2):
        write(slot, {f"d{n % 7}/f{n}-{turn * (n % 3)}": f"{n} {turn}" for n in range(120)})
        write(slot, {".gitignore": f"*.{turn}\n", f"x.{turn}": "ignored"})
        files = SlotFiles(slot, tmp_path / "slot" / "state", store)
        trees.append(files.snapshot())
        files.lay(trees[-1], tracked=[trees[0]])
        pictures.append(picture(slot))
    draw = random.Random(4)
    for _ in range(8):
        command = [sys.executable, "-c", _LOOP, str(slot), str(store.path), *(tree.hex() for tree in trees)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            time.sleep(draw.uniform(0, 0.15))
            process.kill()
        assert process.returncode == -signal.SIGKILL
        which = draw.randrange(2)
        files = SlotFiles(slot, tmp_path / "slot" / "state", store)
        if draw.random() < 0.5:
            files.restore(trees[which])
        else:
            files.lay(trees[which], tracked=[trees[0]])
        assert picture(slot) == pictures[which]
        assert files.snapshot() == trees[which]


def test_a_half_written_file_is_gone_after_the_next_look(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store.git")
    slot = tmp_path / "slot" / "work"
    write(slot, {"a": "a", "d/b": "b"})
    files = SlotFiles(slot, tmp_path / "slot" / "state", store)
    tree = files.snapshot()
    write(slot, {f"d/{TEMPORARY}0123": "half", f"{TEMPORARY}4567/x": "moved here to be removed"})
    assert files.snapshot() == tree
    assert set(picture(slot)) == {b"a", b"d/b"}


def test_a_snapshot_of_a_slot_that_changes_under_it_does_not_fail(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store.git")
    slot = tmp_path / "slot" / "work"
    write(slot, {f"d{n}/f": str(n) for n in range(30)})
    files = SlotFiles(slot, tmp_path / "slot" / "state", store)
    enough = threading.Event()

    def disturb() -> None:
        draw = random.Random(7)
        while not enough.is_set():
            path = slot / f"d{draw.randrange(30)}"
            try:
                if path.is_symlink() or path.is_file():
                    path.unlink()
                elif path.is_dir():
                    (path / "f").unlink(missing_ok=True)
                    path.rmdir()
                kind = draw.randrange(3)
                if kind == 0:
                    path.write_text("x")
                elif kind == 1:
                    path.symlink_to("/etc")
                else:
                    path.mkdir()
            except OSError:
                continue

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        for _ in range(150):
            files.snapshot()
    finally:
        enough.set()
        thread.join()
    final = files.snapshot()
    assert final == SlotFiles(slot, tmp_path / "other", store).snapshot()


def test_a_lay_that_was_killed_is_repeated_by_another_process(bench: Bench) -> None:
    workspace = bench.open()
    refs = workspace.fetch(base_branch=None, branch="x")
    tree = workspace.tree_of(refs.base_commit)
    workspace.lay(commit=refs.base_commit, tree=tree)
    # As it lies after a death between the files and the .git: no HEAD, half an index.
    (bench.slot() / ".git" / "HEAD").unlink()
    (bench.slot() / ".git" / "index").write_bytes(b"DIRC")
    workspace.lay(commit=refs.base_commit, tree=tree)
    assert git(bench.slot(), "status", "--porcelain") == ""
