"""releasing: the slot goes back and the credentials are forgotten, whatever happened before."""

from __future__ import annotations

from necrocode.engine.context import Context
from necrocode.engine.driver import Outcome
from necrocode.states.loan import give_back
from necrocode.states.ports import Ports


def handle(ctx: Context, ports: Ports) -> Outcome:
    """Give the slot back; never waits for the registry."""
    patch = give_back(ctx, ports)
    ports.credentials.wipe()
    return Outcome("released", patch)
