"""Effects: what a step that touches the outside world declares about itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from necrocode.engine.stop import StopToken

Json: TypeAlias = Any
"""A value that JSON can hold: dict with str keys, list, str, int, float, bool, None."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What an effect's code is told about the attempt it makes."""

    #: The same on every attempt and after every crash: hand it to the other side.
    idempotency_key: str
    #: 1 for the first attempt, one more for each that failed, in this process or an earlier one.
    number: int
    #: The lease's epoch: receivers may refuse an older one.
    epoch: int
    #: Look at it in every wait.
    stop: StopToken
    #: Attempts that a death or a stop took with it: how they ended nobody knows.
    lost: int = 0


Do: TypeAlias = Callable[[Attempt], Json]


@dataclass(frozen=True, slots=True)
class Repeat:
    """In doubt: do it again, under the same idempotency key."""


@dataclass(frozen=True, slots=True)
class Reconcile:
    """In doubt: ask the world. ``ask`` returns the result if it happened, ``None`` if it did not (then it is done)."""

    ask: Callable[[Attempt], Json | None]


@dataclass(frozen=True, slots=True)
class Adopt:
    """In doubt: it may still be running. ``attach`` waits for it, or settles what was lost, and returns the result."""

    attach: Do


@dataclass(frozen=True, slots=True)
class Refuse:
    """In doubt: park the run and let a person decide."""


Policy: TypeAlias = Repeat | Reconcile | Adopt | Refuse


@dataclass(frozen=True, slots=True)
class Recorded:
    """An effect that the journal holds the outcome of."""

    visit: int
    ordinal: int
    name: str
    key: str
    result: Json


@dataclass(frozen=True, slots=True)
class OpenEffect:
    """An effect in doubt: its intent is in the journal, its outcome is not."""

    seq: int
    visit: int
    ordinal: int
    name: str
    key: str
    idempotency_key: str
    note: Json
