"""Commands of the lifecycle as effects: started once, adopted after a crash, each with a snapshot of what it left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from necrocode.engine.context import Context
from necrocode.engine.effects import Adopt, Attempt, Json
from necrocode.engine.errors import TaskError
from necrocode.states.loan import loan_of, task_of, workspace_of
from necrocode.states.ports import CommandResult, CommandSpec, Ports, TakenReport

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
    #: What it said of each test, as :meth:`necrocode.states.junit.Report.as_json` gives it.
    report: Json = None

    @property
    def passed(self) -> bool:
        """It ran to its end and said so with exit code 0."""
        return self.status == "exited" and self.exit_code == 0


@dataclass(frozen=True, slots=True)
class Order:
    """A command, and what is to be known of it."""

    command: str
    #: What tells it from others of its name; ``None``: the command itself.
    key: str | None = None
    #: ``None``: as configured.
    timeout: timedelta | None = None
    #: Whether it is asked after single tests.
    reports: bool = False
    #: Files that it writes about them: patterns as in ``.gitignore``.
    junit: Sequence[str] = ()
    #: Recorded with how it ended.
    facts: Mapping[str, Json] = field(default_factory=dict)


def run_command(ctx: Context, ports: Ports, name: str, order: Order) -> Ended:
    """Run one of the task's commands in the slot as the effect ``command.{name}``.

    One that was broken off (lost in a crash, or stopped with the runner) has its files put back to those before it
    and is begun anew, as another command; a lost one up to :data:`RERUNS` times.
    """
    turn = lost = 0
    while lost <= RERUNS:
        ended = _run_once(ctx, ports, name, order, turn)
        if ended.status not in BROKEN_OFF:
            return ended
        turn += 1
        lost += ended.lost
    raise TaskError(f"{order.command!r} was lost in a crash {lost} times", stop_reason="command_lost")


def _run_once(ctx: Context, ports: Ports, name: str, order: Order, turn: int) -> Ended:
    task, loan, workspace = task_of(ctx), loan_of(ctx.data), workspace_of(ctx, ports)
    assert loan is not None
    slot_path = loan.slot_path
    limit = order.timeout or timedelta(seconds=ctx.settings["command_timeout_seconds"])
    reports = ports.reports if order.reports else None
    network = ctx.settings["network"]
    stamps: Json = {}
    if order.reports and order.junit:
        stamps = ctx.observe(
            "tests.stamps", lambda: {} if reports is None else dict(reports.stamps(slot_path, order.junit))
        )

    def spec(attempt: Attempt) -> CommandSpec:
        made = CommandSpec(
            command_id=attempt.idempotency_key,
            run_id=ctx.run_id,
            command=order.command,
            slot_path=slot_path,
            timeout=limit,
            env=task.env,
            pass_env=task.pass_env,
            network=tuple(network) if isinstance(network, list | tuple) else bool(network),
            max_output_bytes=ctx.settings["max_output_bytes"],
        )
        return made if reports is None else replace(made, env={**made.env, **reports.variables(made)})

    def result(attempt: Attempt, ended: CommandResult, *, crashed: bool = True) -> Json:
        # Before the snapshot: what was only written for us is no part of it.
        taken = None if reports is None else reports.take(spec(attempt), order.junit, stamps)
        if ended.status in BROKEN_OFF:
            snapshot = str(ctx.last_recorded("snapshot"))
            workspace.restore(snapshot)
        else:
            snapshot = workspace.snapshot()
        return {
            **order.facts,
            "command": order.command,
            "status": ended.status,
            "exit_code": ended.exit_code,
            "output": ended.output,
            "omitted_bytes": ended.omitted_bytes,
            **({"whole": ended.whole} if ended.whole else {}),
            "seconds": round(ended.duration.total_seconds(), 3),
            "sandbox": ended.sandbox,
            "snapshot": snapshot,
            "lost": crashed and ended.status == "interrupted",
            **_told(taken),
        }

    def attach(attempt: Attempt) -> Json:
        # With no attempt that a death took, this one settles what failed: on a full disk, say.
        return result(attempt, ports.commands.attach(spec(attempt), attempt.stop), crashed=attempt.lost > 0)

    key = order.command if order.key is None else order.key
    recorded = ctx.effect(
        f"command.{name}",
        lambda attempt: result(attempt, ports.commands.run(spec(attempt), attempt.stop)),
        key=f"{key}#{turn}" if turn else key,
        policy=Adopt(attach),
        note={"command": order.command},
    )
    ctx.stop.check()
    if recorded.get("report_problems"):
        ctx.warn("test_report", {"command": order.command, "message": "; ".join(recorded["report_problems"])})
    return Ended(
        status=recorded["status"],
        exit_code=recorded["exit_code"],
        output=recorded["output"],
        seconds=recorded["seconds"],
        lost=recorded.get("lost", recorded["status"] == "interrupted"),
        report=recorded.get("report"),
    )


def _told(taken: TakenReport | None) -> dict[str, Json]:
    """What is recorded of JUnit files, if there is anything to say."""
    if taken is None:
        return {}
    report: dict[str, Json] = {} if taken.report is None else {"report": taken.report.as_json()}
    return {**report, **({"report_problems": list(taken.problems)} if taken.problems else {})}
