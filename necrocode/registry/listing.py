"""Lists of what the embedded registry holds: tasks and events, chosen and in pages."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, select, tuple_

from necrocode.embedded.instants import from_microseconds, to_microseconds
from necrocode.embedded.schema import task_events, tasks
from necrocode.engine.database import Database
from necrocode.registry.records import TaskEvent, TaskRecord


@dataclass(frozen=True, slots=True)
class TaskPlace:
    """Where a page of tasks ended: the next one begins behind it."""

    spec_name: str
    position: int
    task_id: str


def list_tasks(
    database: Database,
    *,
    spec_name: str | None = None,
    status: str | None = None,
    after: TaskPlace | None = None,
    limit: int = 100,
) -> list[tuple[TaskPlace, TaskRecord]]:
    """Tasks by set and place in it (those in no set first): of a set, in a state, from behind ``after`` on."""
    place = (tasks.c.spec_name, tasks.c.position, tasks.c.task_id)
    query = select(tasks).order_by(*place).limit(limit)
    if spec_name is not None:
        query = query.where(tasks.c.spec_name == spec_name)
    if status is not None:
        query = query.where(tasks.c.status == status)
    if after is not None:
        query = query.where(tuple_(*place) > (after.spec_name, after.position, after.task_id))
    with database.read() as connection:
        rows = connection.execute(query).all()
    return [(TaskPlace(row.spec_name, row.position, row.task_id), task_of(row)) for row in rows]


def list_events(
    database: Database,
    *,
    spec_name: str | None = None,
    task_id: str | None = None,
    event_type: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    after: int = 0,
    limit: int = 100,
) -> list[TaskEvent]:
    """Events in the order in which they came: of a set, a task, a type, from ``since`` to before ``until``."""
    query = select(task_events).where(task_events.c.id > after).order_by(task_events.c.id).limit(limit)
    for column, wanted in (
        (task_events.c.spec_name, spec_name),
        (task_events.c.task_id, task_id),
        (task_events.c.event_type, event_type),
    ):
        if wanted is not None:
            query = query.where(column == wanted)
    if since is not None:
        query = query.where(task_events.c.at >= to_microseconds(since))
    if until is not None:
        query = query.where(task_events.c.at < to_microseconds(until))
    with database.read() as connection:
        return [event_of(row) for row in connection.execute(query)]


def task_of(row: Row[Any]) -> TaskRecord:
    """The task in a row."""
    return TaskRecord(
        task_id=row.task_id,
        spec_name=row.spec_name,
        status=row.status,
        metadata=json.loads(row.metadata),
        updated_at=from_microseconds(row.updated_at),
        version=row.version,
        definition=None if row.definition is None else json.loads(row.definition),
    )


def event_of(row: Row[Any]) -> TaskEvent:
    """The event in a row."""
    return TaskEvent(
        key=row.idempotency_key,
        event_type=row.event_type,
        data=json.loads(row.data),
        epoch=row.epoch,
        at=from_microseconds(row.at),
        number=row.id,
        task_id=row.task_id,
        spec_name=row.spec_name,
    )
