"""allocating: a slot for the run."""

from __future__ import annotations

from necrocode.engine.context import Context
from necrocode.engine.driver import Outcome
from necrocode.states.loan import borrow
from necrocode.states.ports import Ports


def handle(ctx: Context, ports: Ports) -> Outcome:
    """Borrow a slot from the pool, or the folder that the task names."""
    return Outcome("allocated", borrow(ctx, ports))
