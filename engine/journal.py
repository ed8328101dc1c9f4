"""The journal: runs are created in it, claimed from it and read from it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from necrocode.engine.canonical import canonical, sha256
from necrocode.engine.clock import EpochClock
from necrocode.engine.database import Database, Durability, explained
from necrocode.engine.effects import Json
from necrocode.engine.entry import COLUMNS, Blob, Entry, draft, entry_hash, inflate, moment, unpack
from necrocode.engine.errors import JournalDamaged, RunNotFound, SubjectBusy
from necrocode.engine.identity import ProcessIdentity
from necrocode.engine.ids import new_run_id
from necrocode.engine.leases import Sign, holder_of, refuse_while_driven, silent_holders
from necrocode.engine.lifecycle import Lifecycle
from necrocode.engine.runs import RunRecord, Status, begin
from necrocode.engine.schema import JOURNAL
from necrocode.engine.writer import Writer

RUN_COLUMNS = ", ".join(RunRecord._fields)
INSERT_BLOB = "INSERT INTO blobs (run_id, sha256, codec, size, data) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
INSERT_ENTRY = f"INSERT INTO entries ({COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?)"

PAGE = 500
"""Rows read at a time: a reader that takes its time must not hold a view that the WAL cannot be emptied behind."""


class Journal:
    """An open journal.

    ``mask`` is applied to every text before it is stored, and so before anything uses it: a replay sees what the first
    run saw. ``connections`` is the class of the SQLite connections, and ``identity`` whom its claims name as their
    holder instead of this process: the seams where tests plug in. With ``take_over``, a file that needs a migration
    is migrated although somebody holds a run who cannot be seen from here, if he gives no sign of life for so long.

    Raises what :class:`~necrocode.engine.database.Database` raises.
    """

    def __init__(
        self,
        path: Path,
        *,
        durability: Durability = "power-loss",
        lock_timeout: timedelta = timedelta(seconds=30),
        mask: Callable[[str], str] = lambda text: text,
        connections: type[sqlite3.Connection] = sqlite3.Connection,
        identity: ProcessIdentity | None = None,
        take_over: timedelta | None = None,
    ) -> None:
        self.mask = mask
        self._identity = identity
        silent = frozenset[Sign]() if take_over is None else silent_holders(path, take_over)
        self.database = Database(
            path,
            JOURNAL,
            durability=durability,
            lock_timeout=lock_timeout,
            may_migrate=partial(refuse_while_driven, silent=silent),
            connections=connections,
        )
        self.path = self.database.path
        try:
            with explained(self.path):
                self.writer = Writer(self.database)
        except BaseException:
            self.database.close()
            raise

    @property
    def identity(self) -> ProcessIdentity:
        """Who drives the runs that are claimed through this journal."""
        # Asked for each time: after a fork it is another.
        return self._identity or ProcessIdentity.current()

    def close(self) -> None:
        """Close the file. Claims of this journal can append nothing after that."""
        self.writer.close()
        self.database.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- runs ---

    def create(
        self,
        lifecycle: Lifecycle,
        *,
        subject: str,
        data: Mapping[str, Json],
        settings: Mapping[str, Json] | None = None,
        timeout: timedelta | None = None,
        deadline_at: datetime | None = None,
        run_id: str | None = None,
    ) -> RunRecord:
        """Begin a run in the initial state.

        ``settings`` is the effective configuration, frozen here. ``timeout`` counts active time, ``deadline_at`` is a
        moment. Raises :class:`SubjectBusy` if a live run has the same ``subject``, ``ValueError`` for a ``deadline_at``
        without a time zone and ``TypeError`` for data that JSON cannot hold.
        """
        if deadline_at is not None and deadline_at.tzinfo is None:
            raise ValueError(f"deadline_at has no time zone: {deadline_at}")
        run_id = run_id or new_run_id()
        payload = {
            "lifecycle": lifecycle.name,
            "version": lifecycle.version,
            "subject": subject,
            "data": dict(data),
            "settings": dict(settings or {}),
            "timeout_seconds": timeout.total_seconds() if timeout is not None else None,
            "deadline_at": deadline_at.isoformat() if deadline_at is not None else None,
        }
        made = draft("created", lifecycle.name, payload, self.mask)
        at = EpochClock().microseconds()
        row = (run_id, 1, made.kind, lifecycle.initial, made.name, made.key, 0, at, made.text, "")
        entry = Entry(*row, entry_hash(*row))
        run = begin(entry, made.payload)

        def operation(cursor: sqlite3.Cursor) -> None:
            busy = cursor.execute(
                "SELECT run_id FROM runs WHERE subject = ? AND status != 'closed'", (run.subject,)
            ).fetchone()
            if busy:
                raise SubjectBusy(f"run {busy[0]} works on this already", busy[0])
            _insert_run(cursor, run)
            cursor.execute(INSERT_ENTRY, entry.row)
            insert_blobs(cursor, run_id, made.blobs)
            append_link(cursor, run_id, "created", entry.seq, entry.hash)

        self.writer.submit(operation)
        return run

    def run(self, run_id: str) -> RunRecord:
        """The run as it is now. Raises :class:`RunNotFound`."""
        with self.database.read() as connection:
            row = connection.exec_driver_sql(f"SELECT {RUN_COLUMNS} FROM runs WHERE run_id = ?", (run_id,)).fetchone()
        if row is None:
            raise RunNotFound(f"there is no run {run_id} in {self.path}")
        return record(row)

    def runs(self, *statuses: Status, subject: str | None = None) -> list[RunRecord]:
        """Runs in the order of their ids (that is, of their creation), of the given statuses if any."""
        where, parameters = ["1 = 1"], list[Any]()
        if statuses:
            where.append(f"status IN ({', '.join('?' * len(statuses))})")
            parameters += statuses
        if subject is not None:
            where.append("subject = ?")
            parameters.append(subject)
        with self.database.read() as connection:
            rows = connection.exec_driver_sql(
                f"SELECT {RUN_COLUMNS} FROM runs WHERE {' AND '.join(where)} ORDER BY run_id", tuple(parameters)
            ).fetchall()
        return [record(row) for row in rows]

    def find(self, prefix: str) -> RunRecord:
        """The one run whose id starts (or ends) with ``prefix``. Raises :class:`RunNotFound` if none or several do."""
        for part in ("substr(run_id, 1, ?)", "substr(run_id, -?)"):
            with self.database.read() as connection:
                found = connection.exec_driver_sql(
                    f"SELECT run_id FROM runs WHERE {part} = ? LIMIT 2", (len(prefix), prefix)
                ).fetchall()
            if len(found) == 1:
                return self.run(found[0][0])
            if found:
                raise RunNotFound(f"several runs match {prefix!r}: write more of the id")
        raise RunNotFound(f"there is no run {prefix!r} in {self.path}")

    # --- entries ---

    def entries(self, run_id: str, *, after: int = 0) -> Iterator[Entry]:
        """The run's rows with a ``seq`` above ``after``, in order. Between two rows no view of the file is held."""
        while True:
            rows = self.database.rows(
                f"SELECT {COLUMNS} FROM entries WHERE run_id = ? AND seq > ? ORDER BY seq LIMIT {PAGE}",
                (run_id, after),
            )
            for row in rows:
                yield (entry := Entry.of(row))
            if len(rows) < PAGE:
                return
            after = entry.seq

    def entry(self, run_id: str, seq: int) -> Entry:
        """One row. Raises :class:`JournalDamaged` if it is missing."""
        with self.database.read() as connection:
            row = connection.exec_driver_sql(
                f"SELECT {COLUMNS} FROM entries WHERE run_id = ? AND seq = ?", (run_id, seq)
            ).fetchone()
        if row is None:
            raise JournalDamaged(f"run {run_id}: entry {seq} is missing")
        return Entry.of(row)

    def payload(self, entry: Entry) -> dict[str, Json]:
        """The entry's payload, its blobs put back. Raises :class:`JournalDamaged` if one is missing."""
        return unpack(entry.payload, partial(self.blob, entry.run_id))

    def blob(self, run_id: str, digest: str) -> bytes:
        """The content of a blob. Raises :class:`JournalDamaged` if it is missing or cannot be read."""
        with self.database.read() as connection:
            return read_blob(connection, run_id, digest)

    def outcomes(self, run_id: str, name: str) -> list[Entry]:
        """The outcomes of every effect called ``name``, in order."""
        with self.database.read() as connection:
            rows = connection.exec_driver_sql(
                f"SELECT {COLUMNS} FROM entries WHERE run_id = ? AND kind = 'outcome' AND name = ? ORDER BY seq",
                (run_id, name),
            ).fetchall()
        return [Entry.of(row) for row in rows]

    def settings(self, run_id: str) -> Mapping[str, Json]:
        """The effective configuration that was recorded last. Raises :class:`RunNotFound`."""
        self.run(run_id)
        with self.database.read() as connection:
            row = connection.exec_driver_sql(
                "SELECT seq FROM entries WHERE run_id = ? AND kind = 'warning' AND name = 'settings_changed' "
                "AND key = 'settings' ORDER BY seq DESC LIMIT 1",
                (run_id,),
            ).fetchone()
        settings: Mapping[str, Json] = self.payload(self.entry(run_id, row[0] if row else 1))["settings"]
        return settings

    # --- requests from outside ---

    def request_cancel(self, run_id: str) -> None:
        """Ask whoever drives the run, now or next, to cancel it. Raises :class:`RunNotFound`."""
        self.run(run_id)
        at = EpochClock().microseconds()

        def operation(cursor: sqlite3.Cursor) -> None:
            cursor.execute("INSERT OR IGNORE INTO requests (run_id, kind, at) VALUES (?, 'cancel', ?)", (run_id, at))

        self.writer.submit(operation)

    def cancel_requested(self, run_id: str) -> bool:
        """Whether somebody asked for it."""
        with self.database.read() as connection:
            return bool(
                connection.exec_driver_sql(
                    "SELECT 1 FROM requests WHERE run_id = ? AND kind = 'cancel'", (run_id,)
                ).fetchone()
            )

    def holder(self, run_id: str) -> ProcessIdentity | None:
        """Who drives the run, alive or not; ``None`` if nobody holds its lease."""
        with self.database.read() as connection:
            row = connection.exec_driver_sql(
                "SELECT holder FROM leases WHERE run_id = ? AND held = 1", (run_id,)
            ).fetchone()
        return holder_of(row[0]) if row else None


