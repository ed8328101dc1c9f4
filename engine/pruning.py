"""Pruning: old runs leave the journal, and a tombstone stands where each was."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from necrocode.engine.clock import EpochClock
from necrocode.engine.errors import RunError
from necrocode.engine.journal import Journal, append_link, tombstone_hash


def prune(journal: Journal, run_ids: Sequence[str], *, by: str) -> int:
    """Remove the entries of ended runs for good, each leaving a tombstone signed off ``by``; returns how many went.

    Raises :class:`RunError` for a run that has not ended or whose outbox still holds something; nothing is removed
    then.
    """
    at = EpochClock().microseconds()

    def operation(cursor: sqlite3.Cursor) -> int:
        for run_id in run_ids:
            row = cursor.execute("SELECT status, head_seq, head_hash FROM runs WHERE run_id = ?", (run_id,)).fetchone()
            if row is None or row[0] != "closed":
                raise RunError(f"run {run_id} has not ended: only ended runs are pruned")
            if cursor.execute("SELECT 1 FROM outbox WHERE run_id = ? AND delivered_at IS NULL", (run_id,)).fetchone():
                raise RunError(f"run {run_id} has reports to deliver still: see 'necrocode doctor'")
            tombstone = (run_id, row[1], row[2], at, by)
            cursor.execute(
                "INSERT INTO tombstones (run_id, head_seq, head_hash, pruned_at, pruned_by) VALUES (?, ?, ?, ?, ?)",
                tombstone,
            )
            append_link(cursor, run_id, "pruned", row[1], tombstone_hash(*tombstone))
            for table in ("entries", "blobs", "runs", "leases", "requests", "outbox"):
                cursor.execute(f"DELETE FROM {table} WHERE run_id = ?", (run_id,))
        return len(run_ids)

    return journal.writer.submit(operation)


def pruned(journal: Journal) -> set[str]:
    """The ids of the runs that tombstones stand for."""
    with journal.database.read() as connection:
        return {row[0] for row in connection.exec_driver_sql("SELECT run_id FROM tombstones").fetchall()}
