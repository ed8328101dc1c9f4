"""testing: the steps of the plan, run on what the coder calls finished."""

from __future__ import annotations

from necrocode.engine.context import Context
from necrocode.engine.driver import Outcome
from necrocode.engine.effects import Json
from necrocode.states import guards
from necrocode.states.baseline import before_the_change
from necrocode.states.loan import put_back, task_of, workspace_of
from necrocode.states.plan import Plan, matches, plan_of
from necrocode.states.ports import Ports
from necrocode.states.trials import Trials, not_run


def handle(ctx: Context, ports: Ports) -> Outcome:
    """Run the tests; put the coder's files back if it is to try again."""
    task = task_of(ctx)
    plan = plan_of(ctx.data, task)
    if not plan.steps:
        ctx.warn("no_tests", {"message": "the task names no test commands: nothing was tested"})
    trials = Trials(
        ctx,
        ports,
        plan,
        env=task.env,
        attempt=ctx.data["attempt"],
        changed=lambda pattern: _changed(ctx, ports, pattern),
        before=before_the_change(ctx) if plan.baseline != "off" else {},
    )
    tests = _tests(trials, plan)
    if all(guards.stands(test) for test in tests):
        return Outcome("passed", {"tests": tests})
    if guards.attempts_left(ctx.data):
        # The tests may have left files lying about: the coder goes on from its own.
        put_back(ctx, ports, ctx.data["tree"])
        return Outcome("failed_tests", {"tests": tests})
    failed = ", ".join(repr(test["command"]) for test in tests if not guards.stands(test))
    return Outcome(
        "failed_tests",
        {
            "tests": tests,
            "stop_reason": "tests_failed",
            "error": f"after {ctx.data['attempt']} attempts these tests still fail: {failed}",
        },
    )


def _tests(trials: Trials, plan: Plan) -> list[dict[str, Json]]:
    """The summaries of the steps, in order; once one fails for which that is so, of the task's commands no more."""
    tests: list[dict[str, Json]] = []
    failed: str | None = None
    for place, step in enumerate(plan.steps):
        if failed is None:
            earlier = {test["name"]: test for test in tests if "name" in test}
            tests.append(trials.run(place, earlier))
            if step.fail_fast and not guards.stands(tests[-1]):
                failed = step.name or step.run
        elif step.name is not None:
            tests.append(not_run(step, "skipped", f"an earlier step failed: {failed}"))
    return tests


def _changed(ctx: Context, ports: Ports, pattern: str) -> bool:
    """Whether what will be committed differs from the base in such a file."""
    data, workspace = ctx.data, workspace_of(ctx, ports)

    def look() -> bool:
        earlier = workspace.changes(data["base_tree"], data["laid_tree"])
        ours = workspace.changes(data["start_tree"], data["tree"])
        return matches(pattern, [file.path for file in (*earlier, *ours)])

    return bool(ctx.observe("tests.changed", look, key=pattern))
