"""A visit: the run's present stay in a state, as the journal tells it since the last checkpoint."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import timedelta

from necrocode.engine.effects import Json, OpenEffect, Recorded
from necrocode.engine.entry import Entry, entry_hash
from necrocode.engine.errors import JournalDamaged
from necrocode.engine.ids import idempotency_key
from necrocode.engine.journal import Journal
from necrocode.engine.runs import RunRecord


@dataclass(slots=True)
class Step:
    """What the journal knows of one effect, observation or warning of a visit."""

    name: str
    key: str
    seq: int
    note: Json = None
    #: The entry that settled it; ``None`` while it is open.
    settled: Entry | None = None
    #: Failed attempts in all.
    failed: int = 0
    #: Failed attempts since the last time it was given up.
    failed_in_round: int = 0
    #: When the next attempt is due (microseconds since the epoch), if one is.
    retry_at: int | None = None
    #: Whether the process died while it was under way.
    in_doubt: bool = True


@dataclass(slots=True)
class Visit:
    """One stay in a state."""

    number: int
    #: Effects by their ordinal, from 0.
    steps: dict[int, Step] = field(default_factory=dict)
    #: Processes that died here in a row without leaving anything new, the present one not counted.
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

    Raises :class:`JournalDamaged`, naming the first bad entry.
    """
    start = _last_checkpoint(journal, run.run_id)
    visit = Visit(number=0, active=_active(journal, run))
    previous: Entry | None = None
    for entry in journal.entries(run.run_id, after=start - 1):
        _check(entry, previous, start)
        previous = entry
        _take(journal, visit, entry)
    if previous is None or previous.hash != run.head_hash or previous.seq != run.head_seq:
        raise JournalDamaged(
            f"run {run.run_id}: its last entry is {previous.seq if previous else 'missing'}, "
            f"its head says {run.head_seq}"
        )
    # The claim that is loading this is the last one; it has not died.
    visit.deaths = max(0, visit.deaths - 1)
    return visit


def history(journal: Journal, run_id: str, state: str, before_visit: int) -> list[Recorded]:
    """Outcomes of earlier visits of ``state``, in order."""
    with journal.database.read() as connection:
        rows = connection.exec_driver_sql(
            "SELECT * FROM entries WHERE run_id = ? AND kind = 'outcome' AND state = ? ORDER BY seq", (run_id, state)
        ).fetchall()
    found = []
    for row in rows:
        payload = journal.payload(Entry(*row))
        if "scope" not in payload and payload["visit"] < before_visit and "result" in payload:
            found.append(Recorded(payload["visit"], payload["ordinal"], row.name, row.key, payload["result"]))
    return found


def last_recorded(journal: Journal, run_id: str, field: str) -> Json | None:
    """The last value that any outcome of the run gave to ``field`` of its result."""
    with journal.database.read() as connection:
        rows = connection.exec_driver_sql(
            "SELECT * FROM entries WHERE run_id = ? AND kind = 'outcome' ORDER BY seq DESC", (run_id,)
        )
        for row in rows:
            result = journal.payload(Entry(*row)).get("result")
            if isinstance(result, dict) and result.get(field) is not None:
                return result[field]
    return None


def _take(journal: Journal, visit: Visit, entry: Entry) -> None:
    kind = entry.kind
    if kind == "lease":
        visit.deaths = visit.deaths + 1 if entry.name == "claimed" else visit.deaths
        if entry.name == "interrupted":
            visit.deaths = 0
        return
    if kind in ("created", "transition", "parked"):
        visit.deaths = 0
        if kind == "transition":
            visit.number = journal.payload(entry)["visit"]
        return
    # Blobs stay where they are: results are looked at when the handler asks for them.
    head = json.loads(entry.payload)
    if "scope" in head or "ordinal" not in head:
        return
    visit.deaths = 0
    ordinal = head["ordinal"]
    if kind == "attempt":
        step = visit.steps[ordinal]
        step.failed += 1
        step.failed_in_round = 0 if head["final"] else step.failed_in_round + 1
        step.retry_at = head["retry_at"]
        step.in_doubt = not head["final"]
        return
    step = visit.steps.setdefault(ordinal, Step(entry.name, entry.key, entry.seq, head.get("note")))
    if kind in ("outcome", "warning"):
        step.settled = entry


def _check(entry: Entry, previous: Entry | None, start: int) -> None:
    expected = start if previous is None else previous.seq + 1
    if entry.seq != expected:
        raise JournalDamaged(f"run {entry.run_id}: entry {expected} is missing")
    if previous is not None and entry.prev_hash != previous.hash:
        raise JournalDamaged(f"run {entry.run_id}: entry {entry.seq} does not follow entry {previous.seq}")
    if entry_hash(*entry[:-1]) != entry.hash:
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
