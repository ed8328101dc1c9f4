"""implementing: the coder works on the task in the slot."""

from __future__ import annotations

from necrocode.engine.context import Context
from necrocode.engine.driver import Outcome
from necrocode.engine.errors import TaskError
from necrocode.states.commands import BROKEN_OFF
from necrocode.states.loan import loan_of, task_of, workspace_of
from necrocode.states.ports import CoderWork, Ports, TestResult


def handle(ctx: Context, ports: Ports) -> Outcome:
    """Let the coder work until it calls the task finished."""
    loan = loan_of(ctx.data)
    assert loan is not None
    work = CoderWork(
        task=task_of(ctx),
        slot_path=loan.slot_path,
        workspace=workspace_of(ctx, ports),
        base_tree=ctx.data["start_tree"],
        attempt=ctx.data["attempt"] + 1,
        feedback=_feedback(ctx),
        conflicts=tuple(ctx.data["conflicts"]) if ctx.data["attempt"] == 0 else (),
    )
    report = ports.coder.implement(ctx, work)
    left_out = ctx.observe("workspace.warnings", work.workspace.take_warnings)
    if left_out:
        ctx.warn("left_out_of_snapshots", {"message": "; ".join(left_out[:20])})
    if report.tree == ctx.data["start_tree"]:
        raise TaskError("the coder called the task finished, but no file has changed", stop_reason="no_change")
    return Outcome("implemented", {"tree": report.tree, "summary": report.summary, "attempt": work.attempt})


def _feedback(ctx: Context) -> tuple[TestResult, ...]:
    """What failed in the last visit of ``testing``, failed ones only."""
    recorded = [outcome for outcome in ctx.history("testing") if outcome.name == "command.test"]
    if not recorded:
        return ()
    last = recorded[-1].visit
    return tuple(
        TestResult(
            command=outcome.result["command"],
            passed=False,
            status=outcome.result["status"],
            exit_code=outcome.result["exit_code"],
            output=outcome.result["output"],
            duration_seconds=outcome.result["seconds"],
        )
        for outcome in recorded
        if outcome.visit == last
        and outcome.result["status"] not in BROKEN_OFF
        and not (outcome.result["status"] == "exited" and outcome.result["exit_code"] == 0)
    )
