"""testing: the task's test commands, run on what the coder calls finished."""

from __future__ import annotations

from datetime import timedelta

from necrocode.engine.context import Context
from necrocode.engine.driver import Outcome
from necrocode.engine.effects import Json
from necrocode.engine.errors import TaskError
from necrocode.states import guards
from necrocode.states.commands import Ended, run_command
from necrocode.states.loan import put_back, task_of
from necrocode.states.ports import Ports

NOT_FOUND = 127
"""The exit code of a shell that did not find the command (POSIX, 2.8.2)."""


def handle(ctx: Context, ports: Ports) -> Outcome:
    """Run the tests; put the coder's files back if it is to try again."""
    task, tests = task_of(ctx), list[dict[str, Json]]()
    if not task.test_commands:
        ctx.warn("no_tests", {"message": "the task names no test commands: nothing was tested"})
    limit = timedelta(seconds=ctx.settings["command_timeout_seconds"])
    for command in task.test_commands:
        ended = run_command(ctx, ports, "test", command, timeout=limit)
        if ended.status == "not_started" or ended.exit_code == NOT_FOUND:
            raise TaskError(
                f"the test command {command!r} cannot be run: {ended.output.strip()[-500:]}",
                stop_reason="test_command_not_found",
            )
        tests.append(_summary(command, ended))
        if not ended.passed and task.fail_fast:
            break
    if all(test["passed"] for test in tests):
        return Outcome("passed", {"tests": tests})
    if guards.attempts_left(ctx.data):
        # The tests may have left files lying about: the coder goes on from its own.
        put_back(ctx, ports, ctx.data["tree"])
        return Outcome("failed_tests", {"tests": tests})
    failed = ", ".join(repr(test["command"]) for test in tests if not test["passed"])
    return Outcome(
        "failed_tests",
        {
            "tests": tests,
            "stop_reason": "tests_failed",
            "error": f"after {ctx.data['attempt']} attempts these tests still fail: {failed}",
        },
    )


def _summary(command: str, ended: Ended) -> dict[str, Json]:
    return {
        "command": command,
        "passed": ended.passed,
        "status": ended.status,
        "exit_code": ended.exit_code,
        "seconds": ended.seconds,
    }
