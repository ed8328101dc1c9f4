"""preparing: the remote is fetched, the base recorded, the slot laid out and set up."""

from __future__ import annotations

from necrocode.engine.context import Context
from necrocode.engine.driver import Outcome
from necrocode.engine.effects import Json
from necrocode.engine.errors import TaskError
from necrocode.states.branches import FoundBranch, find_branch
from necrocode.states.commands import run_command
from necrocode.states.loan import task_of, workspace_of
from necrocode.states.ports import Ports, Workspace


def handle(ctx: Context, ports: Ports) -> Outcome:
    """Fetch, find a free branch name, lay the files out, run the set-up commands."""
    task, workspace = task_of(ctx), workspace_of(ctx, ports)
    start = find_branch(
        ctx,
        workspace,
        task,
        ctx.data["branch"],
        base_branch=task.base_branch,
        numbered=ctx.settings["on_branch_exists"] == "suffix",
    )
    laid = ctx.effect("workspace.lay", lambda _: _lay(workspace, start), key=start.base_commit)
    for command in task.setup_commands:
        ended = run_command(ctx, ports, "setup", command)
        if not ended.passed:
            raise TaskError(
                f"the set-up command {command!r} ended with {ended.status} {ended.exit_code}: {ended.output[-2000:]}",
                stop_reason="setup_failed",
            )
    return Outcome(
        "prepared",
        {
            "branch": start.branch,
            "base_branch": start.base_branch,
            "base_commit": start.base_commit,
            "remote_old": start.branch_commit,
            "base_tree": laid["base_tree"],
            "laid_tree": laid["snapshot"],
            "conflicts": laid["conflicts"],
            #: What set-up left is no change of the coder's.
            "start_tree": ctx.last_recorded("snapshot") or laid["snapshot"],
        },
    )


def _lay(workspace: Workspace, start: FoundBranch) -> Json:
    base_tree = workspace.tree_of(start.base_commit)
    tree, conflicts = base_tree, tuple[str, ...]()
    if start.branch_commit is not None:
        rebased = workspace.rebase(branch_commit=start.branch_commit, base_commit=start.base_commit)
        tree, conflicts = rebased.tree, rebased.conflicts
    workspace.lay(commit=start.base_commit, tree=tree)
    return {"base_tree": base_tree, "snapshot": tree, "conflicts": list(conflicts)}
