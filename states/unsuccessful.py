"""What failing and cancelling share: commands are ended, partial work is kept, the registry is told."""

from __future__ import annotations

from typing import Any

from necrocode.engine.context import Context
from necrocode.engine.effects import Attempt, Json
from necrocode.engine.errors import EffectFailed
from necrocode.states import evidence
from necrocode.states.partial import push_partial_work
from necrocode.states.ports import Ports
from necrocode.states.reports import report_artifact, report_event, report_status


def wind_up(ctx: Context, ports: Ports) -> dict[str, Any]:
    """End what still runs, keep diff, tests and log, push partial work, report the failure; returns what to record."""

    def reap(_: Attempt) -> Json:
        return {"killed": ports.commands.reap(ctx.run_id)}

    data = ctx.data
    try:
        ctx.effect("commands.reap", reap, tolerate=True)
    except EffectFailed as error:
        ctx.warn("commands_not_ended", {"error": str(error)})
    kept: list[Json] = []
    tree = ctx.last_recorded("snapshot")
    if tree is not None and "base_tree" in data and tree != data["base_tree"]:
        kept += evidence.keep(ctx, ports, "diff", "partial.diff", lambda: evidence.diff(ctx, ports, tree))
    if "tests" in data:
        kept += evidence.keep(ctx, ports, "test", "tests.json", lambda: evidence.tests(ctx))
    kept += evidence.keep_outputs(ctx, ports)
    kept += evidence.keep(ctx, ports, "log", "run.log", lambda: ports.log.read(ctx.run_id))
    partial = push_partial_work(ctx, ports)
    for artifact in kept:
        report_artifact(ctx, ports, artifact)
    facts = {
        "runner_id": data.get("runner_id"),
        "run_id": ctx.run_id,
        "spec_name": data["task"].get("spec_name"),
        "error": data.get("error"),
        "stop_reason": data.get("stop_reason"),
        "artifacts": [artifact["uri"] for artifact in kept],
        "tests": evidence.tally(data.get("tests", [])),
        "partial_branch": partial.get("partial_branch"),
        "partial_commit": partial.get("partial_commit"),
        "journal_head": ctx.head(),
    }
    report_status(ctx, ports, "failed", facts)
    report_event(ctx, ports, "TaskFailed", facts, slot="terminal")
    return {"artifacts": kept, **partial}
