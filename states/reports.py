"""Reports to the task registry: each under one id for ever, kept in the outbox when the registry is down.

A run reports to one registry. If the configured one certainly did not get the run's first report, that is another one;
what may have arrived is kept for the one that may have it, and so is what comes after.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from necrocode.engine.context import Context
from necrocode.engine.effects import Attempt, Json
from necrocode.engine.errors import EffectFailed, EnvironmentFault, Transient, Unreached
from necrocode.engine.ids import idempotency_key
from necrocode.states.ports import Artifact, Ports, TaskRegistry
from necrocode.states.retries import network_retries

PRIMARY = "registry"
"""Sink of the reports of a run that reports to the configured registry."""
NEVER_ARRIVED = "registry_unreached"
"""Stop reason of a report that failed without a doubt: no attempt at it can have arrived."""

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


def report_once_uploaded(ctx: Context, name: str, artifact: Mapping[str, Json]) -> None:
    """Leave an artifact that is kept here in the outbox, to be uploaded and then reported to the registry."""
    task = ctx.data["task"]
    payload = {
        "task_id": str(task.get("task_id")),
        "spec_name": str(task.get("spec_name")),
        "name": name,
        "artifact": dict(artifact),
        "registry_sink": sink_of(ctx),
    }
    ctx.post("artifacts", "upload", payload)


def artifact_json(artifact: Artifact) -> dict[str, Json]:
    """An artifact as the journal keeps it."""
    return {**asdict(artifact), "created_at": artifact.created_at.isoformat(), "metadata": dict(artifact.metadata)}


def artifact_from(value: Mapping[str, Any]) -> Artifact:
    """The artifact that :func:`artifact_json` was given."""
    return Artifact(**{**value, "created_at": datetime.fromisoformat(value["created_at"])})


def sink_of(ctx: Context) -> str:
    """The registry that the run reports to, by the name of its sink in the outbox."""
    if "runner_id" in ctx.data:
        return str(ctx.data.get("registry_sink", PRIMARY))
    return str(ctx.data.get("registry_sink") or ctx.last_recorded("registry_sink") or PRIMARY)


def _report(ctx: Context, ports: Ports, call: str, what: str, payload: dict[str, Json]) -> None:
    task = ctx.data["task"]
    payload = {"task_id": str(task.get("task_id")), "spec_name": str(task.get("spec_name")), **payload}
    # Not the effect's own key: the outbox and a second sink must use the same one.
    report_id = idempotency_key(ctx.run_id, "report", 0, call, what)
    report = _Report(call, what, payload, report_id)
    first = "registry_sink" not in ctx.data and "runner_id" not in ctx.data
    sink = sink_of(ctx)
    failure = report.send(ctx, ports, sink)
    if failure is not None and failure.stop_reason == NEVER_ARRIVED and first and sink == PRIMARY:
        # The run's first report, and nothing can have arrived: the run reports elsewhere, to its end.
        found = ctx.observe("registry_sink", lambda: {"registry_sink": next(iter(ports.fallbacks), PRIMARY)})
        sink = found["registry_sink"]
        if sink != PRIMARY:
            ctx.warn("registry_fallback", {"sink": sink, "error": str(failure)})
            failure = report.send(ctx, ports, sink)
    ctx.amend({"registry_sink": sink})
    if failure is not None:
        ctx.warn("report_kept", {"call": call, "what": what, "error": str(failure)})
        ctx.post(sink, call, payload, item_id=report_id)


@dataclass(frozen=True, slots=True)
class _Report:
    call: str
    what: str
    payload: Mapping[str, Json]
    report_id: str

    def send(self, ctx: Context, ports: Ports, sink: str) -> EffectFailed | None:
        """Make the call; returns what it failed with for good."""
        seen, in_doubt = 0, False

        def do(attempt: Attempt) -> Json:
            nonlocal seen, in_doubt
            # An attempt that this process did not see end may have arrived, and so may one that failed on the way.
            in_doubt = in_doubt or attempt.lost > 0 or attempt.number != seen + 1
            seen = attempt.number
            try:
                CALLS[self.call](_registry(ports, sink), self.payload, self.report_id, attempt.epoch)
            except Unreached as error:
                raise Transient(str(error), stop_reason=None if in_doubt else NEVER_ARRIVED) from error
            except EnvironmentFault:
                in_doubt = True
                raise
            return {"report_id": self.report_id}

        try:
            ctx.effect(
                f"{sink}.{self.call}",
                do,
                key=self.what,
                retry=network_retries(ctx.settings),
                note={"report_id": self.report_id},
                tolerate=True,
            )
        except EffectFailed as error:
            return error
        return None


def _registry(ports: Ports, sink: str) -> TaskRegistry:
    if sink == PRIMARY:
        return ports.registry
    if sink not in ports.fallbacks:
        raise EnvironmentFault(f"the run reports to {sink}, which is not configured any more", stop_reason="no_sink")
    return ports.fallbacks[sink]
