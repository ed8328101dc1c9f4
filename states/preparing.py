"""preparing: the remote is fetched, the base recorded, the slot laid out and set up."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from necrocode.engine.context import Context
from necrocode.engine.driver import Outcome
from necrocode.engine.effects import Attempt, Json
from necrocode.engine.errors import TaskError
from necrocode.states.commands import run_command
from necrocode.states.committing import task_trailer
from necrocode.states.loan import task_of, workspace_of
from necrocode.states.ports import Ports, Workspace
from necrocode.states.retries import git_retries

MAX_SUFFIX = 99
"""The highest number that is tried for a branch whose name is taken."""


@dataclass(frozen=True, slots=True)
class _Start:
    branch: str
    base_branch: str
    base_commit: str
    branch_commit: str | None


def handle(ctx: Context, ports: Ports) -> Outcome:
    """Fetch, find a free branch name, lay the files out, run the set-up commands."""
    task, workspace = task_of(ctx), workspace_of(ctx, ports)
    start = _find_branch(ctx, workspace)
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


def _find_branch(ctx: Context, workspace: Workspace) -> _Start:
    """The branch to push to: free on the remote, or an earlier one of this task."""
    task, wanted = task_of(ctx), ctx.data["branch"]
    trailer = task_trailer(task)

    def fetch(branch: str) -> dict[str, Json]:
        def do(_: Attempt) -> Json:
            refs = workspace.fetch(base_branch=task.base_branch, branch=branch)
            ours = refs.branch_commit is not None and trailer in workspace.message_of(refs.branch_commit).splitlines()
            return {**asdict(refs), "ours": ours}

        found: dict[str, Json] = ctx.effect("git.fetch", do, key=branch, retry=git_retries(ctx.settings))
        return found

    for number in range(1, MAX_SUFFIX + 1):
        branch = wanted if number == 1 else f"{wanted}-{number}"
        found = fetch(branch)
        if found["branch_commit"] is None or found["ours"]:
            return _Start(branch, found["base_branch"], found["base_commit"], found["branch_commit"])
        if ctx.settings["on_branch_exists"] != "suffix":
            raise TaskError(
                f"the branch {branch!r} exists on the remote and was not made for this task: name another with "
                '--branch, or set on_branch_exists = "suffix"',
                stop_reason="branch_exists",
            )
    raise TaskError(f"the branch {wanted!r} and {MAX_SUFFIX - 1} numbered ones exist", stop_reason="branch_exists")


def _lay(workspace: Workspace, start: _Start) -> Json:
    base_tree = workspace.tree_of(start.base_commit)
    tree, conflicts = base_tree, tuple[str, ...]()
    if start.branch_commit is not None:
        rebased = workspace.rebase(branch_commit=start.branch_commit, base_commit=start.base_commit)
        tree, conflicts = rebased.tree, rebased.conflicts
    workspace.lay(commit=start.base_commit, tree=tree)
    return {"base_tree": base_tree, "snapshot": tree, "conflicts": list(conflicts)}
