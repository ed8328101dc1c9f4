"""The task registry of a machine with no servers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Table, select
from sqlalchemy.dialects.sqlite import insert

from necrocode.embedded.instants import from_microseconds, to_microseconds
from necrocode.embedded.schema import task_artifacts, task_events, task_fences, task_statuses, tasks
from necrocode.engine.canonical import canonical
from necrocode.engine.database import Database
from necrocode.engine.errors import EnvironmentFault
from necrocode.errors import KeyReused, NotFound
from necrocode.registry.listing import event_of, task_of
from necrocode.registry.progress import dependents, settle, unfinished
from necrocode.registry.records import OURS, TaskEvent, TaskRecord
from necrocode.registry.tasksets import check_transition, check_version
from necrocode.states.ports import Artifact


class EmbeddedRegistry:
    """Implements the port :class:`necrocode.states.ports.TaskRegistry` on the services' database.

    Epochs count per run: ``metadata["run_id"]`` (``data["run_id"]`` of an event) says which run a write comes from, and
    writes that say none are taken as one run's. A status that comes late (out of an outbox) is kept in the history and
    does not become the task's again: ``running`` after the same run's end, or any of an earlier run.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def set_status(
        self,
        task_id: str,
        spec_name: str,
        status: str,
        *,
        metadata: Mapping[str, Any],
        at: datetime,
        key: str,
        epoch: int | None,
        expected: int | None = None,
    ) -> None:
        """Give the task a status; the task is made if it is new. Raises :class:`EnvironmentFault` for an old epoch.

        A task of a task set goes only where :data:`necrocode.registry.tasksets.FOLLOWS` says, else
        :class:`~necrocode.registry.tasksets.IllegalTransition` is raised, unless a run says how it ended; when it
        becomes done, those that only it blocked become ready.
        ``expected``: the version of the task that is changed, else :class:`VersionConflict`. What ``metadata`` has
        under :data:`~necrocode.registry.records.OURS` (who took it) stays as long as the task runs.
        """
        run_id, when = _run_id(metadata), to_microseconds(at)
        row = {
            "spec_name": spec_name,
            "task_id": task_id,
            "status": status,
            "metadata": canonical(dict(metadata)),
            "run_id": run_id,
            "epoch": epoch or 0,
        }
        with self._database.write() as connection:
            if _seen(connection, task_statuses, key, row):
                return
            _fence(connection, spec_name, task_id, run_id, epoch)
            connection.execute(insert(task_statuses).values(idempotency_key=key, at=when, **row))
            now = connection.execute(
                select(tasks).where(tasks.c.spec_name == spec_name, tasks.c.task_id == task_id)
            ).one_or_none()
            check_version(f"task {task_id!r}", expected, 0 if now is None else now.version)
            if now is not None and _is_late(now, run_id, status, when):
                return
            a_fact = run_id and status in ("done", "failed")
            if now is not None and now.definition is not None and not a_fact:
                check_transition(task_id, now.status, status, unfinished(connection, spec_name, task_id))
            kept = {**row, "metadata": canonical(_claimed(metadata, now, status))}
            new = insert(tasks).values(created_at=when, updated_at=when, **kept)
            changed = {name: new.excluded[name] for name in ("status", "metadata", "run_id", "epoch", "updated_at")}
            counted = {**changed, "version": tasks.c.version + 1}
            connection.execute(new.on_conflict_do_update(index_elements=["spec_name", "task_id"], set_=counted))
            if now is not None and "done" in (now.status, status) and now.status != status:
                settle(connection, spec_name, dependents(connection, spec_name, task_id), when)

    def add_event(
        self,
        task_id: str,
        spec_name: str,
        event_type: str,
        *,
        data: Mapping[str, Any],
        at: datetime,
        key: str,
        epoch: int | None,
    ) -> None:
        """Keep one event. Raises :class:`EnvironmentFault` for an old epoch."""
        row = {
            "spec_name": spec_name,
            "task_id": task_id,
            "event_type": event_type,
            "data": canonical(dict(data)),
            "epoch": epoch or 0,
        }
        with self._database.write() as connection:
            if _seen(connection, task_events, key, row):
                return
            _fence(connection, spec_name, task_id, _run_id(data), epoch)
            connection.execute(insert(task_events).values(idempotency_key=key, at=to_microseconds(at), **row))

    def add_artifact(self, task_id: str, spec_name: str, artifact: Artifact, *, key: str, epoch: int | None) -> None:
        """Keep one artifact's description. Raises :class:`EnvironmentFault` for an old epoch."""
        row = {
            "spec_name": spec_name,
            "task_id": task_id,
            "type": artifact.type,
            "uri": artifact.uri,
            "size_bytes": artifact.size_bytes,
            "sha256": artifact.sha256,
            "metadata": canonical(dict(artifact.metadata)),
        }
        with self._database.write() as connection:
            if _seen(connection, task_artifacts, key, row):
                return
            _fence(connection, spec_name, task_id, _run_id(artifact.metadata), epoch)
            when = to_microseconds(artifact.created_at)
            connection.execute(insert(task_artifacts).values(idempotency_key=key, created_at=when, **row))

    def get_task(self, task_id: str, spec_name: str | None = None) -> TaskRecord:
        """The task; without ``spec_name``, the one of that id which changed last. Raises :class:`NotFound`."""
        found = select(tasks).where(tasks.c.task_id == task_id).order_by(tasks.c.updated_at.desc()).limit(1)
        if spec_name is not None:
            found = found.where(tasks.c.spec_name == spec_name)
        with self._database.read() as connection:
            row = connection.execute(found).one_or_none()
        if row is None:
            raise NotFound(f"the registry knows no task {task_id!r}")
        return task_of(row)

    def list_events(self, task_id: str, spec_name: str) -> list[TaskEvent]:
        """The task's events in the order in which they came."""
        with self._database.read() as connection:
            rows = connection.execute(_of(task_events, task_id, spec_name)).all()
        return [event_of(row) for row in rows]

    def list_artifacts(self, task_id: str, spec_name: str) -> list[Artifact]:
        """The task's artifacts in the order in which they came."""
        with self._database.read() as connection:
            rows = connection.execute(_of(task_artifacts, task_id, spec_name)).all()
        return [
            Artifact(
                type=row.type,
                uri=row.uri,
                size_bytes=row.size_bytes,
                sha256=row.sha256,
                created_at=from_microseconds(row.created_at),
                metadata=json.loads(row.metadata),
            )
            for row in rows
        ]

    def health_check(self) -> None:
        """Raises what :class:`Database` raises if the registry cannot be read."""
        self._database.revision()


