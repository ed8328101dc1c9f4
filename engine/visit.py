"""A visit: the run's present stay in a state, as the journal tells it since the last checkpoint."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

from sqlalchemy import Connection

from necrocode.engine.canonical import parsed
from necrocode.engine.effects import Json, OpenEffect, Recorded
from necrocode.engine.entry import COLUMNS, Entry, intact, unpack
from necrocode.engine.errors import JournalDamaged, Superseded
from necrocode.engine.ids import idempotency_key
from necrocode.engine.journal import Journal, read_blob
from necrocode.engine.runs import RunRecord


@dataclass(slots=True)
class Step:
    """What the journal knows of one effect, observation or warning of a visit."""

    name: str
    key: str
    #: Of its first entry.
    seq: int
    note: Json = None
    #: The entry that settled it; ``None`` while it is open.
    settled: Entry | None = None
    #: Attempts that failed.
    failed: int = 0
    #: Attempts that may have been under way when a process died or was stopped.
    lost: int = 0
    #: Failed attempts since the last time it was given up.
    failed_in_round: int = 0
    #: When the next attempt is due (microseconds since the epoch), if one is.
    retry_at: int | None = None
    #: Whether it may have happened, or be happening, without its outcome having been recorded.
    in_doubt: bool = True
    #: Whether an attempt may have begun since its last entry.
    begun: bool = True


@dataclass(slots=True)
class Visit:
    """One stay in a state."""

    number: int
    #: Effects by their ordinal, from 0.
    steps: dict[int, Step] = field(default_factory=dict)
    #: Processes that died here in a row without leaving anything new.
    deaths: int = 0
    #: What the run was working for, over all epochs before the present one.
    active: timedelta = timedelta(0)

    def open_effects(self, run_id: str) -> list[OpenEffect]:
        """Effects in doubt."""
        scope = scope_of(self.number)
        return [
            OpenEffect(
                seq=step.seq,
                visit=self.number,
                ordinal=ordinal,
                name=step.name,
                key=step.key,
                idempotency_key=idempotency_key(run_id, scope, ordinal, step.name, step.key),
                note=step.note,
            )
            for ordinal, step in self.steps.items()
            if step.settled is None and step.in_doubt
        ]


def scope_of(visit: int) -> str:
    """The scope in which a visit's effects are numbered."""
    return f"visit-{visit}"


def load_visit(journal: Journal, run: RunRecord) -> Visit:
    """The present visit of ``run``, its part of the hash chain verified up to the head.

    Raises :class:`JournalDamaged`, naming the first bad entry, and :class:`Superseded` if another process has claimed
    the run meanwhile.
    """
    start = _last_checkpoint(journal, run.run_id)
    visit = Visit(number=0, active=_active(journal, run))
    previous: Entry | None = None
    for entry in journal.entries(run.run_id, after=start - 1):
        _check(entry, previous, start)
        previous = entry
        _take(journal, visit, entry)
    if previous is not None and previous.seq > run.head_seq:
        # Nothing can have stood behind the entry that claimed the run: somebody claimed it again since.
        raise Superseded(f"run {run.run_id}: epoch {run.epoch} is over")
    if previous is None or previous.hash != run.head_hash or previous.seq != run.head_seq:
        raise JournalDamaged(
            f"run {run.run_id}: its last entry is {previous.seq if previous else 'missing'}, "
            f"its head says {run.head_seq}"
        )
    return visit


def history(journal: Journal, run_id: str, states: Collection[str], before_visit: int) -> list[Recorded]:
    """Outcomes of earlier visits of a state (by each of its names), in order."""
    marks = ", ".join("?" * len(states))
    found = []
    with journal.database.read() as connection:
        rows = connection.exec_driver_sql(
            f"SELECT {COLUMNS} FROM entries WHERE run_id = ? AND kind = 'outcome' AND state IN ({marks}) ORDER BY seq",
            (run_id, *states),
        ).fetchall()
        for row in rows:
            payload = _payload(connection, Entry.of(row))
            if "scope" not in payload and payload["visit"] < before_visit and "result" in payload:
                found.append(Recorded(payload["visit"], payload["ordinal"], row.name, row.key, payload["result"]))
    return found


