"""Errands: a lifecycle that uses all the engine has, in a world kept in a file, for tests that kill it everywhere.

Run as a process it opens the journal, takes the one run up (or begins it) and drives it, until it is killed.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
from necrocode.engine.testing import Mortal, Place, broken_promises
from necrocode.engine.testing.connections import mortal_connections

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
    #: Who reaches it, if that is somebody who may die.
    mortal: Mortal = field(default_factory=Mortal)

    def happen(self, what: str, key: str, **more: Any) -> None:
        """Something happens. A death may come before it, and after it."""
        with self.mortal.crossing("call", what):
            descriptor = os.open(self.path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
            try:
                os.write(descriptor, json.dumps({"what": what, "key": key, **more}).encode() + b"\n")
            finally:
                os.close(descriptor)

    def happened(self, what: str | None = None, key: str | None = None) -> list[dict[str, Any]]:
        """What happened so far. Only a look, but death may come while one looks too."""
        with self.mortal.crossing("look", what or "all"):
            return self._read(what, key)

    def _read(self, what: str | None, key: str | None) -> list[dict[str, Any]]:
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
                world.happen("buy", attempt.idempotency_key, thing=thing)
                return {"thing": thing, "for": "x" * 3000}

            def ask(attempt: Attempt, thing: str = thing) -> Any:
                return {"thing": thing, "for": "x" * 3000} if world.happened("buy", attempt.idempotency_key) else None

            bought = ctx.effect("buy", buy, key=thing, policy=Reconcile(ask))
            assert bought["thing"] == thing
        return Outcome("bought", {"bag": list(THINGS), "at": ctx.now().isoformat()})

    def cooking(ctx: Context) -> Outcome:
        meals = ctx.data.get("meals", 0) + 1
        heat = ctx.random()

        def cook(attempt: Attempt) -> Any:
            world.happen("cook", attempt.idempotency_key, heat=heat)
            if len(world.happened("cook", attempt.idempotency_key)) == 1:
                raise Transient("the gas went out")
            return {"heat": heat}

        cooked = ctx.effect("cook", cook, retry=QUICK)
        assert cooked == {"heat": heat}
        return Outcome("burnt" if meals == 1 else "cooked", {"meals": meals, "heat": heat})

    def serving(ctx: Context) -> Outcome:
        def carry(attempt: Attempt) -> Any:
            world.happen("carry", attempt.idempotency_key)
            return "carried"

        def wait_for(attempt: Attempt) -> Any:
            return "carried" if world.happened("carry", attempt.idempotency_key) else "dropped"

        plate = ctx.effect("carry", carry, policy=Adopt(wait_for))
        assert len(ctx.history("cooking")) == 4
        return Outcome("served", {"plate": plate})

    def thanking(ctx: Context) -> Outcome:
        def ring(attempt: Attempt) -> Any:
            world.happen("ring", attempt.idempotency_key)
            raise TaskError("nobody at home", stop_reason="absent")

        try:
            ctx.effect("ring", ring)
        except TaskError:
            ctx.warn("absent", {"message": "nobody at home"})
            ctx.post("mail", "thanks", {"plate": ctx.data["plate"], "seen": ctx.head()})

        def faulty(_: Attempt) -> Any:
            raise Transient("no stamp")

        try:
            ctx.effect("stamp", faulty, tolerate=True)
        except EffectFailed:
            ctx.warn("no_stamp", {})
        return Outcome("thanked")

    def recover(ctx: Context) -> Mapping[str, Any]:
        ctx.effect("wake", lambda attempt: world.happen("wake", attempt.idempotency_key))
        return {"woken": ctx.epoch}

    def park(_: Context, fault: EngineError) -> Mapping[str, Any]:
        assert getattr(fault, "stop_reason", "") == "poison", f"nothing else should park: {fault}"
        return {}

    handlers = {"shopping": shopping, "cooking": cooking, "serving": serving, "thanking": thanking}
    return Program(TABLE, handlers, recover=recover, park=park)


def live(journal: Journal, world: World, observer: Observer | None = None) -> RunRecord:
    """What one process does: begin the run if there is none yet, take it as far as it goes, deliver the mail."""
    runs = journal.runs()
    run = runs[0] if runs else journal.create(TABLE, subject="dinner", data={})
    driver = Driver(journal, errands(world), observer=observer)
    run = driver.drive(run.run_id, force=run.stop_reason == "poison")
    if run.stop_reason == "poison":
        # Too many were killed at one place, as tests do: a person looked, and insists.
        run = driver.drive(run.run_id, force=True)

    def post(parcel: Parcel) -> None:
        world.happen("mail", parcel.item_id)

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
    """One process's life, which may end itself by SIGKILL: at the n-th place of the seam, or after the n-th entry."""
    entries = 0

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def plan(_: Place) -> bool:
        if mortal.places == die_at:
            die()
        return False

    def observe(*_: object) -> None:
        nonlocal entries
        entries += 1
        if entries == die_at_entry:
            die()

    mortal = Mortal(plan)
    # Who really is killed needs no other name than its own.
    with Journal(path, connections=mortal_connections(mortal)) as journal:
        live(journal, World(world_path, mortal), observe)


class Dinner:
    """The errands as a scenario of the testing kit."""

    def __init__(self, world_path: Path) -> None:
        self.path = world_path

    def live(self, journal: Journal, mortal: Mortal) -> None:
        live(journal, World(self.path, mortal))

    def check(self, journal: Journal, deaths: Sequence[Place]) -> None:
        check(journal, World(self.path), len(deaths))
