"""A claimed run: the lease that gives the right to drive it, and the one way to append to it."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias

from necrocode.engine.canonical import canonical, sha256, written
from necrocode.engine.clock import EpochClock
from necrocode.engine.effects import Json
from necrocode.engine.entry import Draft, Entry, Kind, draft, entry_hash
from necrocode.engine.errors import (
    JournalDamaged,
    JournalError,
    JournalTooNew,
    JournalUnavailable,
    LeaseHeld,
    RunEnded,
    RunNotFound,
    Superseded,
)
from necrocode.engine.identity import ProcessIdentity
from necrocode.engine.journal import INSERT_ENTRY, RUN_COLUMNS, Journal, append_link, insert_blobs, record
from necrocode.engine.leases import holder_of
from necrocode.engine.runs import HEAD_ONLY, RunRecord, follow
from necrocode.engine.schema import JOURNAL
from necrocode.engine.stop import StopToken

log = logging.getLogger("necrocode.engine")

LEASE_TTL = timedelta(seconds=30)
"""A holder whose heartbeat counter stood still for this long may be superseded."""

HEARTBEAT = timedelta(seconds=5)
"""How often a holder counts up its heartbeat."""

#: Who may append, to what, in which schema: all decided by the statement that moves the head. It comes first in its
#: transaction: if it moves nothing, nothing is appended.
_FENCE = (
    "WHERE run_id = ? AND head_seq = ? "
    "AND EXISTS (SELECT 1 FROM leases WHERE leases.run_id = runs.run_id AND leases.epoch = ? AND leases.held = 1) "
    f"AND (SELECT version_num FROM alembic_version) = '{JOURNAL.head}'"
)
_MOVE_HEAD = f"UPDATE runs SET head_seq = ?, head_hash = ?, updated_at = ? {_FENCE}"
_MOVE_STATE = f"UPDATE runs SET head_seq = ?, head_hash = ?, updated_at = ?, state = ?, data = ? {_FENCE}"
#: Apart from the rest: they change when a run is claimed or let go, and two indexes hang on the status.
_MOVE_STATUS = "UPDATE runs SET status = ?, stop_reason = ?, epoch = ?, version = ?, finished_at = ? WHERE run_id = ?"
_TAKE_LEASE = (
    "INSERT INTO leases (run_id, epoch, held, holder, beat) VALUES (?, ?, 1, ?, 0) "
    "ON CONFLICT (run_id) DO UPDATE SET epoch = excluded.epoch, held = 1, holder = excluded.holder, beat = 0 "
    "WHERE leases.epoch = ?"
)
_FREE_LEASE = "UPDATE leases SET held = 0 WHERE run_id = ?"


Observer: TypeAlias = Callable[[Entry, Mapping[str, Json]], None]
"""Told of each entry, with its payload, once it is on disk. What it raises is logged; the run goes on."""

Admit: TypeAlias = Callable[[RunRecord], tuple[int, str]]
"""In which version of the lifecycle, and in which of its states, the run goes on; raises if it may not."""


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
    #: Cleaned and masked.
    payload: Mapping[str, Json]

    @property
    def sha256(self) -> str:
        """Of its payload, as it is stored."""
        return sha256(canonical(dict(self.payload)).encode())


class Claim:
    """The right to drive one run in one epoch. Made by :func:`claim`."""

    def __init__(self, journal: Journal, run: RunRecord, clock: EpochClock, observer: Observer | None = None) -> None:
        self.journal = journal
        #: The run after the last append of this claim.
        self.run = run
        self.clock = clock
        self._observer = observer
        self._released = False

    @property
    def epoch(self) -> int:
        """Higher than that of every earlier holder."""
        return self.run.epoch

    @property
    def is_over(self) -> bool:
        """Whether this claim has let go of the lease."""
        return self._released

    def draft(self, addition: Addition) -> Draft:
        """The entry that ``addition`` will be, cleaned and masked; ready for :meth:`append`."""
        return draft(
            addition.kind,
            addition.name,
            addition.payload,
            self.journal.mask,
            key=addition.key,
            state=addition.state,
        )

    def append(
        self, additions: Sequence[Addition | Draft], *, release: bool = False, outbox: Sequence[OutboxItem] = ()
    ) -> list[dict[str, Json]]:
        """Append entries and move the projection, in one transaction with one sync.

        Returns the payloads as they were stored: cleaned and masked. ``release`` frees the lease with it.

        Raises :class:`Superseded` if another process has the run now, :class:`JournalTooNew` if the schema moved on,
        :class:`JournalUnavailable` if it cannot be written; then nothing was appended, as far as that can be known.
        """
        head = self.run
        run, at = head, self.clock.microseconds()
        rows: list[tuple[Entry, Draft]] = []
        head_only = True
        for addition in additions:
            made = addition if isinstance(addition, Draft) else self.draft(addition)
            entry = _entry(run, made, run.epoch, at, made.state or run.state)
            run = follow(run, entry, made.payload)
            rows.append((entry, made))
            head_only = head_only and made.kind in HEAD_ONLY

        # None where only the head moves.
        data = None if head_only else written(run.data)

        def operation(cursor: sqlite3.Cursor) -> None:
            _move(cursor, head, run, data=data)
            for entry, made in rows:
                cursor.execute(INSERT_ENTRY, entry.row)
                if made.blobs:
                    insert_blobs(cursor, head.run_id, made.blobs)
            for item in outbox:
                _post(cursor, item, run, at)
            if run.status == "closed":
                append_link(cursor, run.run_id, "closed", run.head_seq, run.head_hash)
            if release:
                cursor.execute(_FREE_LEASE, (run.run_id,))

        self.journal.writer.submit(operation)
        self.run = run
        self._released = self._released or release
        if self._observer is not None:
            for entry, made in rows:
                _tell(self._observer, entry, made.payload)
        return [made.payload for _, made in rows]

    def abandon(self) -> None:
        """Let go of the lease without an entry, if it is still held: whatever broke, this process drives no more."""
        if self._released:
            return
        self._released = True
        parameters = (self.run.run_id, self.epoch)
        try:
            self.journal.writer.submit(
                lambda cursor: cursor.execute(f"{_FREE_LEASE} AND epoch = ?", parameters).rowcount
            )
        except JournalError as error:
            # Then the holder's death frees it.
            log.warning("the lease of run %s could not be given back: %s", self.run.run_id, error)

    def check(self) -> None:
        """Raise :class:`Superseded` if this claim holds the lease no more."""
        lease = _lease(self.journal, self.run.run_id)
        if lease is None or not lease.held or lease.epoch != self.epoch:
            raise Superseded(f"run {self.run.run_id}: epoch {self.epoch} is over")

    def beat(self) -> bool:
        """Say that the holder lives. False if the run is no longer ours."""
        run_id, epoch = self.run.run_id, self.epoch
        return self.journal.writer.submit(
            lambda cursor: (
                cursor.execute(
                    "UPDATE leases SET beat = beat + 1 WHERE run_id = ? AND epoch = ? AND held = 1", (run_id, epoch)
                ).rowcount
                == 1
            )
        )


def claim(
    journal: Journal,
    run_id: str,
    *,
    admit: Admit = lambda run: (run.version, run.state),
    take_over: bool = False,
    ttl: timedelta = LEASE_TTL,
    observer: Observer | None = None,
) -> Claim:
    """Take the right to drive ``run_id``, raising its epoch.

    A holder that is dead is followed at once. One that lives is left alone, unless ``take_over``: then its heartbeat is
    watched for ``ttl`` on our own monotonic clock; if it stands still, the holder is killed first where it can be
    reached (same host and PID namespace; works on a stopped process), and the run is taken. ``admit`` is asked about
    the run as it is at that moment.

    Raises :class:`RunNotFound`, :class:`LeaseHeld`, :class:`RunEnded`, and what ``admit`` raises.
    """
    lease = _lease(journal, run_id)
    died = False
    if lease is not None and lease.held:
        died = _follow_or_refuse(journal, run_id, lease, take_over=take_over, ttl=ttl)
    clock = EpochClock()
    holder = journal.identity.to_json()

    def operation(cursor: sqlite3.Cursor) -> tuple[Claim, Entry, Draft]:
        row = cursor.execute(f"SELECT {RUN_COLUMNS} FROM runs WHERE run_id = ?", (run_id,)).fetchone()
        if row is None:
            raise RunNotFound(f"there is no run {run_id} in {journal.path}")
        run = record(row)
        if run.status == "closed":
            raise RunEnded(f"run {run_id} has ended: {run.state}")
        version, state = admit(run)
        epoch = run.epoch + 1
        payload: dict[str, Json] = {"epoch": epoch, "holder": holder, "after_death": died}
        if version != run.version:
            payload["version"] = version
        made = draft("lease", "claimed", payload, journal.mask)
        taken = cursor.execute(
            _TAKE_LEASE, (run_id, epoch, canonical(made.payload["holder"]), lease.epoch if lease else 0)
        ).rowcount
        if taken != 1:
            raise LeaseHeld(f"run {run_id} was taken by another process just now")
        entry = _entry(run, made, epoch, clock.microseconds(), state)
        claimed = follow(run, entry, made.payload)
        _move(cursor, run, claimed, data=canonical(claimed.data))
        cursor.execute(INSERT_ENTRY, entry.row)
        held = Claim(journal, claimed, clock, observer)
        with _claims_lock:
            # Known before anybody can read the lease: another thread must not take it for lost.
            _claims.add(held)
        return held, entry, made

    held, entry, made = journal.writer.submit(operation)
    if observer is not None:
        _tell(observer, entry, made.payload)
    return held


#: The claims of this process: a lease in its name that none of them holds was lost by a thread that failed.
_claims: weakref.WeakSet[Claim] = weakref.WeakSet()
_claims_lock = threading.Lock()


def _is_ours(journal: Journal, run_id: str, epoch: int) -> bool:
    with _claims_lock:
        return any(
            held.run.run_id == run_id and held.epoch == epoch and held.journal.path == journal.path
            for held in _claims
            if not held.is_over
        )


def _entry(run: RunRecord, made: Draft, epoch: int, at: int, state: str) -> Entry:
    row = (run.run_id, run.head_seq + 1, made.kind, state, made.name, made.key, epoch, at, made.text, run.head_hash)
    return Entry(*row, entry_hash(*row))


def _tell(observer: Observer, entry: Entry, payload: Mapping[str, Json]) -> None:
    try:
        observer(entry, payload)
    except Exception:
        # It is on disk already: whoever only watches must not make it fail.
        log.exception("an observer of run %s failed", entry.run_id)


@dataclass(frozen=True, slots=True)
class _Lease:
    epoch: int
    held: bool
    holder: ProcessIdentity
    beat: int


def _lease(journal: Journal, run_id: str) -> _Lease | None:
    rows = journal.database.rows("SELECT epoch, held, holder, beat FROM leases WHERE run_id = ?", (run_id,))
    if not rows:
        return None
    epoch, held, holder, beat = rows[0]
    return _Lease(epoch, bool(held), holder_of(holder), beat)


def _follow_or_refuse(journal: Journal, run_id: str, lease: _Lease, *, take_over: bool, ttl: timedelta) -> bool:
    """Return when the lease may be followed: whether its holder died with it."""
    if lease.holder == journal.identity:
        if not _is_ours(journal, run_id, lease.epoch):
            return False
        raise LeaseHeld(f"run {run_id} is driven by this process already")
    if lease.holder.is_alive() is False:
        return True
    if not take_over:
        raise LeaseHeld(f"run {run_id} is driven by {lease.holder}")
    deadline, pause = time.monotonic() + ttl.total_seconds(), StopToken()
    while time.monotonic() < deadline:
        pause.wait(min(timedelta(seconds=0.2), ttl))
        now = _lease(journal, run_id)
        if now is None or not now.held:
            return False
        if lease.holder.is_alive() is False:
            return True
        if now.epoch != lease.epoch or now.beat != lease.beat:
            raise LeaseHeld(f"run {run_id} is driven by {now.holder}, which is alive")
    if lease.holder.is_alive() and not lease.holder.kill(ttl):
        raise LeaseHeld(f"{lease.holder} does not answer and could not be ended")
    return True


def _move(cursor: sqlite3.Cursor, before: RunRecord, run: RunRecord, *, data: str | None) -> None:
    """Move the projection from ``before`` to ``run``; raises what forbids it."""
    at, digest, fence = run.updated_at, run.head_hash, (before.run_id, before.head_seq, run.epoch)
    if data is None:
        cursor.execute(_MOVE_HEAD, (run.head_seq, digest, at, *fence))
    else:
        cursor.execute(_MOVE_STATE, (run.head_seq, digest, at, run.state, data, *fence))
    if cursor.rowcount != 1:
        raise _refusal(cursor, before)
    if (
        run.status != before.status
        or run.stop_reason != before.stop_reason
        or run.epoch != before.epoch
        or run.version != before.version
    ):
        cursor.execute(_MOVE_STATUS, (run.status, run.stop_reason, run.epoch, run.version, run.finished_at, run.run_id))


def _post(cursor: sqlite3.Cursor, item: OutboxItem, run: RunRecord, at: int) -> None:
    cursor.execute(
        "INSERT INTO outbox (item_id, run_id, sink, call, payload, epoch, at, attempts) VALUES (?,?,?,?,?,?,?,0) "
        "ON CONFLICT (item_id) DO NOTHING",
        (item.item_id, run.run_id, item.sink, item.call, canonical(dict(item.payload)), run.epoch, at),
    )


def _refusal(cursor: sqlite3.Cursor, head: RunRecord) -> BaseException:
    """Why the head did not move."""
    version = cursor.execute("SELECT version_num FROM alembic_version").fetchone()
    if version is None or version[0] != JOURNAL.head:
        return JournalTooNew(
            f"the journal is at revision {version and version[0]} now; this release writes {JOURNAL.head}"
        )
    lease = cursor.execute("SELECT epoch, held FROM leases WHERE run_id = ?", (head.run_id,)).fetchone()
    if lease is None or lease[0] != head.epoch or not lease[1]:
        return Superseded(f"run {head.run_id}: epoch {head.epoch} is over")
    moved = cursor.execute(
        "SELECT head_seq FROM runs WHERE run_id = ? AND head_seq > ?", (head.run_id, head.head_seq)
    ).fetchone()
    if moved is not None:
        return JournalUnavailable(
            f"run {head.run_id}: a commit that was reported as failed did take place (its head is entry {moved[0]}): "
            "resume it"
        )
    return JournalDamaged(f"run {head.run_id}: its head is not entry {head.head_seq} any more")