def last_recorded(
    journal: Journal, run_id: str, field: str, before: int | None = None, effect: str | None = None
) -> Json | None:
    """The last value that an outcome of the run (of ``effect``, with a ``seq`` below ``before``) gave to ``field`` of
    its result.
    """
    with journal.database.read() as connection:
        rows = connection.exec_driver_sql(
            f"SELECT {COLUMNS} FROM entries WHERE run_id = ? AND kind = 'outcome' AND (? IS NULL OR seq < ?) "
            "AND (? IS NULL OR name = ?) ORDER BY seq DESC",
            (run_id, before, before, effect, effect),
        )
        for row in rows:
            value = field_of(_payload(connection, Entry.of(row)), field)
            if value is not None:
                return value
    return None


def field_of(payload: dict[str, Any], field: str) -> Json | None:
    """``field`` of the result in an outcome's payload, if it has one."""
    result = payload.get("result")
    return result.get(field) if isinstance(result, dict) else None


def _payload(connection: Connection, entry: Entry) -> dict[str, Json]:
    return unpack(entry.payload, partial(read_blob, connection, entry.run_id))


def _take(journal: Journal, visit: Visit, entry: Entry) -> None:
    kind = entry.kind
    # Blobs stay where they are: results are looked at when the handler asks for them.
    head = parsed(entry.payload)
    if kind == "lease":
        _take_lease(visit, entry, head)
    elif kind in ("created", "transition", "parked"):
        visit.deaths = 0
        visit.number = head["visit"] if kind == "transition" else visit.number
    elif "ordinal" in head and "scope" not in head:
        visit.deaths = 0
        _take_step(journal, visit, entry, head)


def _take_lease(visit: Visit, entry: Entry, head: dict[str, Any]) -> None:
    still_open = [step for step in visit.steps.values() if step.settled is None]
    if entry.name == "claimed":
        visit.deaths += bool(head["after_death"])
        for step in still_open:
            # One that died while it waited for the next attempt had not begun it.
            waiting = step.retry_at is not None and entry.at < step.retry_at
            step.lost += step.begun and not waiting
            step.begun = False
    elif entry.name == "resumed":
        # From here on the handler ran again over what was open.
        for step in still_open:
            step.begun = step.in_doubt
    elif entry.name == "interrupted":
        visit.deaths = 0


def _take_step(journal: Journal, visit: Visit, entry: Entry, head: dict[str, Any]) -> None:
    ordinal = head["ordinal"]
    if entry.kind == "attempt":
        step = visit.steps[ordinal]
        step.failed += 1
        step.failed_in_round = 0 if head["final"] else step.failed_in_round + 1
        step.retry_at = head["retry_at"]
        step.in_doubt = step.begun = head["in_doubt"] or not head["final"]
        return
    if ordinal not in visit.steps:
        note = head.get("note") if entry.kind == "intent" else None
        if isinstance(note, dict):
            note = journal.payload(entry)["note"]
        visit.steps[ordinal] = Step(entry.name, entry.key, entry.seq, note)
    step = visit.steps[ordinal]
    if entry.kind == "intent":
        step.in_doubt = step.begun = True
        step.retry_at = None
    else:
        step.settled = entry


def _check(entry: Entry, previous: Entry | None, start: int) -> None:
    expected = start if previous is None else previous.seq + 1
    if entry.seq != expected:
        raise JournalDamaged(f"run {entry.run_id}: entry {expected} is missing")
    if previous is not None and entry.prev_hash != previous.hash:
        raise JournalDamaged(f"run {entry.run_id}: entry {entry.seq} does not follow entry {previous.seq}")
    if not intact(entry):
        raise JournalDamaged(f"run {entry.run_id}: entry {entry.seq} was changed")


def _last_checkpoint(journal: Journal, run_id: str) -> int:
    with journal.database.read() as connection:
        row = connection.exec_driver_sql(
            "SELECT seq FROM entries WHERE run_id = ? AND kind IN ('created', 'transition') ORDER BY seq DESC LIMIT 1",
            (run_id,),
        ).fetchone()
    if row is None:
        raise JournalDamaged(f"run {run_id}: it has no first entry")
    return int(row[0])


def _active(journal: Journal, run: RunRecord) -> timedelta:
    with journal.database.read() as connection:
        rows = connection.exec_driver_sql(
            "SELECT max(at) - min(at) FROM entries WHERE run_id = ? AND epoch > 0 AND epoch < ? GROUP BY epoch",
            (run.run_id, run.epoch),
        ).fetchall()
    return timedelta(microseconds=sum(row[0] for row in rows))
