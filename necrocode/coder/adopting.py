"""What became of a command that an earlier process meant to start, once the files around it may have been put back."""

from __future__ import annotations

from dataclasses import replace

from necrocode.engine.effects import Attempt
from necrocode.states.ports import CommandResult, CommandRunner, CommandSpec


def adopted(commands: CommandRunner, spec: CommandSpec, attempt: Attempt) -> CommandResult:
    """Settle the command: see :meth:`necrocode.states.ports.CommandRunner.attach`.

    After an attempt that failed (its snapshot, say) recovery has put the files back: whatever the command printed, what
    it did is gone, so it counts as ``interrupted``.
    """
    result = commands.attach(spec, attempt.stop)
    return replace(result, status="interrupted", exit_code=None) if attempt.number > 1 else result
