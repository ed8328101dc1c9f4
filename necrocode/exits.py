"""Exit codes: what a script can rely on."""

from __future__ import annotations

from collections.abc import Iterable

from necrocode.engine.runs import RunRecord

COMPLETED = 0
FAILED = 1
USAGE = 2
ENVIRONMENT = 3
DRIVEN_ELSEWHERE = 4
DAMAGED = 5
LIMIT = 6
STUCK = 7
INTERRUPTED = 130

_BY_REASON = {"budget": LIMIT, "deadline": LIMIT, "stuck": STUCK}


def exit_code(run: RunRecord) -> int:
    """What a run's end means to a script."""
    if run.status == "closed":
        return COMPLETED if run.state == "completed" else _BY_REASON.get(run.stop_reason or "", FAILED)
    return INTERRUPTED if run.status == "interrupted" else ENVIRONMENT


def worst(codes: Iterable[int]) -> int:
    """The exit code of several runs: 3 if any has it, else the lowest of the others that isn't 0."""
    found = {code for code in codes if code != COMPLETED}
    if ENVIRONMENT in found:
        return ENVIRONMENT
    return min(found, default=COMPLETED)
