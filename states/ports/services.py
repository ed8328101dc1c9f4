"""The task registry and the artifact store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file kept after the run."""

    type: str
    uri: str
    size_bytes: int
    sha256: str
    created_at: datetime
    metadata: Mapping[str, Any] = field(default_factory=dict)


class TaskRegistry(Protocol):
    """Is told what becomes of a task. Every write carries an idempotency key: the same key twice counts once.

    If a write certainly did not arrive, it should raise :class:`~necrocode.engine.errors.Unreached`: only then may
    another registry be told instead.
    """

    def set_status(
        self,
        task_id: str,
        spec_name: str,
        status: str,
        *,
        metadata: Mapping[str, Any],
        at: datetime,
        key: str,
        epoch: int,
    ) -> None:
        """Status ``running``, ``done`` or ``failed``. An older ``epoch`` than one seen is refused
        (:class:`EnvironmentFault`). ``running`` that comes after the end of the same run (from the outbox) is kept and
        changes nothing.
        """

    def add_event(
        self,
        task_id: str,
        spec_name: str,
        event_type: str,
        *,
        data: Mapping[str, Any],
        at: datetime,
        key: str,
        epoch: int,
    ) -> None:
        """``RunnerStarted``, ``TaskCompleted`` or ``TaskFailed``."""

    def add_artifact(self, task_id: str, spec_name: str, artifact: Artifact, *, key: str, epoch: int) -> None:
        """One artifact of the task."""


class ArtifactStore(Protocol):
    """Keeps artifacts."""

    def upload(
        self, content: bytes, *, type: str, name: str, metadata: Mapping[str, Any], at: datetime, key: str
    ) -> Artifact:
        """Keep ``content`` (already masked). The same ``key`` twice gives the same artifact."""

    def download(self, uri: str) -> bytes:
        """The bytes. ``LookupError`` if there is no such artifact."""
