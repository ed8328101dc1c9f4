"""baseline: what the tests said before the coder worked, to tell a test that it broke from one that failed anyway."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from necrocode.engine.context import Context
from necrocode.engine.effects import Recorded
from necrocode.states.commands import BROKEN_OFF

EFFECT = "command.baseline"


@dataclass(frozen=True, slots=True)
class Before:
    """How one step of the plan went before the change."""

    exit_code: int | None
    #: Names of the tests that failed; ``None`` if it did not say, or there were too many to name.
    failing: frozenset[str] | None


def failing_in(report: Mapping[str, Any] | None) -> frozenset[str] | None:
    """Names of the tests that failed; ``None`` if nobody knows them all."""
    if report is None or report["unnamed"]:
        return None
    return frozenset([*(test["id"] for test in report["failing"]), *report["also_failing"]])


def before_the_change(ctx: Context) -> dict[int, Before]:
    """What the baseline run recorded, by the step's place in the plan."""
    return _by_step(ctx.history("preparing"))


def _by_step(recorded: Iterable[Recorded]) -> dict[int, Before]:
    ended = [outcome.result for outcome in recorded if outcome.name == EFFECT]
    return {
        result["step"]: Before(result["exit_code"], failing_in(result.get("report")))
        for result in ended
        if result["status"] not in BROKEN_OFF
    }
