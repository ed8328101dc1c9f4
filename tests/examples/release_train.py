"""A release train on the engine alone: wagons are built, shunted into the yard and announced; or all come off again.

    python -m tests.examples.release_train JOURNAL YARD WAGON…

Kill it wherever you like and call it again: it goes on where it was. Nothing here knows of git, models or tasks. The
yard is a folder, a wagon a file in it that can be moved there once.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from necrocode.engine.context import Context
from necrocode.engine.driver import Driver, Outcome, Program
from necrocode.engine.effects import Attempt, Json, Reconcile
from necrocode.engine.entry import Entry
from necrocode.engine.errors import SubjectBusy, TaskError, Transient
from necrocode.engine.journal import Journal
from necrocode.engine.lifecycle import Lifecycle, State, Transition, rows
from necrocode.engine.retry import RetryPolicy
from necrocode.engine.runs import RunRecord

TRAIN = Lifecycle(
    name="release-train",
    version=1,
    initial="building",
    states=[
        State("building", "builds every wagon; the same wagon always comes out the same"),
        State("shunting", "moves each wagon into the yard, once"),
        State("departing", "checks what stands in the yard, and announces the train"),
        State("uncoupling", "takes everything out of the yard again"),
        State("departed", terminal=True),
        State("stabled", terminal=True),
    ],
    transitions=[
        Transition("built", "building", "shunting"),
        Transition("shunted", "shunting", "departing", "all_wagons_stand"),
        Transition("announced", "departing", "departed"),
        Transition("uncoupled", "uncoupling", "stabled"),
        *rows("error", ("building", "shunting", "departing"), "uncoupling"),
        *rows("cancel", ("building", "shunting"), "uncoupling"),
    ],
    guards={"all_wagons_stand": lambda data: data["standing"] == data["wagons"]},
)

STUBBORN = RetryPolicy(attempts=3, first_wait=timedelta(milliseconds=20))


class Yard:
    """The world outside: a folder, and a shunter who sometimes needs to be asked twice."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def shunt(self, wagon: str, load: str) -> None:
        """Move a wagon in, whole or not at all. Raises ``FileExistsError`` if it was moved already."""
        if not (self.folder / "awake").exists():
            (self.folder / "awake").touch()
            raise Transient("the shunter was asleep")
        coming = self.folder / f"{wagon}.coming"
        coming.write_text(load)
        (self.folder / f"{wagon}.wagon").hardlink_to(coming)

    def uncouple(self, wagon: str) -> None:
        """Move a wagon out, if it stands there."""
        (self.folder / f"{wagon}.wagon").unlink(missing_ok=True)

    def load_of(self, wagon: str) -> str | None:
        """What a wagon in the yard carries; ``None`` if it does not stand there."""
        file = self.folder / f"{wagon}.wagon"
        return file.read_text() if file.exists() else None


def release_train(yard: Yard) -> Program:
    """The lifecycle, at work in ``yard``."""

    def build(wagon: str, _: Attempt) -> Json:
        return hashlib.sha256(wagon.encode()).hexdigest()

    def move(wagon: str, load: str, _: Attempt) -> Json:
        yard.shunt(wagon, load)
        return wagon

    def find(wagon: str, load: str, _: Attempt) -> Json | None:
        """What a process that died while it moved the wagon asks: does it stand there already?"""
        return wagon if yard.load_of(wagon) == load else None

    def remove(wagon: str, _: Attempt) -> Json:
        yard.uncouple(wagon)
        return wagon

    def building(ctx: Context) -> Outcome:
        loads = {}
        for wagon in ctx.data["wagons"]:
            if not wagon.isalpha():
                raise TaskError(f"there is no wagon {wagon!r}", stop_reason="no_such_wagon")
            loads[wagon] = ctx.effect("build", partial(build, wagon), key=wagon)
        return Outcome("built", {"loads": loads})

    def shunting(ctx: Context) -> Outcome:
        for wagon in ctx.data["wagons"]:
            load = ctx.data["loads"][wagon]
            stands = Reconcile(partial(find, wagon, load))
            ctx.effect("shunt", partial(move, wagon, load), key=wagon, policy=stands, retry=STUBBORN)
        return Outcome("shunted", {"standing": ctx.data["wagons"]})

    def departing(ctx: Context) -> Outcome:
        for wagon in ctx.data["wagons"]:
            found = ctx.observe("inspect", partial(yard.load_of, wagon), key=wagon)
            if found != ctx.data["loads"][wagon]:
                raise TaskError(f"wagon {wagon} carries something else", stop_reason="wrong_load")
        ctx.post("loudspeaker", "announce", {"train": ctx.data["wagons"], "at": ctx.now().isoformat()})
        return Outcome("announced")

    def uncoupling(ctx: Context) -> Outcome:
        for wagon in ctx.data["wagons"]:
            ctx.effect("uncouple", partial(remove, wagon), key=wagon)
        return Outcome("uncoupled", {"standing": []})

    handlers = {"building": building, "shunting": shunting, "departing": departing, "uncoupling": uncoupling}
    return Program(TRAIN, handlers)


def run(journal: Journal, yard: Yard, wagons: list[str], *, pause: float = 0) -> RunRecord:
    """Send the train off, or take it up where a process before this one left it."""
    try:
        run_id = journal.create(TRAIN, subject=str(yard.folder), data={"wagons": wagons, "standing": []}).run_id
    except SubjectBusy as busy:
        run_id = busy.run_id

    def tell(entry: Entry, _: Mapping[str, Any]) -> None:
        print(entry.kind, entry.name, entry.key, flush=True)  # noqa: T201
        time.sleep(pause)

    return Driver(journal, release_train(yard), observer=tell).drive(run_id)


def main(arguments: list[str]) -> int:
    """The command line: 0 if the train has departed."""
    journal_path, folder, *wagons = arguments
    with Journal(Path(journal_path)) as journal:
        return 0 if run(journal, Yard(Path(folder)), wagons, pause=0.01).state == "departed" else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
