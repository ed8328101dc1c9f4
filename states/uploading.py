"""uploading: diff, log and test results are kept."""

from __future__ import annotations

from necrocode.engine.context import Context
from necrocode.engine.driver import Outcome
from necrocode.states import evidence
from necrocode.states.loan import workspace_of
from necrocode.states.ports import Ports


def handle(ctx: Context, ports: Ports) -> Outcome:
    """Keep what proves the work; of a commit that is not pushed, the commit itself."""
    data = ctx.data
    kept = evidence.keep(ctx, ports, "diff", "changes.diff", lambda: evidence.diff(ctx, ports, data["commit_tree"]))
    if not data["push"]:
        workspace = workspace_of(ctx, ports)
        kept += evidence.keep(
            ctx, ports, "bundle", "commit.bundle", lambda: workspace.bundle(data["commit"], data["base_commit"])
        )
    kept += evidence.keep(ctx, ports, "test", "tests.json", lambda: evidence.tests(ctx))
    kept += evidence.keep_outputs(ctx, ports)
    kept += evidence.keep(ctx, ports, "log", "run.log", lambda: ports.log.read(ctx.run_id))
    return Outcome("uploaded", {"artifacts": kept})
