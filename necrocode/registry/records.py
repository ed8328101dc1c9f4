"""What a registry answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


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
class TaskEvent:
    """One event of a task."""

    #: The idempotency key it came with.
    key: str
    event_type: str
    data: Mapping[str, Any]
    epoch: int
    at: datetime
