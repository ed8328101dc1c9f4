"""Audit: verify that the journal says what it said when it was written, and rebuild the projection from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection

from necrocode.engine.entry import unpack
from necrocode.engine.errors import JournalDamaged
from necrocode.engine.examination import Examination, Problem, bad_link, entries_of, run_ids
from necrocode.engine.heads import Heads, heads
from necrocode.engine.journal import RUN_COLUMNS, Journal, read_blob, row_of
from necrocode.engine.lifecycle import Lifecycle
from necrocode.engine.runs import RunRecord, begin, follow

__all__ = ["Heads", "Problem", "Report", "heads", "rebuild", "verify"]


@dataclass(frozen=True, slots=True)
class Report:
    """What :func:`verify` found."""

    runs_checked: int
    entries_checked: int
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def verify(
    journal: Journal,
    *,
    run_id: str | None = None,
    lifecycles: Mapping[str, Lifecycle] | None = None,
    against: Heads | None = None,
) -> Report:
    """Check every hash, link, blob, transition, projection row and posted report, of one run or of all.

    ``lifecycles`` (by name) adds the check that each transition is declared and that its guard held; ``against`` that
    nothing covered by those heads was changed or removed. Each run's list names its first bad entry only.

    Not covered, since they change all the time: a lease's heartbeat, how often a delivery was tried, a cancel that
    was asked for. A file that SQLite itself cannot read is a problem like any other.
    """
    problems: list[Problem] = []
    checked = entries = 0
    try:
        with journal.database.read() as connection, _any_text(connection):
            examination = Examination(connection, lifecycles or {}, problems)
            links = examination.guards_and_chain()
            known = run_ids(connection) if run_id is None else [run_id]
            for each in known:
                examination.run(each, links)
                checked, entries = checked + 1, examination.entries
            if run_id is None:
                examination.vanished(links, set(known))
            if against is not None:
                examination.against(against)
    except JournalDamaged as error:
        problems.append(Problem(None, None, str(error)))
    return Report(checked, entries, tuple(problems))


def rebuild(journal: Journal) -> int:
    """Write ``runs`` anew from ``entries``; returns how many rows differed.

    Raises :class:`JournalDamaged` if the entries are not what they were: what is made of them would be no better.
    """
    with journal.database.write() as connection:
        wanted = {run.run_id: row_of(run) for run in _replayed(connection)}
        found = {row[0]: tuple(row) for row in connection.exec_driver_sql(f"SELECT {RUN_COLUMNS} FROM runs")}
        connection.exec_driver_sql("DELETE FROM runs")
        marks = ",".join("?" * len(RunRecord._fields))
        for row in wanted.values():
            connection.exec_driver_sql(f"INSERT INTO runs ({RUN_COLUMNS}) VALUES ({marks})", row)
    return sum(1 for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key))


def _replayed(connection: Connection) -> Iterator[RunRecord]:
    """Each run as its entries tell it."""
    for run_id in run_ids(connection):
        run: RunRecord | None = None
        for entry in entries_of(connection, run_id):
            problem = bad_link(entry, run)
            if problem is not None:
                raise JournalDamaged(f"run {run_id}, entry {entry.seq}: {problem}")
            payload = unpack(entry.payload, partial(read_blob, connection, run_id))
            run = begin(entry, payload) if run is None else follow(run, entry, payload)
        if run is not None:
            yield run


@contextmanager
def _any_text(connection: Connection) -> Iterator[None]:
    """Read what claims to be text whatever its bytes are: damage is to be named, not to stop the reading."""
    driver = connection.connection.driver_connection
    assert driver is not None
    driver.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
    try:
        yield
    finally:
        driver.text_factory = str
