"""Errands: a lifecycle that uses all the engine has, in a world kept in a file, for tests that kill it everywhere.

Run as a process it opens the journal, takes the one run up (or begins it) and drives it, until it is killed.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from necrocode.engine.claim import Observer
from necrocode.engine.context import Context
from necrocode.engine.driver import Driver, Outcome, Program
from necrocode.engine.effects import Adopt, Attempt, Reconcile
from necrocode.engine.errors import EffectFailed, EngineError, TaskError, Transient
from necrocode.engine.journal import Journal
from necrocode.engine.lifecycle import Lifecycle, State, Transition, rows
from necrocode.engine.outbox import Parcel, deliver
from necrocode.engine.retry import RetryPolicy
from necrocode.engine.runs import RunRecord
from necrocode.engine.testing import Death, Fuse, broken_promises, dying_connections

TABLE = Lifecycle(
    name="errands",
    version=1,
    initial="shopping",
    states=[
        State("shopping", "buys each thing on the list, asking the shop first when in doubt"),
        State("cooking", "cooks; what burns is cooked again"),
        State("serving", "serves what was cooked; a plate that is being carried is waited for"),
        State("thanking", "writes to those who were not at home"),
        State("sated", terminal=True),
        State("hungry", terminal=True),
    ],
    transitions=[
        Transition("bought", "shopping", "cooking"),
        Transition("burnt", "cooking", "shopping", "may_try_again"),
        Transition("cooked", "cooking", "serving"),
        Transition("served", "serving", "thanking"),
        Transition("thanked", "thanking", "sated"),
        *rows("error", ("shopping", "cooking", "serving", "thanking"), "hungry"),
    ],
    guards={"may_try_again": lambda data: data["meals"] < 2},
)

THINGS = ("bread", "wine")
QUICK = RetryPolicy(attempts=3, first_wait=timedelta(0), jitter=0)


@dataclass
class World:
    """What happened outside, one JSON line each."""

    path: Path
    tick: Callable[[], None] = lambda: None

    def happen(self, what: str, attempt: Attempt, **more: Any) -> None:
        """Something happens. A death may come right before it, and right after."""
        self.tick()
        line = {"what": what, "key": attempt.idempotency_key, "epoch": attempt.epoch, **more}
        descriptor = os.open(self.path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
        try:
            os.write(descriptor, json.dumps(line).encode() + b"\n")
        finally:
            os.close(descriptor)
        self.tick()

    def happened(self, what: str | None = None, key: str | None = None) -> list[dict[str, Any]]:
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        known = [json.loads(line) for line in lines]
        return [
            each for each in known if (what is None or each["what"] == what) and (key is None or each["key"] == key)
        ]


def errands(world: World) -> Program:
    """The lifecycle, at work in ``world``."""

    def shopping(ctx: Context) -> Outcome:
        for thing in THINGS:

            def buy(attempt: Attempt, thing: str = thing) -> Any:
                world.happen("buy", attempt, thing=thing)
                return {"thing": thing, "for": "x" * 3000}

            def ask(attempt: Attempt, thing: str = thing) -> Any:
                world.tick()
                return {"thing": thing, "for": "x" * 3000} if world.happened("buy", attempt.idempotency_key) else None

            bought = ctx.effect("buy", buy, key=thing, policy=Reconcile(ask))
            assert bought["thing"] == thing
        return Outcome("bought", {"bag": list(THINGS), "at": ctx.now().isoformat()})

    def cooking(ctx: Context) -> Outcome:
        meals = ctx.data.get("meals", 0) + 1
        heat = ctx.random()

        def cook(attempt: Attempt) -> Any:
            world.happen("cook", attempt, heat=heat)
            if len(world.happened("cook", attempt.idempotency_key)) == 1:
                raise Transient("the gas went out")
            return {"heat": heat}

        cooked = ctx.effect("cook", cook, retry=QUICK)
        assert cooked == {"heat": heat}
        return Outcome("burnt" if meals == 1 else "cooked", {"meals": meals, "heat": heat})

    def serving(ctx: Context) -> Outcome:
        def carry(attempt: Attempt) -> Any:
            world.happen("carry", attempt)
            return "carried"

        def wait_for(attempt: Attempt) -> Any:
            world.tick()
            return "carried" if world.happened("carry", attempt.idempotency_key) else "dropped"

        plate = ctx.effect("carry", carry, policy=Adopt(wait_for))
        assert len(ctx.history("cooking")) == 4
        return Outcome("served", {"plate": plate})

    def thanking(ctx: Context) -> Outcome:
        def ring(attempt: Attempt) -> Any:
            world.happen("ring", attempt)
            raise TaskError("nobody at home", stop_reason="absent")

        try:
            ctx.effect("ring", ring)
        except TaskError:
            ctx.warn("absent", {"message": "nobody at home"})
            ctx.post("mail", "thanks", {"plate": ctx.data["plate"], "seen": ctx.head()})

        def faulty(attempt: Attempt) -> Any:
            world.tick()
            raise Transient("no stamp")

        try:
            ctx.effect("stamp", faulty, tolerate=True)
        except EffectFailed:
            ctx.warn("no_stamp", {})
        return Outcome("thanked")

    def recover(ctx: Context) -> Mapping[str, Any]:
        ctx.effect("wake", lambda attempt: world.happen("wake", attempt))
        return {"woken": ctx.epoch}

    def park(ctx: Context, fault: EngineError) -> Mapping[str, Any]:
        raise AssertionError(f"nothing here should park: {fault}")

    handlers = {"shopping": shopping, "cooking": cooking, "serving": serving, "thanking": thanking}
    return Program(TABLE, handlers, recover=recover, park=park)


def live(journal: Journal, world: World, observer: Observer | None = None) -> RunRecord:
    """What one process does: begin the run if there is none yet, take it as far as it goes, deliver the mail."""
    runs = journal.runs()
    run = runs[0] if runs else journal.create(TABLE, subject="dinner", data={})
    run = Driver(journal, errands(world), observer=observer).drive(run.run_id)

    def post(parcel: Parcel) -> None:
        world.happen("mail", Attempt(parcel.item_id, 1, parcel.epoch, None))  # type: ignore[arg-type]

    deliver(journal, {"mail": post})
    return run


def check(journal: Journal, world: World, deaths: int) -> None:
    """What must be true after all deaths, whatever they cut short."""
    assert list(broken_promises(journal, {"errands": TABLE})) == []
    (run,) = journal.runs()
    assert (run.state, run.status) == ("sated", "closed")
    buys = world.happened("buy")
    assert len(buys) == 4, "each thing is bought once in each visit, never twice"
    assert len({buy["key"] for buy in buys}) == 4
    carries = world.happened("carry")
    assert len(carries) <= 1, "what was begun is never begun again"
    assert run.data["plate"] == ("carried" if carries else "dropped")
    cooks = world.happened("cook")
    assert len({cook["key"] for cook in cooks}) == 2
    assert 4 <= len(cooks) <= 4 + deaths, "cooked again only where a death left a doubt"
    assert {cook["heat"] for cook in cooks[-1:]} == {run.data["heat"]}
    for key in {cook["key"] for cook in cooks}:
        heats = [cook["heat"] for cook in cooks if cook["key"] == key]
        assert len(set(heats)) == 1, "chance falls the same way after every death"
    mails = world.happened("mail")
    assert len({mail["key"] for mail in mails}) == 1
    assert 1 <= len(mails) <= 1 + deaths
    entries = list(journal.entries(run.run_id))
    assert [entry.name for entry in entries if entry.kind == "warning"] == ["absent", "no_stamp"]
    assert len({wake["key"] for wake in world.happened("wake")}) >= min(run.epoch - 1, 1) if deaths else True


def main(path: Path, world_path: Path, die_at: int | None, die_at_entry: int | None) -> None:
    """One process's life, which may end itself by SIGKILL: at a statement or call outside, or after an entry."""

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    fuse = Fuse(die_at, on_death=die)
    seen = 0

    def observe(*_: object) -> None:
        nonlocal seen
        seen += 1
        if seen == die_at_entry:
            die()

    with Journal(path, connections=dying_connections(fuse)) as journal:
        live(journal, World(world_path, fuse.tick), observe)


class Dinner:
    """The errands as a scenario of the testing kit."""

    def __init__(self, world_path: Path) -> None:
        self.path = world_path

    def live(self, journal: Journal, fuse: Fuse) -> None:
        live(journal, World(self.path, fuse.tick))

    def check(self, journal: Journal, deaths: Sequence[int]) -> None:
        check(journal, World(self.path), len(deaths))


__all__ = ["Death", "Dinner", "World", "check", "errands", "live", "main"]
