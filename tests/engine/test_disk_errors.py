"""A disk that fails under the journal, at any one of its statements: said, nothing lost, and gone on with later."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from necrocode.engine import audit
from necrocode.engine.context import Context
from necrocode.engine.errors import JournalError, JournalUnavailable
from necrocode.engine.identity import ProcessIdentity
from necrocode.engine.journal import Journal
from tests.engine.workshop import TABLE, Calls, OpenJournal, Workshop


@dataclass
class Disk:
    """Fails at the ``at``-th statement, and from there on, if it is ``gone``; counts from 1."""

    at: int = 0
    gone: bool = False
    #: Whether a failing commit takes place all the same.
    late: bool = False
    message: str = "disk I/O error"
    seen: int = 0
    hit: bool = False

    def fails(self) -> bool:
        """One more statement is to be carried out: whether it fails."""
        self.seen += 1
        now = self.at > 0 and (self.seen >= self.at if self.gone else self.seen == self.at)
        self.hit = self.hit or now
        return now


def on(disk: Disk) -> type[sqlite3.Connection]:
    """The class of connections to a file on ``disk``."""

    class Cursor(sqlite3.Cursor):
        def execute(self, sql: str, parameters: Any = (), /) -> Cursor:
            if disk.fails():
                if disk.late and sql == "COMMIT":
                    super().execute(sql, parameters)
                raise sqlite3.OperationalError(disk.message)
            return super().execute(sql, parameters)

    class Connection(sqlite3.Connection):
        def cursor(self, factory: Any = Cursor) -> Any:
            return super().cursor(factory)

        def execute(self, sql: str, parameters: Any = (), /) -> Any:
            return self.cursor().execute(sql, parameters)

        def rollback(self) -> None:
            if self.in_transaction and disk.fails():
                raise sqlite3.OperationalError(disk.message)
            super().rollback()

    return Connection


def errand(calls: Calls) -> Callable[[Context], Any]:
    """Work that has something of everything."""

    def work(ctx: Context) -> Any:
        ctx.observe("look", lambda: "seen")
        first = ctx.effect("post", calls)
        ctx.warn("so", {"message": "so"})
        second = ctx.effect("post", calls)
        ctx.post("sink", "call", {"second": second})
        return [first, second]

    return work


def live(path: Path, disk: Disk, calls: Calls) -> str:
    """One process: begins the run or goes on with it, as far as it gets; returns how it ended."""
    try:
        # Each is somebody else, who is gone when the next one comes.
        who = replace(ProcessIdentity.current(), start_time=-disk.at - 1)
        with Journal(path, durability="process-crash", connections=on(disk), identity=who) as journal:
            runs = journal.runs()
            run_id = runs[0].run_id if runs else journal.create(TABLE, subject="bench", data={"task": "t"}).run_id
            return Workshop(journal, run_id=run_id).drive(errand(calls)).state
    except JournalError as error:
        assert isinstance(error, JournalUnavailable), error
        assert path.name in str(error) and "resume" in str(error), error
        return "refused"


@pytest.mark.parametrize(
    "disk",
    [Disk(), Disk(gone=True), Disk(late=True, message="database or disk is full")],
    ids=["fails once", "fails from then on", "is full, and a commit that was refused takes place"],
)
def test_an_error_at_any_statement_loses_nothing(open_journal: OpenJournal, tmp_path: Path, disk: Disk) -> None:
    blank = open_journal("blank.db")
    blank.close()
    whole = Disk()
    path = tmp_path / "whole.db"
    path.write_bytes((tmp_path / "blank.db").read_bytes())
    assert live(path, whole, Calls()) == "done"
    assert whole.seen > 40
    for at in range(1, whole.seen + 1):
        path = tmp_path / f"journal-{at}.db"
        path.write_bytes((tmp_path / "blank.db").read_bytes())
        calls, failing = Calls(), replace(disk, at=at)
        ended = live(path, failing, calls)
        assert failing.hit or ended == "done"
        assert live(path, Disk(), calls) == "done", f"statement {at}"
        # What was not recorded is done again under its own key; nothing else is.
        assert calls.count <= 3, f"statement {at}"
        assert len({attempt.idempotency_key for attempt in calls.attempts}) == 2
        with Journal(path) as journal:
            report = audit.verify(journal, lifecycles={TABLE.name: TABLE})
            assert report.ok, (at, report.problems)
            assert audit.rebuild(journal) == 0
            assert len(journal.runs()) == 1
