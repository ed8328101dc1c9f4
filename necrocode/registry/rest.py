"""A task registry somewhere else."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from necrocode.registry.records import TaskRecord
from necrocode.rest import Answer, Call, Service, Token, segment, unix_seconds
from necrocode.states.ports import Artifact


class TaskRegistryClient:
    """Implements the port :class:`necrocode.states.ports.TaskRegistry` over REST; raises as :class:`Service` says.

    ====================================  ====================================================
    call                                  body
    ====================================  ====================================================
    ``PUT /tasks/{id}/status``            ``{status, metadata, updated_at}``
    ``POST /tasks/{id}/events``           ``{event_type, data, timestamp}``
    ``POST /tasks/{id}/artifacts``        ``{type, uri, size_bytes, metadata, created_at}``
    ``GET /tasks/{id}``                   answers the task
    ``GET /health``                       answers 200
    ====================================  ====================================================

    Times are Unix seconds. ``spec_name`` goes into ``metadata`` and ``data``, an artifact's ``sha256`` into its
    ``metadata``. Any 2xx, with or without a body, accepts a write.
    """

    def __init__(
        self,
        base_url: str,
        token: Token = None,
        *,
        timeout: timedelta = timedelta(seconds=30),
        mask: Callable[[str], str] = str,
    ) -> None:
        self._service = Service("task registry", base_url, token=token, timeout=timeout, mask=mask)

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
        """Give the task a status."""
        body = {"status": status, "metadata": {**metadata, "spec_name": spec_name}, "updated_at": unix_seconds(at)}
        self._write("set the status", "PUT", task_id, "status", body, key, epoch)

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
        """Report an event."""
        body = {"event_type": event_type, "data": {**data, "spec_name": spec_name}, "timestamp": unix_seconds(at)}
        self._write(f"report {event_type}", "POST", task_id, "events", body, key, epoch)

    def add_artifact(self, task_id: str, spec_name: str, artifact: Artifact, *, key: str, epoch: int) -> None:
        """Report an artifact."""
        body = {
            "type": artifact.type,
            "uri": artifact.uri,
            "size_bytes": artifact.size_bytes,
            "metadata": {**artifact.metadata, "spec_name": spec_name, "sha256": artifact.sha256},
            "created_at": unix_seconds(artifact.created_at),
        }
        self._write("report an artifact", "POST", task_id, "artifacts", body, key, epoch)

    def get_task(self, task_id: str, spec_name: str | None = None) -> TaskRecord:
        """The task. Raises :class:`NotFound`. Of ``state`` and ``status`` the answer may have either."""
        params = {"spec_name": spec_name} if spec_name is not None else None
        answer = self._service.call(Call("get the task", "GET", f"/tasks/{segment(task_id)}", params=params))
        found = answer.mapping()
        metadata = {} if found.get("metadata") is None else found["metadata"]
        if not isinstance(metadata, dict):
            raise answer.bad("field 'metadata' of the answer must be an object")
        spec = found.get("spec_name", metadata.get("spec_name"))
        return TaskRecord(
            task_id=task_id,
            spec_name=spec if isinstance(spec, str) else None,
            status=answer.text("state" if "status" not in found and "state" in found else "status"),
            metadata=metadata,
            updated_at=_moment(answer, found, "updated_at"),
        )

    def health_check(self) -> None:
        """Raises if the registry is not there."""
        self._service.health_check()

    def close(self) -> None:
        """Close the connections."""
        self._service.close()

    def _write(self, what: str, method: str, task_id: str, part: str, body: object, key: str, epoch: int) -> None:
        path = f"/tasks/{segment(task_id)}/{part}"
        self._service.call(Call(what, method, path, body=body, key=key, epoch=epoch))


def _moment(answer: Answer, found: Mapping[str, Any], field: str) -> datetime | None:
    """Unix seconds, or ISO 8601 as other registries write it."""
    value = found.get(field)
    if value is None:
        return None
    try:
        if isinstance(value, str):
            at = datetime.fromisoformat(value)
            return at if at.tzinfo is not None else at.replace(tzinfo=UTC)
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        pass
    raise answer.bad(f"field {field!r} of the answer must be Unix seconds")
