"""The outbox: calls to services that were down, delivered once they are back."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from necrocode.engine.clock import EpochClock
from necrocode.engine.effects import Json
from necrocode.engine.entry import moment
from necrocode.engine.errors import EngineError
from necrocode.engine.journal import Journal

log = logging.getLogger("necrocode.engine")


@dataclass(frozen=True, slots=True)
class Parcel:
    """One call that must still be made."""

    #: The idempotency key: the sink counts the same one once.
    item_id: str
    run_id: str
    #: Which service.
    sink: str
    #: Which of its calls.
    call: str
    payload: Mapping[str, Json]
    #: The run's present one, not that of its making: a sink may have seen a later epoch and refuse older ones.
    epoch: int
    at: datetime
    attempts: int
    last_error: str | None


def waiting(journal: Journal, run_id: str | None = None) -> list[Parcel]:
    """Parcels not delivered yet, oldest first."""
    where, parameters = ("AND run_id = ?", (run_id,)) if run_id else ("", ())
    with journal.database.read() as connection:
        rows = connection.exec_driver_sql(
            "SELECT item_id, run_id, sink, call, payload, "
            "coalesce((SELECT epoch FROM runs WHERE runs.run_id = outbox.run_id), epoch), at, attempts, last_error "
            f"FROM outbox WHERE delivered_at IS NULL {where} ORDER BY at, rowid",
            parameters,
        ).fetchall()
    return [
        Parcel(row[0], row[1], row[2], row[3], json.loads(row[4]), row[5], moment(row[6]), row[7], row[8])
        for row in rows
    ]


def deliver(
    journal: Journal, senders: Mapping[str, Callable[[Parcel], None]], run_id: str | None = None
) -> tuple[int, list[Parcel]]:
    """Try each waiting parcel once with the sender of its sink; returns how many went out, and those that still wait.

    A death between the call and its record sends the parcel again, under the same key. A sink's later parcels of a run
    wait for its earlier ones, so that nothing arrives out of order.
    """
    delivered, stuck = 0, set[tuple[str, str]]()
    for parcel in waiting(journal, run_id):
        line = (parcel.run_id, parcel.sink)
        sender = senders.get(parcel.sink)
        if sender is None or line in stuck:
            stuck.add(line)
            continue
        try:
            sender(parcel)
        except EngineError as error:
            stuck.add(line)
            _record(journal, parcel, error=journal.mask(str(error)))
        except Exception as error:
            # A bug in one sender must not hold up the others' parcels.
            log.exception("%s could not be delivered", parcel.item_id)
            stuck.add(line)
            _record(journal, parcel, error=journal.mask(f"{type(error).__name__}: {error}"))
        else:
            delivered += 1
            _record(journal, parcel, error=None)
    return delivered, waiting(journal, run_id)


def _record(journal: Journal, parcel: Parcel, *, error: str | None) -> None:
    delivered_at = EpochClock().microseconds() if error is None else None

    def operation(cursor: sqlite3.Cursor) -> None:
        cursor.execute(
            "UPDATE outbox SET attempts = attempts + 1, last_error = ?, delivered_at = ? "
            "WHERE item_id = ? AND delivered_at IS NULL",
            (error, delivered_at, parcel.item_id),
        )

    journal.writer.submit(operation)
