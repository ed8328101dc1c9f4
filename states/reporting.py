"""reporting: the registry learns that the task is done."""

from __future__ import annotations

from necrocode.engine.context import Context
from necrocode.engine.driver import Outcome
from necrocode.states.evidence import tally
from necrocode.states.ports import Ports
from necrocode.states.reports import report_artifact, report_event, report_status


def handle(ctx: Context, ports: Ports) -> Outcome:
    """Report the artifacts, status ``done`` and ``TaskCompleted``. A registry that is down changes nothing."""
    data = ctx.data
    for artifact in data["artifacts"]:
        report_artifact(ctx, ports, artifact)
    facts = {
        "runner_id": data["runner_id"],
        "run_id": ctx.run_id,
        "branch": data["branch"],
        "commit": data["commit"],
        "pushed": bool(data.get("pushed")),
        "artifacts": [artifact["uri"] for artifact in data["artifacts"]],
        "tests": tally(data.get("tests", [])),
        # The head leaves the machine with the event, so that the journal before it cannot be changed unseen.
        "journal_head": ctx.head(),
    }
    report_status(ctx, ports, "done", facts)
    report_event(ctx, ports, "TaskCompleted", facts, slot="terminal")
    return Outcome("reported", {"result": "completed"})