def _claimed(metadata: Mapping[str, Any], now: Row[Any] | None, status: str) -> dict[str, Any]:
    """``metadata``, with who took the task as long as it runs: the run that reports does not know that."""
    if now is None or not status == now.status == "running":
        return dict(metadata)
    before = json.loads(now.metadata)
    return {**({OURS: before[OURS]} if OURS in before else {}), **metadata}


def _run_id(data: Mapping[str, Any]) -> str:
    run_id = data.get("run_id")
    return run_id if isinstance(run_id, str) else ""


def _is_late(now: Row[Any], run_id: str, status: str, when: int) -> bool:
    if now.status in ("ready", "blocked"):
        return False
    # within a run by its meaning, not by its time: a clock may have been set back between two epochs
    if now.run_id == run_id:
        ended = status == "running" and now.status != "running"
        # who names no run may mean another one
        return bool(ended and (run_id or when <= now.updated_at))
    return bool(when < now.updated_at)


def _of(table: Table, task_id: str, spec_name: str) -> Any:
    return select(table).where(table.c.spec_name == spec_name, table.c.task_id == task_id).order_by(table.c.id)


def _seen(connection: Connection, table: Table, key: str, row: Mapping[str, Any]) -> bool:
    """Whether ``row`` came under this key before. Raises :class:`KeyReused` if it was another one."""
    known = connection.execute(select(table).where(table.c.idempotency_key == key)).mappings().first()
    if known is None:
        return False
    # a process that took over sends the same under its own epoch
    if any(known[name] != value for name, value in row.items() if name != "epoch"):
        raise KeyReused(key)
    return True


def _fence(connection: Connection, spec_name: str, task_id: str, run_id: str, epoch: int | None) -> None:
    """Refuse an epoch older than one seen of this run, and remember a newer one."""
    if epoch is None:
        return
    new = insert(task_fences).values(spec_name=spec_name, task_id=task_id, run_id=run_id, epoch=epoch)
    known = connection.execute(
        new.on_conflict_do_update(
            index_elements=["spec_name", "task_id", "run_id"],
            set_={"epoch": new.excluded.epoch},
            where=new.excluded.epoch >= task_fences.c.epoch,
        )
    ).rowcount
    if not known:
        raise EnvironmentFault(
            f"the registry has seen a newer epoch than {epoch} of task {task_id!r}: another process drives the run now",
            stop_reason="superseded",
        )
