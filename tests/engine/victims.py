"""What processes do that tests stop, kill and supersede."""

from __future__ import annotations

import os
import signal
from datetime import timedelta
from pathlib import Path
from typing import Any

from necrocode.engine.claim import Addition, claim
from necrocode.engine.context import Context
from necrocode.engine.effects import Attempt
from necrocode.engine.errors import EnvironmentFault, LeaseHeld, Superseded
from necrocode.engine.journal import Journal
from tests.engine.workshop import Workshop


def say(path: Path, text: str) -> None:
    path.write_text(f"{text}\n")


def drive_and_wait(path: Path, run_id: str, said: Path, heartbeat: float = 0.1) -> None:
    """Drives the run and waits in its work until it is stopped; says when it is there, and how it ended."""

    def wait(attempt: Attempt) -> Any:
        say(said, "there")
        attempt.stop.wait(timedelta(seconds=60))
        attempt.stop.check()

    with Journal(path) as journal:
        workshop = Workshop(journal, run_id=run_id)
        try:
            run = workshop.drive(lambda ctx: ctx.effect("wait", wait), heartbeat=timedelta(seconds=heartbeat))
            say(said, run.status)
        except LeaseHeld as error:
            say(said, f"LeaseHeld {error}")


def hold_still(path: Path, run_id: str, said: Path) -> None:
    """Holds the run without a heartbeat; then, when it is woken, tries to append."""
    with Journal(path) as journal:
        held = claim(journal, run_id)
        say(said, str(held.epoch))
        os.kill(os.getpid(), signal.SIGSTOP)
        try:
            held.append([Addition("warning", "late", {})])
            say(said, "appended")
        except Superseded:
            say(said, "superseded")


def die_in_work(path: Path, run_id: str, where: str) -> None:
    """Drives the run and dies: in an effect, in recovery, or while it is being parked."""

    def die(*_: object) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)

    def work(ctx: Context) -> Any:
        ctx.effect("first", lambda _: 1)
        return ctx.effect("deadly", die) if where == "work" else None

    with Journal(path) as journal:
        options: dict[str, Any] = (
            {"recover": die} if where == "recovery" else {"park": die} if where == "parking" else {}
        )
        Workshop(journal, run_id=run_id).drive(work if where != "parking" else _fault, **options)


def _fault(_: Context) -> Any:
    raise EnvironmentFault("broken")


def claim_many(path: Path, run_id: str, gate: Path, said: Path) -> None:
    """Waits for the gate and then claims the run; says whether it got it, and keeps it until it is killed."""
    with Journal(path) as journal:
        say(said.with_suffix(".ready"), "ready")
        while not gate.exists():
            pass
        try:
            held = claim(journal, run_id)
        except LeaseHeld:
            say(said, "held")
            return
        say(said, f"got {held.epoch}")
        signal.pause()
