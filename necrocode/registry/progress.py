"""The progress of the embedded registry's tasks: what each waits for, and what a finished one makes possible."""

from __future__ import annotations

import json

from sqlalchemy import Connection, select, update
from sqlalchemy.dialects.sqlite import insert

from necrocode.embedded.schema import task_dependencies, task_events, tasks
from necrocode.engine.canonical import canonical
from necrocode.registry.tasksets import state_by_dependencies


def unfinished(connection: Connection, spec_name: str, task_id: str) -> list[str]:
    """The dependencies of a task that are not done, sorted."""
    wanted = select(task_dependencies.c.depends_on).where(
        task_dependencies.c.spec_name == spec_name, task_dependencies.c.task_id == task_id
    )
    done = select(tasks.c.task_id).where(tasks.c.spec_name == spec_name, tasks.c.status == "done")
    return sorted(set(connection.execute(wanted).scalars()) - set(connection.execute(done).scalars()))


def dependents(connection: Connection, spec_name: str, task_id: str) -> list[str]:
    """The tasks that name this one as a dependency."""
    query = select(task_dependencies.c.task_id).where(
        task_dependencies.c.spec_name == spec_name, task_dependencies.c.depends_on == task_id
    )
    return list(connection.execute(query).scalars())


def settle(connection: Connection, spec_name: str, task_ids: list[str], when: int) -> list[str]:
    """Make each of these tasks ``ready`` or ``blocked``, as its dependencies are; returns those that changed.

    A group whose dependencies are all done becomes ``done``, which may free others in turn. Those in another state stay
    as they are. Each change is an event. ``when``: microseconds.
    """
    changed, to_look_at = [], [*task_ids]
    while to_look_at:
        task_id = to_look_at.pop()
        row = connection.execute(
            select(tasks.c.status, tasks.c.version, tasks.c.definition).where(
                tasks.c.spec_name == spec_name, tasks.c.task_id == task_id
            )
        ).one()
        is_group = row.definition is not None and json.loads(row.definition).get("is_group", False)
        free = not unfinished(connection, spec_name, task_id)
        state = state_by_dependencies(row.status, free=free, is_group=is_group)
        if row.status == state:
            continue
        connection.execute(
            update(tasks)
            .where(tasks.c.spec_name == spec_name, tasks.c.task_id == task_id)
            .values(status=state, version=row.version + 1, updated_at=when)
        )
        connection.execute(
            insert(task_events).values(
                idempotency_key=f"registry/{spec_name}/{task_id}/{row.version + 1}",
                spec_name=spec_name,
                task_id=task_id,
                event_type=f"Task{state.capitalize()}",
                data=canonical({}),
                epoch=0,
                at=when,
            )
        )
        changed.append(task_id)
        if state == "done":
            to_look_at += dependents(connection, spec_name, task_id)
    return changed
