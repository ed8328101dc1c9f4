"""Leases as a journal of any revision holds them: who drives a run, and whether he gives a sign of life."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Container
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection

from necrocode.engine.database import explained
from necrocode.engine.errors import JournalDamaged, JournalUnavailable
from necrocode.engine.identity import ProcessIdentity
from necrocode.engine.schema import JOURNAL

_HELD = "SELECT run_id, epoch, beat, holder FROM leases WHERE held = 1"


class Sign(NamedTuple):
    """The last sign of life that the holder of a lease gave."""

    run_id: str
    epoch: int
    beat: int


def holder_of(text: str) -> ProcessIdentity:
    """Whom a lease names. Raises :class:`JournalDamaged` if it names nobody."""
    try:
        return ProcessIdentity.from_json(json.loads(text))
    except (ValueError, KeyError, TypeError) as error:
        raise JournalDamaged(f"a lease names no process: {text[:200]!r}") from error


def refuse_while_driven(connection: Connection, silent: Container[Sign] = ()) -> None:
    """Raise :class:`JournalUnavailable` while a run is driven: its driver knows the old schema only.

    A holder that cannot be seen from here may be passed over if its last sign is among ``silent``: should it live
    after all, its next append is refused, since the schema moved on.
    """
    for *sign, holder in connection.exec_driver_sql(_HELD).fetchall():
        identity = holder_of(holder)
        alive = identity.is_alive()
        if alive is False or (alive is None and Sign(*sign) in silent):
            continue
        way_out = "let it end, then try again"
        if alive is None:
            way_out += " (if it is gone with its machine or container: necrocode db upgrade --take-over)"
        raise JournalUnavailable(f"the journal needs a migration, but {identity} is driving a run: {way_out}")


def silent_holders(path: Path, watched: timedelta) -> frozenset[Sign]:
    """The last signs of those who hold a lease in the journal at ``path``, cannot be seen from here, and gave none
    while they were watched. Returns at once where nobody has to be, or where no migration is due.

    Raises what opening the journal would.
    """
    if not path.exists():
        return frozenset()
    with explained(path), closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        if not {("leases",), ("alembic_version",)} <= set(tables):
            # None of ours, or nothing in it yet: who opens it says so.
            return frozenset()
        if connection.execute("SELECT version_num FROM alembic_version").fetchone() == (JOURNAL.head,):
            return frozenset()
        before = _unseen(connection)
        if before:
            time.sleep(watched.total_seconds())
        return before & _unseen(connection)


def _unseen(connection: sqlite3.Connection) -> frozenset[Sign]:
    held = connection.execute(_HELD).fetchall()
    return frozenset(Sign(*sign) for *sign, holder in held if holder_of(holder).is_alive() is None)
