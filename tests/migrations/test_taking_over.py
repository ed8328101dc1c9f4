"""A journal is not migrated under a driver's hands; from one that is gone with his machine, it can be taken over."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import create_engine

import necrocode.runner
from alembic import command
from necrocode.cli import cli
from necrocode.engine.canonical import canonical
from necrocode.engine.database import alembic_config
from necrocode.engine.errors import JournalDamaged, JournalUnavailable
from necrocode.engine.identity import ProcessIdentity
from necrocode.engine.journal import Journal
from necrocode.engine.schema import JOURNAL

HERE = ProcessIdentity.current()
GONE = {
    "another host": replace(HERE, host="elsewhere", boot_id="another"),
    "another container": replace(HERE, host="elsewhere", pid_namespace="pid:[1]"),
}
MOMENT = timedelta(seconds=0.5)


def old_journal(path: Path, holder: ProcessIdentity) -> Path:
    """A journal of an older release, in which ``holder`` drives a run."""
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "j0001")
    engine.dispose()
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("INSERT INTO leases VALUES ('run-1', 3, 1, ?, 17)", (canonical(holder.to_json()),))
        raw.commit()
    return path


def revision(path: Path) -> str:
    with closing(sqlite3.connect(path)) as raw:
        return str(raw.execute("SELECT version_num FROM alembic_version").fetchone()[0])


@contextmanager
def beating(path: Path) -> Iterator[None]:
    """Meanwhile the holder gives signs of life."""
    over = threading.Event()

    def beat() -> None:
        with closing(sqlite3.connect(path, timeout=30)) as raw:
            while not over.wait(MOMENT.total_seconds() / 20):
                raw.execute("UPDATE leases SET beat = beat + 1")
                raw.commit()

    heart = threading.Thread(target=beat)
    heart.start()
    try:
        yield
    finally:
        over.set()
        heart.join()


@pytest.mark.parametrize("where", GONE)
def test_a_holder_that_is_gone_with_its_machine_is_passed_over_on_request(tmp_path: Path, where: str) -> None:
    path = old_journal(tmp_path / "journal.db", GONE[where])
    with pytest.raises(JournalUnavailable, match=r"on elsewhere is driving a run: .*necrocode db upgrade --take-over"):
        Journal(path)
    assert revision(path) == "j0001"
    with Journal(path, take_over=MOMENT) as journal:
        assert journal.holder("run-1") == GONE[where], "its lease is taken over by who takes up the run"
    assert revision(path) == JOURNAL.head


def test_a_holder_that_gives_signs_of_life_is_not(tmp_path: Path) -> None:
    path = old_journal(tmp_path / "journal.db", GONE["another host"])
    with beating(path), pytest.raises(JournalUnavailable, match="on elsewhere is driving a run"):
        Journal(path, take_over=MOMENT)
    assert revision(path) == "j0001"


def test_nor_is_one_that_is_seen_to_live(tmp_path: Path) -> None:
    path = old_journal(tmp_path / "journal.db", HERE)
    with pytest.raises(
        JournalUnavailable, match=f"process {os.getpid()} on .* is driving a run: let it end, then try again$"
    ):
        Journal(path, take_over=timedelta(days=1))
    assert revision(path) == "j0001"


@pytest.mark.parametrize("table", ["leases", "other"])
def test_what_is_no_journal_is_said_to_be_none(tmp_path: Path, table: str) -> None:
    path = tmp_path / "journal.db"
    with closing(sqlite3.connect(path)) as raw:
        raw.execute(f"CREATE TABLE {table} (a)")
        raw.commit()
    with pytest.raises(JournalDamaged, match="not ours"):
        Journal(path, take_over=timedelta(days=1))


def test_nobody_is_watched_where_no_migration_is_due(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    ages = timedelta(days=1)
    Journal(path, take_over=ages).close()
    with closing(sqlite3.connect(path)) as raw:
        holder = canonical(GONE["another host"].to_json())
        raw.execute("INSERT INTO leases VALUES ('run-1', 3, 1, ?, 17)", (holder,))
        raw.commit()
    Journal(path, take_over=ages).close()


def test_the_command_takes_over_and_says_so_where_it_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(necrocode.runner, "LEASE_TTL", MOMENT)
    path = old_journal(tmp_path / "journal.db", GONE["another host"])
    home = ["--home", str(tmp_path)]
    with pytest.raises(JournalUnavailable, match="--take-over"):
        CliRunner().invoke(cli, ["db", "upgrade", *home], catch_exceptions=False)
    done = CliRunner().invoke(cli, ["db", "upgrade", "--take-over", *home], catch_exceptions=False)
    assert (done.exit_code, f"{path}: revision {JOURNAL.head}, whole" in done.output) == (0, True)
