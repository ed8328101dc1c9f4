"""The pool's two tables as records and conditional updates: which slot is whose, and whose it was."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from necrocode.embedded.schema import loans, slots
from necrocode.pool.holder import refuse_older

Status: TypeAlias = Literal["free", "dirty", "preparing", "lent", "removing"]

HELD: tuple[Status, ...] = ("preparing", "lent")


@dataclass(frozen=True, slots=True)
class Slot:
    """One slot of the pool."""

    slot_id: str
    repo_key: str
    repo_url: str
    path: Path
    status: Status
    generation: int
    run_id: str | None
    loan_key: str | None
    #: The holder as it stands in the table.
    holder_json: str | None
    former_run: str | None
    created_at: datetime
    updated_at: datetime

    @property
    def number(self) -> int:
        """Of the slots of its repository."""
        return int(self.slot_id.rpartition("-")[2])


@dataclass(frozen=True, slots=True)
class Loan:
    """One time that a slot was lent."""

    slot_id: str
    generation: int
    loan_key: str
    run_id: str
    lent_at: datetime
    renewed_at: datetime
    ended_at: datetime | None
    ended_by: Literal["released", "reclaimed"] | None


def all_slots(connection: Connection, repo_key: str | None = None) -> list[Slot]:
    """Every slot, or every one of a repository, by number."""
    query = select(slots)
    if repo_key is not None:
        query = query.where(slots.c.repo_key == repo_key)
    found = [_slot(row) for row in connection.execute(query)]
    return sorted(found, key=lambda slot: (slot.repo_key, slot.number))


def slot_of_key(connection: Connection, loan_key: str) -> Slot | None:
    """The slot that is lent under this key."""
    row = connection.execute(select(slots).where(slots.c.loan_key == loan_key)).one_or_none()
    return None if row is None else _slot(row)


def slot_of_id(connection: Connection, slot_id: str) -> Slot | None:
    """The slot of this name."""
    row = connection.execute(select(slots).where(slots.c.slot_id == slot_id)).one_or_none()
    return None if row is None else _slot(row)


def loans_of(connection: Connection, slot_id: str) -> list[Loan]:
    """Every loan of a slot, the first one first."""
    query = select(loans).where(loans.c.slot_id == slot_id).order_by(loans.c.generation)
    return [_loan(row) for row in connection.execute(query)]


def slot_released_with(connection: Connection, release_key: str) -> str | None:
    """The id of the slot that was given back under this key."""
    query = select(loans.c.slot_id).where(loans.c.release_key == release_key)
    return connection.execute(query.limit(1)).scalar_one_or_none()


def last_generation(connection: Connection, slot_id: str) -> int:
    """The highest generation the slot's name ever had: one made anew goes on counting."""
    found = connection.execute(select(func.max(loans.c.generation)).where(loans.c.slot_id == slot_id)).scalar_one()
    return int(found or 0)


def add_slot(connection: Connection, slot_id: str, *, repo_key: str, repo_url: str, path: Path) -> Slot:
    """A slot that is not there yet; to be prepared."""
    now = _now()
    connection.execute(
        insert(slots).values(
            slot_id=slot_id,
            repo_key=repo_key,
            repo_url=repo_url,
            path=str(path),
            status="dirty",
            generation=last_generation(connection, slot_id),
            created_at=now,
            updated_at=now,
        )
    )
    made = slot_of_id(connection, slot_id)
    assert made is not None
    return made


def lend(connection: Connection, slot: Slot, *, run_id: str, key: str, holder: str) -> Slot | None:
    """Lend a slot as it was just seen, to be prepared; ``None`` if it is not so any more.

    If somebody holds it, that loan ends by it, and the slot remembers whose commands may still run there.
    """
    now = _now()
    taken_from = slot.run_id if slot.status in HELD else slot.former_run
    changed = connection.execute(
        update(slots)
        .where(*_as_seen(slot))
        .values(
            status="preparing",
            generation=slot.generation + 1,
            run_id=run_id,
            loan_key=key,
            holder=holder,
            former_run=taken_from,
            updated_at=now,
        )
    )
    if changed.rowcount != 1:
        return None
    if slot.status in HELD:
        _end(connection, slot.slot_id, slot.generation, "reclaimed")
    connection.execute(
        insert(loans).values(
            slot_id=slot.slot_id,
            generation=slot.generation + 1,
            loan_key=key,
            run_id=run_id,
            lent_at=now,
            renewed_at=now,
        )
    )
    return slot_of_id(connection, slot.slot_id)


