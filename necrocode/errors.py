"""Errors of the product's own: input that is refused before anything starts, and things that are not there.

::

    InvalidInput (ValueError)               bad usage: nothing was started; every problem is listed
    ├── InvalidTask                         necrocode.task_file
    └── InvalidConfig                       necrocode.config
    NotFound (EnvironmentFault, LookupError)   no such task, artifact or slot
    DamagedArtifact (EnvironmentFault)         an artifact's bytes are not those that were kept
    KeyReused (EnvironmentFault)               an idempotency key came with another request before
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from necrocode.engine.errors import EnvironmentFault


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with an input."""

    #: Such as ``test_commands[1]``; empty for the input as a whole.
    field: str
    #: Goes on after the field's name: ``must be text``.
    message: str
    #: Where the value came from, such as ``environment NECROCODE_POOL_SIZE``; empty if that is plain.
    source: str = ""

    def __str__(self) -> str:
        text = f"{self.field}: {self.message}" if self.field else self.message
        return f"{text} ({self.source})" if self.source else text


class InvalidInput(ValueError):
    """An input that cannot be used. ``problems`` lists everything that is wrong with it; nothing was started."""

    def __init__(self, what: str, problems: Sequence[Problem]) -> None:
        self.what = what
        self.problems = tuple(problems)
        super().__init__("\n  ".join([f"{what} is not valid:", *map(str, self.problems)]))


class NotFound(EnvironmentFault, LookupError):
    """There is no such thing there."""

    stop_reason = "not_found"


class DamagedArtifact(EnvironmentFault):
    """An artifact's bytes are not those that were kept."""

    stop_reason = "artifacts"


class KeyReused(EnvironmentFault):
    """An idempotency key came with another request before: nothing was done."""

    stop_reason = "key_reused"

    def __init__(self, key: str) -> None:
        super().__init__(f"the idempotency key {key!r} came with another request before: take a new one")


def close_match(name: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` for a name that is close to a known one, else nothing."""
    found = difflib.get_close_matches(name.lower(), list(known), n=1, cutoff=0.7)
    return f"; did you mean {found[0]!r}?" if found else ""
