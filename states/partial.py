"""partial: what there is of an unfinished work goes to a branch of its own, if that was asked for."""

from __future__ import annotations

from necrocode.engine.context import Context
from necrocode.engine.effects import Attempt, Json
from necrocode.engine.errors import EffectFailed, TaskError
from necrocode.states.branches import find_branch, task_trailer
from necrocode.states.loan import task_of, workspace_of
from necrocode.states.ports import CommitRequest, Ports, PushRequest, Workspace
from necrocode.states.pushing import push_once
from necrocode.states.task import TaskContext

PREFIX = "wip/"
"""Of the branch that partial work is pushed to; the run's own branch follows."""


def push_partial_work(ctx: Context, ports: Ports) -> dict[str, Json]:
    """Push the last that the coder did as one commit on the recorded base; returns what to record.

    Nothing is pushed, and nothing returned, if the coder changed nothing or the diff holds a credential. The run is
    ending: whatever fails is a warning.
    """
    data = ctx.data
    # Frozen when the run began, so that a replay under other settings asks for the same.
    if not (data.get("push") and data.get("push_partial_work")) or "base_tree" not in data:
        return {}
    tree = _last_tree(ctx)
    if tree is None or tree == data["start_tree"]:
        return {}
    try:
        task, workspace = task_of(ctx), workspace_of(ctx, ports)
        commit = _commit(ctx, ports, task, workspace, tree)
        return {"partial_branch": _push(ctx, task, workspace, commit), "partial_commit": commit}
    except (EffectFailed, TaskError) as error:
        ctx.warn("partial_work_not_pushed", {"error": str(error)})
        return {}


def message(task: TaskContext, stop_reason: str, run_id: str) -> str:
    """Subject, and trailers that tell whose commit it is and why it is unfinished."""
    return (
        f"wip(task-{task.task_id}): {' '.join(task.title.split())}\n\n"
        "Unfinished: what there was when the run ended.\n\n"
        f"{task_trailer(task)}\nNecrocode-Run: {run_id}\nNecrocode-Stop-Reason: {stop_reason}\n"
    )


def _last_tree(ctx: Context) -> str | None:
    """The last snapshot of the coder's: not of what the tests left lying about."""
    at_work = any(step.visit == ctx.visit - 1 for step in ctx.history("implementing"))
    tree = ctx.last_recorded("snapshot") if at_work else ctx.data.get("tree")
    return None if tree is None else str(tree)


def _commit(ctx: Context, ports: Ports, task: TaskContext, workspace: Workspace, last: str) -> str:
    """The commit in the snapshot store; the same journal always gives the same."""
    data, at = ctx.data, ctx.now()

    def commit(_: Attempt) -> Json:
        tree = workspace.carry(before=data["start_tree"], after=last, onto=data["laid_tree"])
        secret = ports.credentials.found_in(workspace.diff(data["base_tree"], tree))
        if secret is not None:
            raise TaskError(f"the diff holds the credential {secret}", stop_reason="secret_in_diff")
        request = CommitRequest(
            tree=tree,
            parent=data["base_commit"],
            message=message(task, str(data.get("stop_reason")), ctx.run_id),
            author_name=ctx.settings["committer_name"],
            author_email=ctx.settings["committer_email"],
            at=at,
        )
        return {"commit": workspace.commit(request), "tree": tree}

    return str(ctx.effect("git.commit", commit, key=last, tolerate=True)["commit"])


def _push(ctx: Context, task: TaskContext, workspace: Workspace, commit: str) -> str:
    """Push to the first branch that is free or this task's own; returns its name."""
    data = ctx.data
    found = find_branch(
        ctx,
        workspace,
        task,
        PREFIX + data["branch"],
        base_branch=data["base_branch"],
        numbered=True,
        tolerate=True,
    )
    request = PushRequest(commit=commit, branch=found.branch, expected=found.branch_commit)
    push_once(ctx, workspace, request, tolerate=True)
    return found.branch
