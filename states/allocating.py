"""allocating: a slot for the run."""

from __future__ import annotations

from necrocode.engine.context import Context
from necrocode.engine.driver import Outcome
from necrocode.states.loan import borrow, holds
from necrocode.states.ports import Ports


def handle(ctx: Context, ports: Ports) -> Outcome:
    """Borrow a slot from the pool, or the folder that the task names."""
    patch = borrow(ctx, ports)
    # A loan that an earlier process recorded before it died may have ended since: one for each of them at most.
    while ctx.epoch > int(patch["tenure"]) and not holds(ctx, ports, patch):
        ctx.amend(patch)
        patch = borrow(ctx, ports)
    return Outcome("allocated", patch)
