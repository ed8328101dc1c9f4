"""implementing: the coder works on the task in the slot."""

from __future__ import annotations

from collections.abc import Mapping

from necrocode.engine.context import Context
from necrocode.engine.driver import Outcome
from necrocode.engine.effects import Json
from necrocode.engine.errors import TaskError
from necrocode.states.baseline import Before, before_the_change
from necrocode.states.commands import BROKEN_OFF
from necrocode.states.guards import stands
from necrocode.states.loan import loan_of, task_of, workspace_of
from necrocode.states.plan import plan_of
from necrocode.states.ports import CoderWork, Ports, TestResult


def handle(ctx: Context, ports: Ports) -> Outcome:
    """Let the coder work until it calls the task finished."""
    loan = loan_of(ctx.data)
    assert loan is not None
    task = task_of(ctx)
    work = CoderWork(
        task=task,
        slot_path=loan.slot_path,
        workspace=workspace_of(ctx, ports),
        base_tree=ctx.data["start_tree"],
        attempt=ctx.data["attempt"] + 1,
        feedback=_feedback(ctx),
        conflicts=tuple(ctx.data["conflicts"]) if ctx.data["attempt"] == 0 else (),
        test_commands=tuple(step.run for step in plan_of(ctx.data, task).steps),
    )
    report = ports.coder.implement(ctx, work)
    left_out = ctx.observe("workspace.warnings", work.workspace.take_warnings)
    if left_out:
        ctx.warn("left_out_of_snapshots", {"message": "; ".join(left_out[:20])})
    if report.tree == ctx.data["start_tree"]:
        raise TaskError("the coder called the task finished, but no file has changed", stop_reason="no_change")
    return Outcome("implemented", {"tree": report.tree, "summary": report.summary, "attempt": work.attempt})


def _feedback(ctx: Context) -> tuple[TestResult, ...]:
    """What failed in the last visit of ``testing``, failed ones only: of each step its last run."""
    recorded = [outcome for outcome in ctx.history("testing") if outcome.name == "command.test"]
    last = {
        # Earlier releases recorded no step.
        outcome.result.get("step", -1 - outcome.ordinal): outcome.result
        for outcome in recorded
        if outcome.visit == recorded[-1].visit and outcome.result["status"] not in BROKEN_OFF
    }
    tests, before = ctx.data.get("tests", []), before_the_change(ctx)
    return tuple(
        _told(result, before.get(step))
        for step, result in last.items()
        if not (result["status"] == "exited" and result["exit_code"] == 0)
        and not (0 <= step < len(tests) and stands(tests[step]))
    )


def _told(result: Mapping[str, Json], before: Before | None) -> TestResult:
    failed_before = None if before is None else before.failing
    return TestResult(
        command=result["command"],
        passed=False,
        status=result["status"],
        exit_code=result["exit_code"],
        output=result["output"],
        duration_seconds=result["seconds"],
        report=result.get("report"),
        failed_before=None if failed_before is None else sorted(failed_before),
    )
