"""Task definitions: what a task set says of each task, and whether the set makes sense as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StringConstraints

from necrocode.errors import InvalidInput, Problem

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
    metadata: dict[str, Any] = {}


class InvalidTaskSet(InvalidInput):
    """Names that occur twice, dependencies that are not there or go round in a circle."""


def check_set(spec_name: str, definitions: Sequence[TaskDefinition]) -> None:
    """Raises :class:`InvalidTaskSet` with everything that is wrong; a cycle is named task by task."""
    known = {definition.id for definition in definitions}
    problems = []
    seen: set[str] = set()
    for number, definition in enumerate(definitions):
        if definition.id in seen:
            problems.append(Problem(f"tasks[{number}].id", f"{definition.id!r} is there twice"))
        seen.add(definition.id)
        problems += [
            Problem(f"tasks[{number}].dependencies", f"there is no task {name!r} in the set")
            for name in definition.dependencies
            if name not in known
        ]
    cycle = find_cycle({definition.id: definition.dependencies for definition in definitions})
    if cycle:
        problems.append(Problem("tasks", f"dependencies go round in a circle: {' → '.join(cycle)}"))
    if problems:
        raise InvalidTaskSet(f"the task set {spec_name!r}", problems)


def find_cycle(dependencies: Mapping[str, Sequence[str]]) -> list[str]:
    """A cycle among ``dependencies``, its first name again at its end; empty if there is none."""
    settled: set[str] = set()
    for start in dependencies:
        # depth first, without recursion: a set may be a chain of thousands
        path: list[str] = []
        on_path: set[str] = set()
        stack: list[tuple[str, bool]] = [(start, False)]
        while stack:
            name, left = stack.pop()
            if left:
                path.pop()
                on_path.discard(name)
                settled.add(name)
            elif name in on_path:
                return [*path[path.index(name) :], name]
            elif name not in settled:
                path.append(name)
                on_path.add(name)
                stack.append((name, True))
                stack += [(after, False) for after in reversed(dependencies.get(name, ()))]
    return []
