"""Trials: one step of the plan is run, again if it fails and that was asked for, and judged."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from necrocode.engine.context import Context
from necrocode.engine.effects import Json
from necrocode.engine.errors import TaskError
from necrocode.states.baseline import Before, failing_in
from necrocode.states.commands import Ended, Order, run_command
from necrocode.states.conditions import evaluate
from necrocode.states.plan import Plan, PlannedStep
from necrocode.states.ports import Ports

NOT_FOUND = 127
"""The exit code of a shell that did not find the command (POSIX, 2.8.2)."""
SHOWN = 20
"""Names of failing tests in a summary; all are in the command's own outcome."""

_NO_TOOL = re.compile(r"No module named '?pytest'?\s*\Z|Error 127\s*\Z|^Ran 0 tests\b.*\n", re.MULTILINE)
"""How a detected command says that there is nothing to run it with, or nothing for it to run."""


@dataclass(frozen=True, slots=True)
class Trials:
    """The steps of a plan, run in one visit."""

    ctx: Context
    ports: Ports
    plan: Plan
    env: Mapping[str, str]
    #: Of the coder; 0 before the change.
    attempt: int
    changed: Callable[[str], bool]
    #: What is known of the tests before the change, by the step's place.
    before: Mapping[int, Before]

    def run(self, place: int, earlier: Mapping[str, Mapping[str, Any]]) -> dict[str, Json]:
        """Run the step at ``place`` in the plan; returns the summary that the run's data keep.

        ``earlier``: the summaries of earlier steps, by name. :class:`TaskError`: ``test_command_not_found``,
        ``invalid_playbook`` (a condition that makes no sense).
        """
        step = self.plan.steps[place]
        if not self.wanted(step, earlier):
            return self._skipped(place, step)
        ended = self._run(place, step, 1)
        if _is_missing(self.plan, ended):
            return self._missing(step, ended)
        runs, failed_first = 1, failing_in(ended.report)
        while not ended.passed and runs <= step.retries and not self._is_forgiven(place, ended):
            runs += 1
            ended = self._run(place, step, runs)
        return self._judged(place, step, ended, runs, failed_first)

    def wanted(self, step: PlannedStep, earlier: Mapping[str, Mapping[str, Any]]) -> bool:
        """Whether the step's condition holds."""
        if step.when is None:
            return True
        steps = {name: _for_conditions(summary) for name, summary in earlier.items()}
        try:
            return evaluate(step.when, self.plan.facts(self.changed, steps=steps, env=self.env, attempt=self.attempt))
        except ValueError as error:
            raise TaskError(f"step {step.name!r}: {error}", stop_reason="invalid_playbook") from None

    def order(self, place: int, step: PlannedStep, run: int) -> Order:
        """The command, as the ``run``-th run of the step."""
        key = step.run if step.name is None else f"{step.name}: {step.run}"
        facts: dict[str, Json] = {"step": place, "run": run}
        return Order(
            step.run,
            key=key if run == 1 else f"{key} (run {run})",
            timeout=None if step.timeout_seconds is None else timedelta(seconds=step.timeout_seconds),
            reports=self.plan.reports,
            junit=step.junit,
            facts=facts if step.name is None else {"name": step.name, **facts},
        )

    def _run(self, place: int, step: PlannedStep, run: int) -> Ended:
        ended = run_command(self.ctx, self.ports, "test", self.order(place, step, run))
        if self.plan.source != "detected" and (ended.status == "not_started" or ended.exit_code == NOT_FOUND):
            if step.allow_failure:
                return ended
            raise TaskError(
                f"the test command {step.run!r} cannot be run: {ended.output.strip()[-500:]}",
                stop_reason="test_command_not_found",
            )
        return ended

    def _skipped(self, place: int, step: PlannedStep) -> dict[str, Json]:
        reason = f"its condition does not hold: {step.when}"
        told = self.ctx.observe(
            "step.skipped", lambda: {"step": place, "name": step.name, "reason": reason}, key=str(step.name)
        )
        return not_run(step, "skipped", told["reason"])

    def _missing(self, step: PlannedStep, ended: Ended) -> dict[str, Json]:
        words = ended.output.strip()[-300:]
        self.ctx.warn(
            "tests_not_run",
            {
                "message": f"{step.run!r} was chosen by the looks of the repository, and cannot be run here: {words}",
                "command": step.run,
            },
        )
        return {**_summary(step, ended), "verdict": "not_run", "reason": "there is nothing to run it with, or to run"}

    def _is_forgiven(self, place: int, ended: Ended) -> bool:
        """Whether nothing failed but tests that failed before the change, too, and the command ended as it did then."""
        before, failing = self.before.get(place), failing_in(ended.report)
        return (
            self.plan.baseline == "forgive"
            and before is not None
            and before.failing is not None
            and failing is not None
            and bool(failing)
            and failing <= before.failing
            and ended.status == "exited"
            and ended.exit_code == before.exit_code
        )

    def _judged(
        self, place: int, step: PlannedStep, ended: Ended, runs: int, failed_first: frozenset[str] | None
    ) -> dict[str, Json]:
        summary, ctx = _summary(step, ended), self.ctx
        if runs > 1:
            summary["runs"] = runs
        failing, before = failing_in(ended.report), self.before.get(place)
        if failing and before is not None and before.failing is not None:
            summary["failed_before"] = _some(failing & before.failing)
            summary["broken"] = _some(failing - before.failing)
        if ended.passed:
            if runs > 1:
                names = _some(failed_first or ())
                words = f"{step.run!r} failed, and passed in run {runs}: {', '.join(names) or 'no test named'}"
                ctx.warn("flaky_tests", {"command": step.run, "runs": runs, "tests": names, "message": words})
                summary |= {"verdict": "flaky", "flaky_tests": names}
        elif self._is_forgiven(place, ended):
            words = (
                f"{step.run!r} fails, by tests only that failed before the change: {', '.join(_some(failing or ()))}"
            )
            ctx.warn("failures_forgiven", {"command": step.run, "tests": _some(failing or ()), "message": words})
            summary["verdict"] = "forgiven"
        elif step.allow_failure:
            ctx.warn("failure_allowed", {"command": step.run, "message": f"{step.name} failed, as it may"})
            summary["verdict"] = "allowed"
        return summary


