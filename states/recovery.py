"""Recovery and parking: how a run is taken up again, and how it lets go of its slot when it cannot go on."""

from __future__ import annotations

from collections.abc import Mapping

from necrocode.engine.context import Context
from necrocode.engine.effects import Attempt, Json
from necrocode.engine.errors import EngineError, TaskError
from necrocode.states.commands import Order, run_command
from necrocode.states.loan import borrow, give_back, holds, put_back, task_of, workspace_of
from necrocode.states.ports import Ports

IN_SLOT = ("preparing", "implementing", "testing")
"""States whose handlers work with the files in the slot."""


def recover(ctx: Context, ports: Ports) -> Mapping[str, Json]:
    """Make the slot what the journal says it is, before the handler of the state runs again.

    1. The loan is checked before a file in the slot is touched; a lost one is replaced by a new slot, restored. So is
       one that a process was giving back when it died: what it had cleaned by then, nobody can tell.
    2. A command in doubt is left to its effect, which adopts it: nothing is restored under it.
    3. Everything else that still runs for this run is killed, and the last snapshot restored.
    """
    if ctx.state not in IN_SLOT:
        return {}
    if (
        ctx.data.get("slot") is not None
        and ctx.last_recorded("leaving_tenure", effect="slot.leaving") == ctx.data["tenure"]
    ):
        ctx.amend(give_back(ctx, ports))
        return _move_house(ctx, ports)
    if not holds(ctx, ports, ctx.data):
        return _move_house(ctx, ports)
    commands = [effect.idempotency_key for effect in ctx.in_doubt() if is_command(effect.note)]
    ctx.effect("commands.reap", lambda _: {"killed": ports.commands.reap(ctx.run_id, keep=commands)})
    snapshot = ctx.last_recorded("snapshot")
    if not commands and snapshot is not None:
        put_back(ctx, ports, snapshot)
    return {}


def park(ctx: Context, ports: Ports, fault: EngineError) -> Mapping[str, Json]:
    """Give the slot back: the last snapshot is safe in the store. A parked run holds nothing."""
    del fault
    if ctx.data.get("slot") is not None:
        # Committed with the intent: a slot that was perhaps half cleaned is never worked in again.
        ctx.observe("slot.leaving", lambda: {"leaving_tenure": ctx.data["tenure"]})
    patch = give_back(ctx, ports)
    # That state is about the slot: when its handler runs again, it must find the data that it found before.
    return {} if ctx.state == "releasing" else patch


def is_command(note: Json) -> bool:
    """Whether an effect in doubt is a command: its intent says which."""
    return isinstance(note, dict) and "command" in note


def _move_house(ctx: Context, ports: Ports) -> Mapping[str, Json]:
    """A new slot with the files of the last snapshot, set up again."""
    ctx.effect("commands.reap", lambda _: {"killed": ports.commands.reap(ctx.run_id)})
    patch = borrow(ctx, ports)
    snapshot = ctx.last_recorded("snapshot")
    if snapshot is None:
        return patch
    ctx.amend(patch)
    workspace, base_commit = workspace_of(ctx, ports), ctx.last_recorded("base_commit")

    def lay(_: Attempt) -> Json:
        workspace.lay(commit=str(base_commit), tree=snapshot)
        return {"snapshot": snapshot}

    ctx.effect("workspace.lay", lay, key=snapshot)
    for command in task_of(ctx).setup_commands:
        ended = run_command(ctx, ports, "setup", Order(command))
        if not ended.passed:
            raise TaskError(
                f"the set-up command {command!r} failed in a new slot: {ended.output[-2000:]}",
                stop_reason="setup_failed",
            )
    put_back(ctx, ports, snapshot)
    return patch
