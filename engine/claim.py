"""A claimed run: the lease that gives the right to drive it, and the one way to append to it."""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias

from necrocode.engine.canonical import canonical
from necrocode.engine.clock import EpochClock
from necrocode.engine.effects import Json
from necrocode.engine.entry import COLUMNS, Entry, Kind, entry_hash
from necrocode.engine.errors import (
    EngineError,
    JournalDamaged,
    JournalError,
    JournalTooNew,
    LeaseHeld,
    RunNotFound,
    Superseded,
)
from necrocode.engine.identity import ProcessIdentity
from necrocode.engine.journal import RUN_COLUMNS, Journal, append_link, draft, insert_blobs, record
from necrocode.engine.runs import RunRecord, follow
from necrocode.engine.schema import JOURNAL
from necrocode.engine.stop import StopToken

log = logging.getLogger("necrocode.engine")

LEASE_TTL = timedelta(seconds=30)
"""A holder whose heartbeat counter stood still for this long may be superseded."""

HEARTBEAT = timedelta(seconds=5)
"""How often a holder counts up its heartbeat."""

#: Who may append, to what, in which schema: all decided by the statement that appends.
_APPEND = (
    f"INSERT INTO entries ({COLUMNS}) SELECT ?,?,?,?,?,?,?,?,?,?,? "
    "FROM runs JOIN leases ON leases.run_id = runs.run_id "
    "WHERE runs.run_id = ? AND runs.head_seq = ? AND leases.epoch = ? AND leases.held = 1 "
    f"AND (SELECT version_num FROM alembic_version) = '{JOURNAL.head}'"
)
_MOVE_HEAD = "UPDATE runs SET head_seq = ?, head_hash = ?, updated_at = ? WHERE run_id = ?"
_MOVE_ALL = (
    "UPDATE runs SET head_seq = ?, head_hash = ?, updated_at = ?, state = ?, status = ?, stop_reason = ?, data = ?, "
    "epoch = ?, version = ?, finished_at = ? WHERE run_id = ?"
)
_FREE_LEASE = "UPDATE leases SET held = 0 WHERE run_id = ?"


Observer: TypeAlias = Callable[[Entry, Mapping[str, Json]], None]


@dataclass(frozen=True, slots=True)
class Addition:
    """One entry to append."""

    kind: Kind
    name: str
    payload: Mapping[str, Json]
    key: str = ""
    #: The state it is about, if the entry changes it.
    state: str | None = None


@dataclass(frozen=True, slots=True)
class OutboxItem:
    """A call to a service that must still be made."""

    item_id: str
    sink: str
    call: str
    payload: Mapping[str, Json]


