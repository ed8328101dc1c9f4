"""committing: one commit of what the coder finished, on the recorded base."""

from __future__ import annotations

import textwrap

from necrocode.engine.context import Context
from necrocode.engine.driver import Outcome
from necrocode.engine.effects import Attempt, Json
from necrocode.engine.errors import TaskError
from necrocode.states.branches import task_trailer
from necrocode.states.loan import task_of, workspace_of
from necrocode.states.ports import CommitRequest, Ports
from necrocode.states.task import TaskContext


def handle(ctx: Context, ports: Ports) -> Outcome:
    """Build the commit in the snapshot store. The same journal always gives the same commit id."""
    task, workspace, data = task_of(ctx), workspace_of(ctx, ports), ctx.data
    at = ctx.now()

    def commit(_: Attempt) -> Json:
        tree = workspace.carry(before=data["start_tree"], after=data["tree"], onto=data["laid_tree"])
        if tree == data["base_tree"]:
            raise TaskError("nothing is left to commit: the files are those of the base", stop_reason="no_change")
        secret = ports.credentials.found_in(workspace.diff(data["base_tree"], tree))
        if secret is not None:
            raise TaskError(f"the diff holds the credential {secret}: nothing was pushed", stop_reason="secret_in_diff")
        request = CommitRequest(
            tree=tree,
            parent=data["base_commit"],
            message=message(task, str(data["summary"]), ctx.run_id),
            author_name=ctx.settings["committer_name"],
            author_email=ctx.settings["committer_email"],
            at=at,
        )
        return {"commit": workspace.commit(request), "tree": tree}

    made = ctx.effect("git.commit", commit, key=data["tree"])
    return Outcome("committed", {"commit": made["commit"], "commit_tree": made["tree"]})


def message(task: TaskContext, summary: str, run_id: str) -> str:
    """A Conventional Commits message: subject, the coder's summary, trailers that tell whose commit it is."""
    subject = f"feat(task-{task.task_id}): {' '.join(task.title.split())}"
    body = "\n\n".join(
        textwrap.fill(" ".join(part.split()), 72, break_long_words=False, break_on_hyphens=False)
        for part in summary.split("\n\n")
        if part.strip()
    )
    parts = [subject, *([body] if body else []), f"{task_trailer(task)}\nNecrocode-Run: {run_id}"]
    return "\n\n".join(parts) + "\n"