def read_blob(connection: Connection, run_id: str, digest: str) -> bytes:
    """The content of a blob. Raises :class:`JournalDamaged` if it is missing or cannot be read."""
    row = connection.exec_driver_sql(
        "SELECT codec, size, data FROM blobs WHERE run_id = ? AND sha256 = ?", (run_id, digest)
    ).fetchone()
    if row is None:
        raise JournalDamaged(f"the blob {digest} is missing")
    return inflate(digest, *row)


def record(row: Sequence[Any]) -> RunRecord:
    """The run that a row of ``runs`` tells of, its columns in their order.

    Raises :class:`JournalDamaged` for a row that nobody wrote like that.
    """
    fields = dict(zip(RunRecord._fields, row, strict=True))
    try:
        fields["data"] = json.loads(fields["data"])
        for column in ("created_at", "updated_at", "finished_at"):
            if fields[column] is not None:
                # Looked at here: whoever asks for it later expects no damage.
                moment(fields[column])
    except (ValueError, TypeError, OverflowError) as error:
        raise JournalDamaged(f"run {fields['run_id']}: its row of the projection was changed: {error}") from error
    return RunRecord(**fields)


def row_of(run: RunRecord) -> tuple[Any, ...]:
    """The projection's row of ``run``, in the order of its columns."""
    return (
        run.run_id,
        run.lifecycle,
        run.version,
        run.subject,
        run.state,
        run.status,
        run.stop_reason,
        canonical(run.data),
        run.epoch,
        run.head_seq,
        run.head_hash,
        run.created_at,
        run.updated_at,
        run.finished_at,
    )


