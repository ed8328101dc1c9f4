"""branches: a name on the remote that is free, or that an earlier run of the same task made."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from necrocode.engine.context import Context
from necrocode.engine.effects import Attempt, Json
from necrocode.engine.errors import TaskError
from necrocode.states.ports import Workspace
from necrocode.states.retries import git_retries
from necrocode.states.task import TaskContext

MAX_SUFFIX = 99
"""The highest number that is tried for a branch whose name is taken."""


@dataclass(frozen=True, slots=True)
class FoundBranch:
    """A branch to push to, and what the remote has of it and of the base."""

    branch: str
    base_branch: str
    base_commit: str
    #: What it is at on the remote; ``None`` if it does not exist.
    branch_commit: str | None


def find_branch(
    ctx: Context,
    workspace: Workspace,
    task: TaskContext,
    wanted: str,
    *,
    base_branch: str | None,
    numbered: bool,
    tolerate: bool = False,
) -> FoundBranch:
    """``wanted``, if it is free on the remote or this task's own; else, if ``numbered``, the first such with a number.

    ``tolerate`` as in :meth:`Context.effect`. Raises :class:`TaskError` ``branch_exists``, and what
    :meth:`Workspace.fetch` raises.
    """
    trailer = task_trailer(task)

    def fetch(branch: str) -> dict[str, Json]:
        def do(_: Attempt) -> Json:
            refs = workspace.fetch(base_branch=base_branch, branch=branch)
            ours = refs.branch_commit is not None and trailer in workspace.message_of(refs.branch_commit).splitlines()
            return {**asdict(refs), "ours": ours}

        found: dict[str, Json] = ctx.effect(
            "git.fetch", do, key=branch, retry=git_retries(ctx.settings), tolerate=tolerate
        )
        return found

    for number in range(1, MAX_SUFFIX + 1):
        branch = wanted if number == 1 else f"{wanted}-{number}"
        found = fetch(branch)
        if found["branch_commit"] is None or found["ours"]:
            return FoundBranch(branch, found["base_branch"], found["base_commit"], found["branch_commit"])
        if not numbered:
            raise TaskError(
                f"the branch {branch!r} exists on the remote and was not made for this task: name another with "
                '--branch, or set on_branch_exists = "suffix"',
                stop_reason="branch_exists",
            )
    raise TaskError(f"the branch {wanted!r} and {MAX_SUFFIX - 1} numbered ones exist", stop_reason="branch_exists")


def task_trailer(task: TaskContext) -> str:
    """The line of a commit's message by which a later run knows a branch as this task's own."""
    return f"Necrocode-Task: {' '.join(task.spec_name.split())}/{' '.join(task.task_id.split())}"
