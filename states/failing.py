"""failing: the task could not be done; what there is of it is kept and reported."""

from __future__ import annotations

from necrocode.engine.context import Context
from necrocode.engine.driver import Outcome
from necrocode.states.ports import Ports
from necrocode.states.unsuccessful import wind_up


def handle(ctx: Context, ports: Ports) -> Outcome:
    """Wind the run up as failed."""
    return Outcome("reported_failure", {**wind_up(ctx, ports), "result": "failed"})
