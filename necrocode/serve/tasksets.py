"""Task sets over HTTP: kept in versions, changed only from the version that was read."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import AfterValidator, BaseModel, Field

from necrocode.engine.canonical import canonical
from necrocode.registry.definitions import TaskDefinition
from necrocode.registry.embedded_sets import EmbeddedTaskSets
from necrocode.registry.records import TaskSetVersion
from necrocode.serve.answers import refusals
from necrocode.serve.fields import IdempotencyKey, IfMatch, JsonObject, Limit, PathName, version_of


def _storable(definition: TaskDefinition) -> TaskDefinition:
    try:
        canonical(definition.model_dump(mode="json")).encode()
    except (ValueError, RecursionError, TypeError) as error:
        raise ValueError("holds text or numbers that cannot be stored") from error
    return definition


class TaskSetBody(BaseModel):
    """The tasks of a set, in their order."""

    tasks: Annotated[list[Annotated[TaskDefinition, AfterValidator(_storable)]], Field(max_length=10_000)]
    metadata: JsonObject = {}


class TaskSetAnswer(BaseModel):
    """One version of a task set."""

    spec_name: str
    version: int
    tasks: list[dict[str, Any]]
    metadata: dict[str, Any]
    created_at: float
    #: When this version was made.
    updated_at: float


class TaskSetPage(BaseModel):
    """Some sets, by name."""

    tasksets: list[TaskSetAnswer]
    #: Ask again with ``after`` set to this; null: that was all.
    next: str | None


def taskset_routes(sets: EmbeddedTaskSets) -> APIRouter:
    """The calls, over ``sets``."""
    routes = APIRouter(tags=["task sets"])

    @routes.put("/tasksets/{spec_name}", responses=refusals(400, 409, 413))
    def put_set(
        spec_name: PathName, body: TaskSetBody, response: Response, key: IdempotencyKey = None, if_match: IfMatch = None
    ) -> TaskSetAnswer:
        """Make these the set's tasks, as its next version; dependencies that go round in a circle: 409."""
        kept = sets.put(spec_name, body.tasks, body.metadata, expected=version_of(if_match), key=key)
        return _answer(kept, response)

    @routes.get("/tasksets", responses=refusals())
    def list_sets(after: str = "", limit: Limit = 100) -> TaskSetPage:
        """The newest version of each set."""
        found = sets.list_sets(after=after, limit=limit)
        return TaskSetPage(
            tasksets=[_answer(one) for one in found], next=found[-1].spec_name if len(found) == limit else None
        )

    @routes.get("/tasksets/{spec_name}", responses=refusals(404))
    def get_set(
        spec_name: PathName, response: Response, version: Annotated[int | None, Query(ge=1, le=2**53)] = None
    ) -> TaskSetAnswer:
        """A set, at its newest version or at one before."""
        return _answer(sets.get(spec_name, version), response)

    return routes


def _answer(found: TaskSetVersion, response: Response | None = None) -> TaskSetAnswer:
    if response is not None:
        response.headers["ETag"] = f'"{found.version}"'
    return TaskSetAnswer(
        spec_name=found.spec_name,
        version=found.version,
        tasks=[dict(task) for task in found.tasks],
        metadata=dict(found.metadata),
        created_at=found.created_at.timestamp(),
        updated_at=found.updated_at.timestamp(),
    )
