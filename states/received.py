"""received: the task context is validated again, since it may have come from a journal or a service."""

from __future__ import annotations

from pydantic import ValidationError

from necrocode.engine.context import Context
from necrocode.engine.driver import Outcome
from necrocode.states.ports import Ports
from necrocode.states.task import TaskContext


def handle(ctx: Context, ports: Ports) -> Outcome:
    """Accept the task, or reject it with every problem named."""
    del ports
    try:
        task = TaskContext.model_validate(ctx.data["task"])
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'task'}: {e['msg']}" for e in error.errors())
        return Outcome("rejected", {"stop_reason": "invalid_task", "error": f"the task is invalid: {problems}"})
    if task.unknown_keys:
        ctx.warn("unknown_task_keys", {"keys": task.unknown_keys})
    begun = {
        "branch": task.branch,
        "attempt": 0,
        "max_attempts": ctx.settings["max_implementation_attempts"],
        "push": ctx.settings["push"],
    }
    # Runs of earlier releases know no such setting, and a replay must record the same.
    if ctx.settings.get("push_partial_work"):
        begun["push_partial_work"] = True
    return Outcome("accepted", begun)
