"""What a registry answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from necrocode.engine.identity import ProcessIdentity


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """A task as a registry knows it."""

    task_id: str
    #: ``None`` if the registry does not say.
    spec_name: str | None
    #: ``running``, ``done`` or ``failed``; another registry may know more words.
    status: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    #: ``None`` if the registry does not say.
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """Who took a task and has not given it back."""

    #: The home that the run is in, on the holder's host: a later process there may go on with it.
    home: str
    holder: ProcessIdentity
    #: Of the first claim, however often it was taken over since.
    at: datetime


@dataclass(frozen=True, slots=True)
class TaskEvent:
    """One event of a task."""

    #: The idempotency key it came with.
    key: str
    event_type: str
    data: Mapping[str, Any]
    epoch: int
    at: datetime
