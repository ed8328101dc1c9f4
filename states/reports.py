"""Reports to the task registry: each under one id for ever, kept in the outbox when the registry is down."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from necrocode.engine.context import Context
from necrocode.engine.effects import Attempt, Json
from necrocode.engine.errors import EffectFailed
from necrocode.engine.ids import idempotency_key
from necrocode.states.ports import Artifact, Ports, TaskRegistry
from necrocode.states.retries import network_retries

Call = Callable[[TaskRegistry, Mapping[str, Any], str, int], None]


def _set_status(registry: TaskRegistry, payload: Mapping[str, Any], key: str, epoch: int) -> None:
    registry.set_status(
        payload["task_id"],
        payload["spec_name"],
        payload["status"],
        metadata=payload["metadata"],
        at=datetime.fromisoformat(payload["at"]),
        key=key,
        epoch=epoch,
    )


def _add_event(registry: TaskRegistry, payload: Mapping[str, Any], key: str, epoch: int) -> None:
    registry.add_event(
        payload["task_id"],
        payload["spec_name"],
        payload["event_type"],
        data=payload["data"],
        at=datetime.fromisoformat(payload["at"]),
        key=key,
        epoch=epoch,
    )


def _add_artifact(registry: TaskRegistry, payload: Mapping[str, Any], key: str, epoch: int) -> None:
    registry.add_artifact(
        payload["task_id"], payload["spec_name"], artifact_from(payload["artifact"]), key=key, epoch=epoch
    )


#: What the outbox can hold for the registry, by the name of the call.
CALLS: Mapping[str, Call] = {"status": _set_status, "event": _add_event, "artifact": _add_artifact}


def report_status(ctx: Context, ports: Ports, status: str, metadata: Mapping[str, Json]) -> None:
    """Tell the registry the task's status."""
    _report(ctx, ports, "status", status, {"status": status, "metadata": dict(metadata), "at": ctx.now().isoformat()})


def report_event(ctx: Context, ports: Ports, event_type: str, data: Mapping[str, Json], *, slot: str) -> None:
    """Send an event. ``slot`` names its place in the run: there is one event for each, whatever its type."""
    payload = {"event_type": event_type, "data": dict(data), "at": ctx.now().isoformat()}
    _report(ctx, ports, "event", slot, payload)


def report_artifact(ctx: Context, ports: Ports, artifact: Mapping[str, Json]) -> None:
    """Tell the registry of one artifact (as :func:`artifact_json` gives it)."""
    _report(ctx, ports, "artifact", f"{artifact['type']}:{artifact['uri']}", {"artifact": dict(artifact)})


def artifact_json(artifact: Artifact) -> dict[str, Json]:
    """An artifact as the journal keeps it."""
    return {**asdict(artifact), "created_at": artifact.created_at.isoformat(), "metadata": dict(artifact.metadata)}


def artifact_from(value: Mapping[str, Any]) -> Artifact:
    """The artifact that :func:`artifact_json` was given."""
    return Artifact(**{**value, "created_at": datetime.fromisoformat(value["created_at"])})


def _report(ctx: Context, ports: Ports, call: str, what: str, payload: dict[str, Json]) -> None:
    task = ctx.data["task"]
    payload = {"task_id": str(task.get("task_id")), "spec_name": str(task.get("spec_name")), **payload}
    # Not the effect's own key: the outbox and a second sink must use the same one.
    report_id = idempotency_key(ctx.run_id, "report", 0, call, what)

    def send(attempt: Attempt) -> Json:
        CALLS[call](ports.registry, payload, report_id, attempt.epoch)
        return {"report_id": report_id}

    try:
        ctx.effect(
            f"registry.{call}",
            send,
            key=what,
            retry=network_retries(ctx.settings),
            note={"report_id": report_id},
            tolerate=True,
        )
    except EffectFailed as error:
        ctx.warn("report_kept", {"call": call, "what": what, "error": str(error)})
        ctx.post("registry", call, payload, item_id=report_id)