def not_run(step: PlannedStep, verdict: str, reason: str) -> dict[str, Json]:
    """The summary of a step that was not run."""
    named: dict[str, Json] = {} if step.name is None else {"name": step.name}
    return {
        **named,
        "command": step.run,
        "passed": False,
        "status": "skipped",
        "exit_code": None,
        "seconds": 0.0,
        "verdict": verdict,
        "reason": reason,
    }


def _summary(step: PlannedStep, ended: Ended) -> dict[str, Json]:
    summary: dict[str, Json] = {} if step.name is None else {"name": step.name}
    summary |= {
        "command": step.run,
        "passed": ended.passed,
        "status": ended.status,
        "exit_code": ended.exit_code,
        "seconds": ended.seconds,
    }
    if ended.report is not None:
        summary["counts"] = {name: ended.report[name] for name in ("tests", "failures", "errors", "skipped")}
        if not ended.passed:
            summary["failing"] = [test["id"] for test in ended.report["failing"][:SHOWN]]
    return summary


def _for_conditions(summary: Mapping[str, Any]) -> dict[str, bool | int]:
    ran = summary["status"] != "skipped"
    return {
        "passed": bool(summary["passed"]),
        "failed": ran and not summary["passed"],
        "skipped": not ran,
        "exit_code": -1 if summary["exit_code"] is None else summary["exit_code"],
    }


def _is_missing(plan: Plan, ended: Ended) -> bool:
    if plan.source != "detected" or ended.passed:
        return False
    return ended.status == "not_started" or ended.exit_code == NOT_FOUND or bool(_NO_TOOL.search(ended.output.strip()))


def _some(names: Any) -> list[str]:
    """Some of the names, sorted, and how many there are more."""
    listed = sorted(names)
    return listed[:SHOWN] + ([f"… and {len(listed) - SHOWN} more"] if len(listed) > SHOWN else [])