class Claim:
    """The right to drive one run in one epoch. Made by :func:`claim`."""

    def __init__(self, journal: Journal, run: RunRecord, clock: EpochClock) -> None:
        self.journal = journal
        #: The run after the last append of this claim.
        self.run = run
        self.clock = clock
        #: Told of each entry once it is on disk.
        self.observer: Observer | None = None
        self._released = False

    @property
    def epoch(self) -> int:
        """Higher than that of every earlier holder."""
        return self.run.epoch

    def append(
        self, additions: Sequence[Addition], *, release: bool = False, outbox: Sequence[OutboxItem] = ()
    ) -> list[dict[str, Json]]:
        """Append entries and move the projection, in one transaction with one sync.

        Returns the payloads as they were stored: cleaned and masked. ``release`` frees the lease with it.

        Raises :class:`Superseded` if another process has the run now, :class:`JournalTooNew` if the schema moved on,
        :class:`JournalUnavailable` if it cannot be written; then nothing was appended.
        """
        drafts = [draft(a.kind, a.name, a.key, a.payload, self.journal.mask) for a in additions]
        head = self.run
        run, at = head, self.clock.microseconds()
        rows: list[Entry] = []
        for addition, (made, text, _) in zip(additions, drafts, strict=True):
            row = (
                run.run_id,
                run.head_seq + 1,
                made.kind,
                addition.state or run.state,
                made.name,
                made.key,
                run.epoch,
                at,
                text,
                run.head_hash,
            )
            entry = Entry(*row, entry_hash(*row))
            rows.append(entry)
            run = follow(run, entry, made.payload)
        head_only = all(a.kind in ("intent", "outcome", "attempt", "warning") for a in additions)

        def operation(connection: sqlite3.Connection) -> None:
            for entry in rows:
                done = connection.execute(_APPEND, (*entry, head.run_id, head.head_seq, head.epoch)).rowcount
                if done != 1:
                    raise _refusal(connection, head)
            for _, _, blobs in drafts:
                insert_blobs(connection, head.run_id, blobs)
            _move(connection, run, rows[-1], head_only=head_only)
            for item in outbox:
                _post(connection, item, run, at)
            if run.status == "closed":
                append_link(connection, run.run_id, "closed", run.head_seq, run.head_hash)
            if release:
                connection.execute(_FREE_LEASE, (run.run_id,))

        self.journal.writer.submit(operation)
        self.run = run
        self._released = self._released or release
        payloads = [made.payload for made, _, _ in drafts]
        if self.observer is not None:
            for entry, payload in zip(rows, payloads, strict=True):
                self.observer(entry, payload)
        return payloads

    def abandon(self) -> None:
        """Let go of the lease without an entry, if it is still held: whatever broke, this process drives no more."""
        if self._released:
            return
        self._released = True
        parameters = (self.run.run_id, self.epoch)
        try:
            self.journal.writer.submit(
                lambda connection: connection.execute(f"{_FREE_LEASE} AND epoch = ?", parameters).rowcount
            )
        except JournalError as error:
            # Then the holder's death frees it.
            log.warning("the lease of run %s could not be given back: %s", self.run.run_id, error)

    def beat(self) -> bool:
        """Say that the holder lives. False if the run is no longer ours."""
        run_id, epoch = self.run.run_id, self.epoch
        return self.journal.writer.submit(
            lambda connection: (
                connection.execute(
                    "UPDATE leases SET beat = beat + 1 WHERE run_id = ? AND epoch = ? AND held = 1", (run_id, epoch)
                ).rowcount
                == 1
            )
        )


def claim(
    journal: Journal,
    run_id: str,
    *,
    version: int | None = None,
    state: str | None = None,
    take_over: bool = False,
    ttl: timedelta = LEASE_TTL,
) -> Claim:
    """Take the right to drive ``run_id``, raising its epoch.

    A holder that is dead is followed at once. One that lives is left alone, unless ``take_over``: then its heartbeat is
    watched for ``ttl`` on our own monotonic clock; if it stands still, the holder is killed first where it can be
    reached (same host and PID namespace; works on a stopped process), and the run is taken. ``version`` and ``state``
    are what the lifecycle is called now, if it moved on since the run was made.

    Raises :class:`RunNotFound`, :class:`LeaseHeld`, :class:`EngineError` if the run has ended.
    """
    lease = _lease(journal, run_id)
    if lease is not None and lease.held:
        _wait_or_refuse(journal, run_id, lease, take_over=take_over, ttl=ttl)
    expected = lease.epoch if lease else 0
    clock = EpochClock()
    holder = ProcessIdentity.current()
    holder_json = canonical(holder.to_json())

    def operation(connection: sqlite3.Connection) -> RunRecord:
        row = connection.execute(f"SELECT {RUN_COLUMNS} FROM runs WHERE run_id = ?", (run_id,)).fetchone()
        if row is None:
            raise RunNotFound(f"there is no run {run_id} in {journal.path}")
        run = record(row)
        if run.status == "closed":
            raise EngineError(f"run {run_id} has ended: {run.state}")
        taken = connection.execute(
            "INSERT INTO leases (run_id, epoch, held, holder, beat) VALUES (?, ?, 1, ?, 0) "
            "ON CONFLICT (run_id) DO UPDATE SET epoch = excluded.epoch, held = 1, holder = excluded.holder, beat = 0 "
            "WHERE leases.epoch = ?",
            (run_id, expected + 1, holder_json, expected),
        ).rowcount
        if taken != 1:
            raise LeaseHeld(f"run {run_id} was taken by another process just now")
        payload: dict[str, Json] = {"epoch": expected + 1, "holder": holder.to_json()}
        if version is not None and version != run.version:
            payload["version"] = version
        made, text, _ = draft("lease", "claimed", "", payload, journal.mask)
        fields = (
            run_id,
            run.head_seq + 1,
            "lease",
            state or run.state,
            "claimed",
            "",
            expected + 1,
            clock.microseconds(),
            text,
            run.head_hash,
        )
        entry = Entry(*fields, entry_hash(*fields))  # type: ignore[arg-type]
        if connection.execute(_APPEND, (*entry, run_id, run.head_seq, expected + 1)).rowcount != 1:
            raise _refusal(connection, run)
        claimed = follow(run, entry, made.payload)
        _move(connection, claimed, entry, head_only=False)
        return claimed

    return Claim(journal, journal.writer.submit(operation), clock)


