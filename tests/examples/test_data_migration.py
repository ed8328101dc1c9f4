"""The example is killed at every entry of its journal, as a real process, and comes to its end all the same."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from necrocode.engine.audit import verify
from necrocode.engine.journal import Journal
from tests.examples.data_migration import LIFECYCLE, migrate

ROWS = {"1": "Ada", "2": "Grace", "3": "Barbara"}

_DIE = """
import os, signal, sys
from pathlib import Path
from tests.examples.data_migration import migrate

left = int(sys.argv[2])

def observer(entry, payload):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

migrate(Path(sys.argv[1]), observer)
"""


def prepared(folder: Path) -> Path:
    (folder / "old.csv").write_text("".join(f"{n},{name}\n" for n, name in ROWS.items()), encoding="utf-8")
    (folder / "current").symlink_to("old.csv")
    return folder


def killed_after(folder: Path, entries: int) -> bool:
    """Drive it in a process that kills itself after so many entries; False if it ended before."""
    command = [sys.executable, "-c", _DIE, str(folder), str(entries)]
    return subprocess.run(command, check=False).returncode == -signal.SIGKILL


def assert_migrated(folder: Path) -> None:
    assert {path.stem: json.loads(path.read_text())["name"] for path in (folder / "new").iterdir()} == ROWS
    assert (folder / "current").readlink() == Path("new")
    assert len((folder / "told.log").read_text().splitlines()) == 1
    with Journal(folder / "journal.db") as journal:
        (run,) = journal.runs()
        assert (run.status, run.state) == ("closed", "done")
        assert verify(journal, lifecycles={LIFECYCLE.name: LIFECYCLE}).ok


def test_it_migrates(tmp_path: Path) -> None:
    assert migrate(prepared(tmp_path)).state == "done"
    assert_migrated(tmp_path)


@pytest.mark.parametrize("entries", range(1, 20))
def test_killed_after_any_entry_it_goes_on_and_ends(tmp_path: Path, entries: int) -> None:
    folder = prepared(tmp_path)
    killed = killed_after(folder, entries)

    if killed:
        assert migrate(folder).state == "done"

    assert_migrated(folder)
    copies = (folder / "copies.log").read_text().splitlines()
    assert sorted(set(copies)) == sorted(ROWS)
    assert len(copies) <= len(ROWS) + killed


def test_bad_data_give_up_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_text("no comma here\n", encoding="utf-8")

    run = migrate(tmp_path)

    assert (run.state, run.stop_reason) == ("given_up", "bad_data")
