"""A journal that is locked, full, newer than this release, damaged or in an unusable place."""

from __future__ import annotations

import contextlib
import resource
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Play
from tests.e2e.disk import small_disk
from tests.e2e.stage import BRANCH, SOLVE, Finished, Stage

IMPATIENT = {"NECROCODE_LOCK_TIMEOUT_SECONDS": "0.3"}


@contextlib.contextmanager
def locked(database: Path) -> Iterator[None]:
    """Hold the write lock of a database file, as another process does."""
    connection = sqlite3.connect(database, isolation_level=None)
    try:
        connection.execute("BEGIN EXCLUSIVE")
        yield
    finally:
        connection.close()


@pytest.mark.parametrize("name", ["journal.db", "services.db"])
def test_a_locked_database_is_an_environment_fault_that_names_the_file(stage: Stage, play: Play, name: str) -> None:
    play(*SOLVE)
    assert stage.necrocode("doctor").code == 0
    with locked(stage.home / name):
        done = stage.necrocode("run", stage.task(), **IMPATIENT)
        assert done.code == 3, done.err
        assert f"{name} is locked by another process" in done.err
    assert stage.necrocode("run", stage.task()).code == 0
    assert stage.branch_updates(BRANCH) == 1


def test_a_lock_that_comes_in_the_middle_of_a_run_leaves_it_resumable(stage: Stage, play: Play) -> None:
    model = play({**SOLVE[0], "delay_seconds": 2}, SOLVE[1])
    process = stage.start("run", stage.task(), **IMPATIENT)
    stage.wait_until(lambda: bool(model.requests), process)
    with locked(stage.home / "journal.db"):
        done = stage.finish(process)
    assert done.code == 3, done.err
    assert "locked by another process" in done.err
    assert stage.necrocode("resume", "--all").code == 0
    assert stage.branch_updates(BRANCH) == 1


def test_a_journal_of_a_newer_release_is_refused_and_left_alone(stage: Stage) -> None:
    assert stage.necrocode("runs").code == 0
    _change(stage.home / "journal.db", "UPDATE alembic_version SET version_num = 'j9999'")
    for command in (["run", stage.task()], ["resume", "--all"], ["runs"], ["verify"], ["doctor"], ["db", "upgrade"]):
        done = stage.necrocode(*command)
        assert done.code == 3, (command, done.err)
        assert "newer release" in done.err and "upgrade necrocode" in done.err
    with sqlite3.connect(stage.home / "journal.db") as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("j9999",)
    _change(stage.home / "journal.db", "UPDATE alembic_version SET version_num = 'j0001'")


def test_a_file_that_is_no_journal_is_damage(stage: Stage) -> None:
    stage.home.mkdir()
    (stage.home / "journal.db").write_bytes(b"this is no database, but long enough to be looked at " * 40)
    done = stage.necrocode("runs")
    assert done.code == 5, done.err
    assert "journal.db" in done.err and "damaged" in done.err
    shutil.rmtree(stage.home)


def test_a_home_that_cannot_be_used_is_named_with_the_way_out(stage: Stage) -> None:
    (stage.root / "in-the-way").write_text("x", encoding="utf-8")
    done = stage.necrocode("run", stage.task(), "--home", stage.root / "in-the-way" / "home")
    assert done.code == 3, done.err
    assert "in-the-way" in done.err and "--home" in done.err


def test_files_that_may_not_grow_stop_the_run_and_it_goes_on_when_they_may(stage: Stage, play: Play) -> None:
    play(*SOLVE)
    assert stage.necrocode("doctor").code == 0
    largest = max(path.stat().st_size for path in stage.home.glob("*.db*"))
    codes = set()
    for room in (0, 60_000, 100_000):
        done = _with_limit(stage, largest + room)
        assert "Traceback" not in done.err, done.err
        assert "this is a bug" not in done.err, done.err
        assert done.code in (0, 3), done.err
        codes.add(done.code)
    assert 3 in codes
    again = stage.necrocode("run", stage.task())
    assert again.code == 0, again.err
    assert stage.branches().keys() >= {BRANCH}


def test_a_full_disk_stops_the_run_and_it_goes_on_when_there_is_room(stage: Stage, play: Play) -> None:
    play(*SOLVE)
    stage.environment["NECROCODE_SANDBOX"] = "off"
    said = ""
    with small_disk(stage.home, size="4m") as disk:
        stage.namespaces = disk.namespaces
        assert stage.necrocode("doctor").code == 0
        for leave_bytes in (0, 300 << 10):
            disk.fill(leave_bytes=leave_bytes)
            done = stage.necrocode("run", stage.task())
            assert done.code == 3, done.err
            assert "this is a bug" not in done.err, done.err
            said += done.err
            disk.free()
        assert "no space left" in said.lower(), said
        done = stage.necrocode("run", stage.task())
        assert done.code == 0, done.err
        assert stage.necrocode("verify", "--all").code == 0
    assert stage.branch_updates(BRANCH) == 1


def _with_limit(stage: Stage, largest: int) -> Finished:
    """``run`` in a process whose files may not become larger than ``largest`` bytes."""
    (stage.root / "user").mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", "necrocode", "run", str(stage.task())],
        cwd=stage.root,
        env=stage.env(),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest)),
    )
    return Finished(done.returncode, done.stdout, done.stderr)


def _change(database: Path, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(statement)