@dataclass(frozen=True, slots=True)
class _Lease:
    epoch: int
    held: bool
    holder: ProcessIdentity
    beat: int


def _lease(journal: Journal, run_id: str) -> _Lease | None:
    with journal.database.read() as connection:
        row = connection.exec_driver_sql(
            "SELECT epoch, held, holder, beat FROM leases WHERE run_id = ?", (run_id,)
        ).fetchone()
    if row is None:
        return None
    return _Lease(row[0], bool(row[1]), ProcessIdentity.from_json(json.loads(row[2])), row[3])


def _wait_or_refuse(journal: Journal, run_id: str, lease: _Lease, *, take_over: bool, ttl: timedelta) -> None:
    """Return when the lease may be followed."""
    if lease.holder == ProcessIdentity.current():
        raise LeaseHeld(f"run {run_id} is driven by this process already")
    if lease.holder.is_alive() is False:
        return
    if not take_over:
        raise LeaseHeld(f"run {run_id} is driven by {lease.holder}")
    deadline, pause = time.monotonic() + ttl.total_seconds(), StopToken()
    while time.monotonic() < deadline:
        pause.wait(min(timedelta(seconds=0.2), ttl))
        now = _lease(journal, run_id)
        if now is None or not now.held or lease.holder.is_alive() is False:
            return
        if now.epoch != lease.epoch or now.beat != lease.beat:
            raise LeaseHeld(f"run {run_id} is driven by {now.holder}, which is alive")
    if lease.holder.is_alive() and not lease.holder.kill(ttl):
        raise LeaseHeld(f"{lease.holder} does not answer and could not be ended")


def _move(connection: sqlite3.Connection, run: RunRecord, last: Entry, *, head_only: bool) -> None:
    if head_only:
        connection.execute(_MOVE_HEAD, (run.head_seq, run.head_hash, last.at, run.run_id))
        return
    connection.execute(
        _MOVE_ALL,
        (
            run.head_seq,
            run.head_hash,
            last.at,
            run.state,
            run.status,
            run.stop_reason,
            canonical(dict(run.data)),
            run.epoch,
            run.version,
            last.at if run.finished_at else None,
            run.run_id,
        ),
    )


def _post(connection: sqlite3.Connection, item: OutboxItem, run: RunRecord, at: int) -> None:
    connection.execute(
        "INSERT INTO outbox (item_id, run_id, sink, call, payload, epoch, at, attempts) VALUES (?,?,?,?,?,?,?,0) "
        "ON CONFLICT (item_id) DO NOTHING",
        (item.item_id, run.run_id, item.sink, item.call, canonical(dict(item.payload)), run.epoch, at),
    )


def _refusal(connection: sqlite3.Connection, head: RunRecord) -> BaseException:
    """Why the conditional append did not take."""
    version = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    if version is None or version[0] != JOURNAL.head:
        return JournalTooNew(
            f"the journal is at revision {version and version[0]} now; this release writes {JOURNAL.head}"
        )
    lease = connection.execute("SELECT epoch, held FROM leases WHERE run_id = ?", (head.run_id,)).fetchone()
    if lease is None or lease[0] != head.epoch or not lease[1]:
        return Superseded(f"run {head.run_id}: epoch {head.epoch} is over")
    return JournalDamaged(f"run {head.run_id}: its head is not entry {head.head_seq} any more, in the same epoch")