def insert_blobs(cursor: sqlite3.Cursor, run_id: str, blobs: list[Blob]) -> None:
    """Store the large parts of a payload, each once."""
    for blob in blobs:
        cursor.execute(INSERT_BLOB, (run_id, blob.sha256, blob.codec, blob.size, blob.data))


def append_link(cursor: sqlite3.Cursor, run_id: str, event: str, seq: int, head_hash: str) -> None:
    """Add a run's head to the chain over all runs."""
    last = cursor.execute("SELECT n, hash FROM chain ORDER BY n DESC LIMIT 1").fetchone()
    n, prev_hash = (last[0] + 1, last[1]) if last else (1, "")
    digest = link_hash(n, run_id, event, seq, head_hash, prev_hash)
    cursor.execute(
        "INSERT INTO chain (n, run_id, event, seq, head_hash, prev_hash, hash) VALUES (?,?,?,?,?,?,?)",
        (n, run_id, event, seq, head_hash, prev_hash, digest),
    )


def tombstone_hash(run_id: str, head_seq: int, head_hash: str, pruned_at: int, pruned_by: str) -> str:
    """SHA-256 of the canonical JSON of a tombstone: what the chain over all runs knows it by."""
    return sha256(
        canonical(
            {
                "head_hash": head_hash,
                "head_seq": head_seq,
                "pruned_at": pruned_at,
                "pruned_by": pruned_by,
                "run_id": run_id,
            }
        ).encode()
    )


def link_hash(n: int, run_id: str, event: str, seq: int, head_hash: str, prev_hash: str) -> str:
    """SHA-256 of the canonical JSON of a link of the chain over all runs."""
    return sha256(
        canonical(
            {"event": event, "head_hash": head_hash, "n": n, "prev_hash": prev_hash, "run_id": run_id, "seq": seq}
        ).encode()
    )


def _insert_run(cursor: sqlite3.Cursor, run: RunRecord) -> None:
    cursor.execute(f"INSERT INTO runs ({RUN_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)", row_of(run))
