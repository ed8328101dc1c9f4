"""The progress of a task: its states, which may follow which, and what a finished task makes possible."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from sqlalchemy import Connection, select, update
from sqlalchemy.dialects.sqlite import insert

from necrocode.embedded.schema import task_dependencies, task_events, tasks
from necrocode.engine.canonical import canonical
from necrocode.engine.errors import EnvironmentFault

TaskState: TypeAlias = Literal["ready", "running", "blocked", "done", "failed"]
STATES: tuple[TaskState, ...] = get_args(TaskState)

FOLLOWS: dict[str, frozenset[str]] = {
    "blocked": frozenset(),
    "ready": frozenset({"running", "failed"}),
    "running": frozenset({"done", "failed", "ready"}),
    "failed": frozenset({"ready", "running"}),
    "done": frozenset({"ready", "running"}),
}
"""What somebody may make of a task in each state. Between ``blocked`` and ``ready`` it goes by its dependencies alone.

A run that could not begin makes a ready task ``failed``; ``done`` and ``failed`` ones can be asked for again.
"""


class IllegalTransition(EnvironmentFault):
    """A task of a task set cannot go from its state to that one."""

    stop_reason = "illegal_transition"


def check_transition(connection: Connection, spec_name: str, task_id: str, old: str, new: str) -> None:
    """Raises :class:`IllegalTransition`, naming what the task waits for or what may follow."""
    if old == new or new in FOLLOWS.get(old, STATES):
        return
    if old == "blocked":
        names = ", ".join(repr(name) for name in unfinished(connection, spec_name, task_id))
        raise IllegalTransition(f"task {task_id!r} is blocked until {names} is done: it cannot become {new}")
    may = " or ".join(sorted(FOLLOWS.get(old, STATES)))
    raise IllegalTransition(f"task {task_id!r} is {old} and cannot become {new}: only {may}")


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

    Those that are neither stay as they are. Each change is an event. ``when``: microseconds.
    """
    changed = []
    for task_id in task_ids:
        row = connection.execute(
            select(tasks.c.status, tasks.c.version).where(tasks.c.spec_name == spec_name, tasks.c.task_id == task_id)
        ).one()
        state = "blocked" if unfinished(connection, spec_name, task_id) else "ready"
        if row.status not in ("ready", "blocked") or row.status == state:
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
                event_type="TaskReady" if state == "ready" else "TaskBlocked",
                data=canonical({}),
                epoch=0,
                at=when,
            )
        )
        changed.append(task_id)
    return changed
