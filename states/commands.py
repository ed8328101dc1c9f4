"""Commands of the lifecycle as effects: started once, adopted after a crash, each with a snapshot of what it left."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from necrocode.engine.context import Context
from necrocode.engine.effects import Adopt, Attempt, Json
from necrocode.engine.errors import TaskError
from necrocode.states.loan import loan_of, task_of, workspace_of
from necrocode.states.ports import CommandResult, CommandSpec, Ports

RERUNS = 2
"""How often a set-up or test command that was lost in a crash is begun anew, as a new command."""

BROKEN_OFF = ("interrupted", "stopped")
"""How a command ends that did not come to its own end."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended, as recorded."""

    status: str
    exit_code: int | None
    output: str
    seconds: float
    #: Whether a crash took it: not if it could not be begun or recorded, which says nothing about the command.
    lost: bool

    @property
    def passed(self) -> bool:
        """It ran to its end and said so with exit code 0."""
        return self.status == "exited" and self.exit_code == 0


def run_command(ctx: Context, ports: Ports, name: str, command: str, *, timeout: timedelta | None = None) -> Ended:
    """Run one of the task's commands in the slot as the effect ``command.{name}``.

    One that was broken off (lost in a crash, or stopped with the runner) has its files put back to those before it
    and is begun anew, as another command; a lost one up to :data:`RERUNS` times.
    """
    turn = lost = 0
    while lost <= RERUNS:
        ended = _run_once(ctx, ports, name, command, turn, timeout)
        if ended.status not in BROKEN_OFF:
            return ended
        turn += 1
        lost += ended.lost
    raise TaskError(f"{command!r} was lost in a crash {lost} times", stop_reason="command_lost")


def _run_once(ctx: Context, ports: Ports, name: str, command: str, turn: int, timeout: timedelta | None) -> Ended:
    task, loan, workspace = task_of(ctx), loan_of(ctx.data), workspace_of(ctx, ports)
    assert loan is not None
    slot_path = loan.slot_path
    limit = timeout or timedelta(seconds=ctx.settings["command_timeout_seconds"])

    def spec(attempt: Attempt) -> CommandSpec:
        return CommandSpec(
            command_id=attempt.idempotency_key,
            run_id=ctx.run_id,
            command=command,
            slot_path=slot_path,
            timeout=limit,
            env=task.env,
            pass_env=task.pass_env,
            network=bool(ctx.settings["network"]),
            max_output_bytes=ctx.settings["max_output_bytes"],
        )

    def result(ended: CommandResult, *, crashed: bool = True) -> Json:
        if ended.status in BROKEN_OFF:
            snapshot = str(ctx.last_recorded("snapshot"))
            workspace.restore(snapshot)
        else:
            snapshot = workspace.snapshot()
        return {
            "command": command,
            "status": ended.status,
            "exit_code": ended.exit_code,
            "output": ended.output,
            "omitted_bytes": ended.omitted_bytes,
            "seconds": round(ended.duration.total_seconds(), 3),
            "sandbox": ended.sandbox,
            "snapshot": snapshot,
            "lost": crashed and ended.status == "interrupted",
        }

    def attach(attempt: Attempt) -> Json:
        # With no attempt that a death took, this one settles what failed: on a full disk, say.
        return result(ports.commands.attach(spec(attempt), attempt.stop), crashed=attempt.lost > 0)

    recorded = ctx.effect(
        f"command.{name}",
        lambda attempt: result(ports.commands.run(spec(attempt), attempt.stop)),
        key=f"{command}#{turn}" if turn else command,
        policy=Adopt(attach),
        note={"command": command},
    )
    ctx.stop.check()
    return Ended(
        status=recorded["status"],
        exit_code=recorded["exit_code"],
        output=recorded["output"],
        seconds=recorded["seconds"],
        lost=recorded.get("lost", recorded["status"] == "interrupted"),
    )
