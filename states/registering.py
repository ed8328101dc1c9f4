"""registering: the run gets its runner id and the registry learns that it has begun."""

from __future__ import annotations

import uuid

from necrocode.engine.context import Context
from necrocode.engine.driver import Outcome
from necrocode.states.ports import Ports
from necrocode.states.reports import PRIMARY, report_event, report_status, sink_of


def handle(ctx: Context, ports: Ports) -> Outcome:
    """Report status ``running`` and the event ``RunnerStarted``; record which registry the run reports to."""
    runner_id = ctx.observe("runner_id", lambda: f"runner-{uuid.uuid4().hex[:12]}")
    report_status(ctx, ports, "running", {"runner_id": runner_id, "run_id": ctx.run_id})
    report_event(ctx, ports, "RunnerStarted", {"runner_id": runner_id, "run_id": ctx.run_id}, slot="started")
    sink = sink_of(ctx)
    # Runs of earlier releases know of one registry only, and a replay must record the same.
    return Outcome("registered", {"runner_id": runner_id} | ({"registry_sink": sink} if sink != PRIMARY else {}))
