"""Task definitions: what a task set says of each task, and whether the set makes sense as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StringConstraints

from necrocode.errors import InvalidInput
from necrocode.registry.tasksets import problems

Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*[^\x00-\x20\x7f]$")]
"""A task's or a set's name: one line that does not end in a space."""


def no_bool(value: object) -> object:
    """Raises ``ValueError`` for a truth value where a number is meant: Python would take it for one."""
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")
    return value


class TaskDefinition(BaseModel):
    """One task of a set. Fields that are not known (``repo_url``, ``test_commands``…) are kept."""

    model_config = ConfigDict(frozen=True, extra="allow")

    id: Name
    title: Annotated[str, Field(max_length=1000)] = ""
    description: str = ""
    #: Tasks of the same set that must be done first.
    dependencies: list[Name] = []
    required_skill: str | None = None
    #: For people and choosers; the order of the set counts otherwise.
    priority: Annotated[int, Field(ge=-1_000_000, le=1_000_000), BeforeValidator(no_bool)] = 0
    is_optional: StrictBool = False
    #: Only holds others together: done by itself once they are.
    is_group: StrictBool = False
    metadata: dict[str, Any] = {}


class InvalidTaskSet(InvalidInput):
    """Names that occur twice, dependencies that are not there or go round in a circle."""


def check_set(spec_name: str, definitions: Sequence[TaskDefinition]) -> None:
    """Raises :class:`InvalidTaskSet` with everything that is wrong; a cycle is named task by task."""
    found = problems(definitions)
    if found:
        raise InvalidTaskSet(f"the task set {spec_name!r}", found)
