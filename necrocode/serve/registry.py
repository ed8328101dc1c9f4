"""The task registry over HTTP: reports of runs, tasks, events."""

from __future__ import annotations

import base64
import json
from dataclasses import astuple
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from necrocode.engine.database import Database
from necrocode.errors import NotFound
from necrocode.registry.embedded import EmbeddedRegistry
from necrocode.registry.listing import TaskPlace, list_events, list_tasks
from necrocode.registry.records import TaskEvent, TaskRecord
from necrocode.registry.tasksets import TaskState
from necrocode.serve.answers import refusals
from necrocode.serve.fields import (
    Epoch,
    IdempotencyKey,
    IfMatch,
    JsonObject,
    Limit,
    NoBool,
    PathName,
    Seconds,
    SinceSeconds,
    Text,
    epoch_of,
    instant,
    key_or_new,
    version_of,
)
from necrocode.states.ports import Artifact

DEFAULT_SPEC = "default"
"""The set of a task that nobody has named one for."""


class StatusReport(BaseModel):
    """What becomes of a task. ``metadata`` may name ``spec_name`` and ``run_id``."""

    status: TaskState
    metadata: JsonObject = {}
    updated_at: Seconds | None = None


class EventReport(BaseModel):
    """Something that happened. ``data`` may name ``spec_name`` and ``run_id``."""

    event_type: Text
    data: JsonObject = {}
    timestamp: Seconds | None = None


class ArtifactReport(BaseModel):
    """A file that was kept. ``metadata`` may name ``spec_name``, ``run_id`` and ``sha256``."""

    type: Text
    uri: Annotated[str, Field(min_length=1, max_length=10_000)]
    size_bytes: Annotated[int, Field(ge=0, le=2**53), NoBool]
    metadata: JsonObject = {}
    created_at: Seconds | None = None


class TaskAnswer(BaseModel):
    """A task."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)

    task_id: str
    spec_name: str
    status: str
    #: Of the last status report.
    metadata: dict[str, Any]
    updated_at: float
    version: int
    #: As its task set describes it; null for a task that is in no set.
    definition: dict[str, Any] | None


class TaskPage(BaseModel):
    """Some tasks, by set and place in it."""

    tasks: list[TaskAnswer]
    #: Ask again with ``after`` set to this; null: that was all.
    next: str | None


class EventAnswer(BaseModel):
    """One event."""

    number: int
    task_id: str
    spec_name: str
    event_type: str
    data: dict[str, Any]
    timestamp: float


class EventPage(BaseModel):
    """Some events, in the order in which they came."""

    events: list[EventAnswer]
    #: Ask again with ``after`` set to this; null: that was all.
    next: int | None


class ArtifactList(BaseModel):
    """A task's artifacts, in the order in which they were reported."""

    artifacts: list[ArtifactReport]


