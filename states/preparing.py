"""preparing: the remote is fetched, the base recorded, the slot laid out and set up, the tests planned."""

from __future__ import annotations

from necrocode.engine.context import Context
from necrocode.engine.driver import Outcome
from necrocode.engine.effects import Json
from necrocode.engine.errors import TaskError
from necrocode.states.branches import FoundBranch, find_branch
from necrocode.states.commands import Order, run_command
from necrocode.states.loan import put_back, task_of, workspace_of
from necrocode.states.plan import Plan, make_plan, plan_of
from necrocode.states.ports import Ports, Workspace
from necrocode.states.task import TaskContext
from necrocode.states.trials import Trials, not_run


def handle(ctx: Context, ports: Ports) -> Outcome:
    """Fetch, find a free branch name, lay the files out, run the set-up commands."""
    task, workspace = task_of(ctx), workspace_of(ctx, ports)
    # Runs of earlier releases have no plan: what they are tested by are the task's commands.
    planned = ctx.version("plan")
    start = find_branch(
        ctx,
        workspace,
        task,
        ctx.data["branch"],
        base_branch=task.base_branch,
        numbered=ctx.settings["on_branch_exists"] == "suffix",
    )
    laid = ctx.effect("workspace.lay", lambda _: _lay(workspace, start), key=start.base_commit)
    plan: Json = None
    if planned:
        base_tree = laid["base_tree"]
        plan = ctx.observe("tests.plan", lambda: make_plan(ctx, ports, task, workspace, base_tree))
    for command in task.setup_commands:
        ended = run_command(ctx, ports, "setup", Order(command))
        if not ended.passed:
            raise TaskError(
                f"the set-up command {command!r} ended with {ended.status} {ended.exit_code}: {ended.output[-2000:]}",
                stop_reason="setup_failed",
            )
    #: What set-up left is no change of the coder's.
    start_tree = ctx.last_recorded("snapshot") or laid["snapshot"]
    if plan is not None and plan["baseline"] != "off":
        _run_baseline(ctx, ports, plan_of({"plan": plan}, task), task, start_tree)
    return Outcome(
        "prepared",
        {
            "branch": start.branch,
            "base_branch": start.base_branch,
            "base_commit": start.base_commit,
            "remote_old": start.branch_commit,
            "base_tree": laid["base_tree"],
            "laid_tree": laid["snapshot"],
            "conflicts": laid["conflicts"],
            "start_tree": start_tree,
            **({} if plan is None else {"plan": plan}),
        },
    )


def _run_baseline(ctx: Context, ports: Ports, plan: Plan, task: TaskContext, start_tree: str) -> None:
    """Run the steps as they will be run on the coder's work, none of them twice; put back what they change.

    How they end is for ``testing`` to look at; here nothing fails the task.
    """
    trials = Trials(ctx, ports, plan, env=task.env, attempt=0, changed=lambda _: False, before={})
    earlier: dict[str, dict[str, Json]] = {}
    for place, step in enumerate(plan.steps):
        if not trials.wanted(step, earlier):
            earlier[str(step.name)] = not_run(step, "skipped", "")
            continue
        ended = run_command(ctx, ports, "baseline", trials.order(place, step, 1))
        earlier[str(step.name)] = {"status": ended.status, "passed": ended.passed, "exit_code": ended.exit_code}
        if not ended.passed:
            words = f"{step.run!r} fails before the change: {ended.status} {ended.exit_code}"
            ctx.warn("failed_before", {"command": step.run, "message": words})
    put_back(ctx, ports, start_tree)


def _lay(workspace: Workspace, start: FoundBranch) -> Json:
    base_tree = workspace.tree_of(start.base_commit)
    tree, conflicts = base_tree, tuple[str, ...]()
    if start.branch_commit is not None:
        rebased = workspace.rebase(branch_commit=start.branch_commit, base_commit=start.base_commit)
        tree, conflicts = rebased.tree, rebased.conflicts
    workspace.lay(commit=start.base_commit, tree=tree)
    return {"base_tree": base_tree, "snapshot": tree, "conflicts": list(conflicts)}
