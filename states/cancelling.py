"""cancelling: somebody asked for the end; what there is of the work is kept and reported."""

from __future__ import annotations

from necrocode.engine.context import Context
from necrocode.engine.driver import Outcome
from necrocode.states.ports import Ports
from necrocode.states.unsuccessful import wind_up


def handle(ctx: Context, ports: Ports) -> Outcome:
    """Wind the run up as cancelled."""
    return Outcome("reported_cancel", {**wind_up(ctx, ports), "result": "cancelled"})