def registry_routes(database: Database, registry: EmbeddedRegistry) -> APIRouter:
    """The calls, over ``registry``."""
    routes = APIRouter(tags=["task registry"])

    def spec_of(task_id: str, about: dict[str, Any]) -> str:
        """Taken out of ``about``; else that of the task of this id which changed last."""
        spec_name = about.pop("spec_name", None)
        if isinstance(spec_name, str) and spec_name:
            return spec_name
        try:
            return registry.get_task(task_id).spec_name or DEFAULT_SPEC
        except NotFound:
            return DEFAULT_SPEC

    @routes.put("/tasks/{task_id}/status", status_code=204, responses=refusals(400, 409, 413))
    def set_status(
        task_id: PathName,
        report: StatusReport,
        key: IdempotencyKey = None,
        epoch: Epoch = None,
        if_match: IfMatch = None,
    ) -> None:
        """Give a task a status; a task that is not known is made."""
        about = dict(report.metadata)
        registry.set_status(
            task_id,
            spec_of(task_id, about),
            report.status,
            metadata=about,
            at=_at(report.updated_at),
            key=key_or_new(key),
            epoch=epoch_of(epoch),
            expected=version_of(if_match),
        )

    @routes.post("/tasks/{task_id}/events", status_code=204, responses=refusals(400, 409, 413))
    def add_event(task_id: PathName, report: EventReport, key: IdempotencyKey = None, epoch: Epoch = None) -> None:
        """Report an event."""
        about = dict(report.data)
        registry.add_event(
            task_id,
            spec_of(task_id, about),
            report.event_type,
            data=about,
            at=_at(report.timestamp),
            key=key_or_new(key),
            epoch=epoch_of(epoch),
        )

    @routes.post("/tasks/{task_id}/artifacts", status_code=204, responses=refusals(400, 409, 413))
    def add_artifact(
        task_id: PathName, report: ArtifactReport, key: IdempotencyKey = None, epoch: Epoch = None
    ) -> None:
        """Report an artifact."""
        about = dict(report.metadata)
        spec_name, sha256 = spec_of(task_id, about), about.pop("sha256", None)
        artifact = Artifact(
            type=report.type,
            uri=report.uri,
            size_bytes=report.size_bytes,
            sha256=sha256 if isinstance(sha256, str) else "",
            created_at=_at(report.created_at),
            metadata=about,
        )
        registry.add_artifact(task_id, spec_name, artifact, key=key_or_new(key), epoch=epoch_of(epoch))

    @routes.get("/tasks", responses=refusals(404))
    def tasks(
        spec_name: str | None = None,
        status: TaskState | None = None,
        after: str | None = None,
        limit: Limit = 100,
    ) -> TaskPage:
        """Tasks by set and place in it: of a set, in a state."""
        place = None if after is None else _place(after)
        found = list_tasks(database, spec_name=spec_name, status=status, after=place, limit=limit)
        more = _cursor(found[-1][0]) if len(found) == limit else None
        return TaskPage(tasks=[_task(record) for _, record in found], next=more)

    @routes.get("/tasks/{task_id}", responses=refusals(404))
    def get_task(task_id: PathName, response: Response, spec_name: str | None = None) -> TaskAnswer:
        """The task; without ``spec_name``, the one of that id which changed last."""
        task = _task(registry.get_task(task_id, spec_name))
        response.headers["ETag"] = f'"{task.version}"'
        return task

    @routes.get("/tasks/{task_id}/events", responses=refusals(404))
    def events_of_task(
        task_id: PathName,
        spec_name: str | None = None,
        event_type: str | None = None,
        since: SinceSeconds = None,
        until: SinceSeconds = None,
        after: Annotated[int, Query(ge=0, le=2**53)] = 0,
        limit: Limit = 100,
    ) -> EventPage:
        """A task's history."""
        return _events(database, spec_name, task_id, event_type, since, until, after, limit)

    @routes.get("/events", responses=refusals())
    def events(
        spec_name: str | None = None,
        event_type: str | None = None,
        since: SinceSeconds = None,
        until: SinceSeconds = None,
        after: Annotated[int, Query(ge=0, le=2**53)] = 0,
        limit: Limit = 100,
    ) -> EventPage:
        """The history of all tasks: from ``since`` to before ``until``, behind the event number ``after``."""
        return _events(database, spec_name, None, event_type, since, until, after, limit)

    @routes.get("/tasks/{task_id}/artifacts", responses=refusals(404))
    def artifacts_of_task(task_id: PathName, spec_name: str | None = None) -> ArtifactList:
        """What was reported as kept of a task."""
        task = registry.get_task(task_id, spec_name)
        found = registry.list_artifacts(task_id, task.spec_name or "")
        return ArtifactList(
            artifacts=[
                ArtifactReport(
                    type=one.type,
                    uri=one.uri,
                    size_bytes=one.size_bytes,
                    metadata={**one.metadata, "sha256": one.sha256},
                    created_at=one.created_at.timestamp(),
                )
                for one in found
            ]
        )

    return routes


def _at(seconds: float | None) -> datetime:
    return datetime.now(UTC) if seconds is None else instant(seconds)


def _task(record: TaskRecord) -> TaskAnswer:
    assert record.spec_name is not None and record.updated_at is not None and record.version is not None
    return TaskAnswer(
        task_id=record.task_id,
        spec_name=record.spec_name,
        status=record.status,
        metadata=dict(record.metadata),
        updated_at=record.updated_at.timestamp(),
        version=record.version,
        definition=None if record.definition is None else dict(record.definition),
    )


def _events(
    database: Database,
    spec_name: str | None,
    task_id: str | None,
    event_type: str | None,
    since: float | None,
    until: float | None,
    after: int,
    limit: int,
) -> EventPage:
    found = list_events(
        database,
        spec_name=spec_name,
        task_id=task_id,
        event_type=event_type,
        since=None if since is None else instant(since),
        until=None if until is None else instant(until),
        after=after,
        limit=limit,
    )
    return EventPage(events=[_event(event) for event in found], next=found[-1].number if len(found) == limit else None)


def _event(event: TaskEvent) -> EventAnswer:
    return EventAnswer(
        number=event.number,
        task_id=event.task_id,
        spec_name=event.spec_name,
        event_type=event.event_type,
        data=dict(event.data),
        timestamp=event.at.timestamp(),
    )


def _cursor(place: TaskPlace) -> str:
    return base64.urlsafe_b64encode(json.dumps(astuple(place)).encode()).decode().rstrip("=")


def _place(cursor: str) -> TaskPlace:
    """Raises :class:`NotFound` for what :func:`_cursor` did not give."""
    try:
        spec_name, position, task_id = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        place = TaskPlace(spec_name, position, task_id)
    except (ValueError, TypeError, RecursionError):
        place = None
    if place is None or _cursor(place) != cursor:
        raise NotFound("there is no such page: 'after' must be the 'next' of the page before")
    return place
