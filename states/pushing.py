"""pushing: the commit goes to the remote, once."""

from __future__ import annotations

from necrocode.engine.context import Context
from necrocode.engine.driver import Outcome
from necrocode.engine.effects import Attempt, Json, Reconcile
from necrocode.states.loan import workspace_of
from necrocode.states.ports import Ports, PushRequest
from necrocode.states.retries import git_retries


def handle(ctx: Context, ports: Ports) -> Outcome:
    """Push if the branch is what it was; after a crash or a cut connection, ask the remote first."""
    workspace, data = workspace_of(ctx, ports), ctx.data
    request = PushRequest(commit=data["commit"], branch=data["branch"], expected=data["remote_old"])

    def push(_: Attempt) -> Json:
        workspace.push(request)
        return {"commit": request.commit}

    def ask(_: Attempt) -> Json | None:
        return {"commit": request.commit} if workspace.has_landed(request.commit, request.branch) else None

    ctx.effect("git.push", push, key=request.commit, policy=Reconcile(ask), retry=git_retries(ctx.settings))
    return Outcome("pushed", {"pushed": True})