def adopt(connection: Connection, slot_id: str, generation: int | None, run_id: str, *, holder: str) -> bool:
    """``holder`` has the loan from now on; False if the run has it no more.

    Within a transaction that writes. Raises :class:`EnvironmentFault` ``superseded`` if it is held in a later epoch.
    """
    now, held = _now(), slot_of_id(connection, slot_id)
    if held is None or held.status not in HELD or (held.generation, held.run_id) != (generation, run_id):
        return False
    refuse_older(json.loads(holder).get("epoch"), json.loads(held.holder_json or "{}"), slot_id)
    connection.execute(update(slots).where(*_as_seen(held)).values(holder=holder, updated_at=now))
    connection.execute(
        update(loans).where(loans.c.slot_id == slot_id, loans.c.generation == generation).values(renewed_at=now)
    )
    return True


def prepared(connection: Connection, slot: Slot) -> bool:
    """The slot is clean and the run may have it; False if it was taken away meanwhile."""
    changed = connection.execute(
        update(slots).where(*_as_seen(slot)).values(status="lent", former_run=None, updated_at=_now())
    )
    return changed.rowcount == 1


def end(
    connection: Connection,
    slot: Slot,
    *,
    status: Status,
    by: Literal["released", "reclaimed"],
    key: str | None = None,
) -> bool:
    """End the loan of a slot as it was just seen; False if it is not so any more. ``key``: the release's."""
    changed = connection.execute(
        update(slots)
        .where(*_as_seen(slot))
        .values(
            status=status,
            run_id=None,
            loan_key=None,
            holder=None,
            former_run=slot.run_id if by == "reclaimed" else None,
            updated_at=_now(),
        )
    )
    if changed.rowcount != 1:
        return False
    _end(connection, slot.slot_id, slot.generation, by, key)
    return True


def mark_removing(connection: Connection, slot: Slot, *, holder: str) -> bool:
    """Nobody may borrow the slot from now on: it is being removed."""
    changed = connection.execute(
        update(slots).where(*_as_seen(slot)).values(status="removing", holder=holder, updated_at=_now())
    )
    return changed.rowcount == 1


def remove(connection: Connection, slot_id: str, generation: int) -> None:
    """Forget a slot that is being removed; its loans stay."""
    connection.execute(
        delete(slots).where(slots.c.slot_id == slot_id, slots.c.generation == generation, slots.c.status == "removing")
    )


def _as_seen(slot: Slot) -> tuple[Any, ...]:
    return (
        slots.c.slot_id == slot.slot_id,
        slots.c.generation == slot.generation,
        slots.c.status == slot.status,
        slots.c.holder.is_(None) if slot.holder_json is None else slots.c.holder == slot.holder_json,
    )


def _end(connection: Connection, slot_id: str, generation: int, by: str, key: str | None = None) -> None:
    connection.execute(
        update(loans)
        .where(loans.c.slot_id == slot_id, loans.c.generation == generation, loans.c.ended_at.is_(None))
        .values(ended_at=_now(), ended_by=by, release_key=key)
    )


def _slot(row: Row[Any]) -> Slot:
    return Slot(
        slot_id=row.slot_id,
        repo_key=row.repo_key,
        repo_url=row.repo_url,
        path=Path(row.path),
        status=row.status,
        generation=row.generation,
        run_id=row.run_id,
        loan_key=row.loan_key,
        holder_json=row.holder,
        former_run=row.former_run,
        created_at=_time(row.created_at),
        updated_at=_time(row.updated_at),
    )


def _loan(row: Row[Any]) -> Loan:
    return Loan(
        slot_id=row.slot_id,
        generation=row.generation,
        loan_key=row.loan_key,
        run_id=row.run_id,
        lent_at=_time(row.lent_at),
        renewed_at=_time(row.renewed_at),
        ended_at=None if row.ended_at is None else _time(row.ended_at),
        ended_by=row.ended_by,
    )


def _now() -> int:
    return int(datetime.now(UTC).timestamp() * 1_000_000)


def _time(microseconds: int) -> datetime:
    return datetime.fromtimestamp(microseconds / 1_000_000, UTC)
