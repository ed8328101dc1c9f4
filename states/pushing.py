"""pushing: the commit goes to the remote, once."""

from __future__ import annotations

from necrocode.engine.context import Context
from necrocode.engine.driver import Outcome
from necrocode.engine.effects import Attempt, Json, Reconcile
from necrocode.states.loan import workspace_of
from necrocode.states.ports import Ports, PushRequest, Workspace
from necrocode.states.retries import git_retries


def handle(ctx: Context, ports: Ports) -> Outcome:
    """Push the commit to the run's branch."""
    workspace, data = workspace_of(ctx, ports), ctx.data
    push_once(ctx, workspace, PushRequest(commit=data["commit"], branch=data["branch"], expected=data["remote_old"]))
    return Outcome("pushed", {"pushed": True})


def push_once(ctx: Context, workspace: Workspace, request: PushRequest, *, tolerate: bool = False) -> None:
    """Push if the branch is what it was; after a crash or a cut connection, ask the remote first.

    ``tolerate`` as in :meth:`Context.effect`. Raises what :meth:`Workspace.push` raises.
    """

    def push(_: Attempt) -> Json:
        workspace.push(request)
        return {"commit": request.commit}

    def ask(_: Attempt) -> Json | None:
        return {"commit": request.commit} if workspace.has_landed(request.commit, request.branch) else None

    ctx.effect(
        "git.push",
        push,
        key=request.commit,
        policy=Reconcile(ask),
        retry=git_retries(ctx.settings),
        tolerate=tolerate,
    )
