"""A playbook: named steps that say how a task's work is tested."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StringConstraints,
    model_validator,
)

from necrocode.states.conditions import check

MAX_STEPS = 50
MAX_RETRIES = 20


def _condition(text: str) -> str:
    return check(text).text


def _pattern(pattern: str) -> str:
    if pattern.startswith(("/", "~", "!", "#")) or ".." in pattern.split("/") or "\0" in pattern:
        raise ValueError(f"{pattern!r} must be a relative pattern that stays in the repository")
    return pattern


def _several(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")
    return value


StepName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,59}$")]
Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=10_000)]
When = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1), AfterValidator(_condition)]
Pattern = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_pattern)]


class Step(BaseModel):
    """One command of a playbook. What is not said (``None``) is as the task and the settings have it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: StepName
    #: For a shell, in the repository's root.
    run: Line
    #: The step is skipped unless it holds: see :mod:`necrocode.states.conditions`.
    when: When | None = None
    timeout_seconds: Annotated[float, BeforeValidator(_no_bool), Field(gt=0, le=30 * 86400)] | None = None
    #: How often it is run again if it fails. If it passes then, it is called flaky.
    retries: Annotated[int, BeforeValidator(_no_bool), Field(ge=0, le=MAX_RETRIES)] | None = None
    #: Whether the steps after it are left out if it fails.
    fail_fast: StrictBool | None = None
    #: Whether the task may be completed although it fails.
    allow_failure: StrictBool = False
    #: JUnit files that it writes: patterns as in ``.gitignore``.
    junit: Annotated[list[Pattern], BeforeValidator(_several), Field(max_length=10)] = []


class Playbook(BaseModel):
    """The steps in their order. Raises pydantic's ``ValidationError`` with every problem and its place."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)] = "playbook"
    description: str = ""
    steps: Annotated[list[Step], Field(min_length=1, max_length=MAX_STEPS)]

    @model_validator(mode="after")
    def _names_are_known(self) -> Playbook:
        problems: list[str] = []
        earlier: set[str] = set()
        for place, step in enumerate(self.steps):
            if step.name in earlier:
                problems.append(f"steps[{place}].name: {step.name!r} is the name of an earlier step, too")
            if step.when is not None:
                for name in sorted(check(step.when).steps - earlier):
                    problems.append(f"steps[{place}].when: there is no earlier step {name!r}")
            earlier.add(step.name)
        if problems:
            raise ValueError("; ".join(problems))
        return self


def is_outside(path: str) -> bool:
    """Whether a ``playbook_path`` names a file of the user's (absolute, or beginning with ``./``, ``../`` or ``~``),
    not one in the repository.
    """
    return bool(re.match(r"/|~|\.\.?(/|$)", path))
