"""``python -m tests.crash.power_cut --states N``: recorded lives, and the disks that power cuts leave of them.

At ``power-loss`` durability nothing that was acknowledged may be missing from any, at ``process-crash`` each must still
be whole. Negative controls leave out a sync, and must be caught.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import sqlite3
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from necrocode.engine.database import Durability
from necrocode.engine.driver import Driver
from necrocode.engine.errors import EngineError
from necrocode.engine.journal import Journal
from necrocode.engine.lifecycle import Lifecycle
from necrocode.engine.testing import Mortal
from necrocode.engine.testing.powercut import Cut, Lies, Witness, drawn, remains, sweep_size, swept
from necrocode.engine.testing.recording import Created, NamesSynced, Operation, Recording, Synced
from necrocode.states.lifecycle import LIFECYCLE
from necrocode.states.program import coding_program
from tests.crash.simulation.ports import Adapters
from tests.crash.simulation.scenarios import FAILED, FLAKY, REPOSITORY, SUCCESS, Scenario
from tests.crash.simulation.world import World as SimWorld
from tests.engine import errands
from tests.engine.errands import World

PROGRAMS: Mapping[str, Lifecycle] = {each.name: each for each in (errands.TABLE, LIFECYCLE)}

Open = Callable[[], Journal]
Connections = Callable[[type[sqlite3.Connection]], type[sqlite3.Connection]]


class TimedWorld(World):
    """The errands' world, which remembers at which moment of the recording each thing happened."""

    def __init__(self, path: Path, recording: Recording) -> None:
        super().__init__(path)
        self._recording = recording
        self.moments: list[int] = []

    def happen(self, what: str, key: str, **more: Any) -> None:
        super().happen(what, key, **more)
        self.moments.append(len(self._recording.operations))

    def until(self, position: int) -> list[str]:
        """The lines of what had happened when so many operations had been done."""
        happened = sum(1 for moment in self.moments if moment <= position)
        return self.path.read_text().splitlines(keepends=True)[:happened]


@dataclass(frozen=True)
class Life:
    """What is done while it is recorded: journals are opened, runs driven. Tells the world, if it can be gone on in."""

    name: str
    live: Callable[[Open, Witness, Path], TimedWorld | None]
    #: Pages in the log from which on a commit empties it into the database; ``None``: as the product has it.
    checkpoint: int | None = None


@dataclass(frozen=True)
class Recorded:
    """One life, recorded."""

    life: Life
    #: What is promised of it.
    durability: Durability
    witness: Witness
    #: Every entry that was ever written: run and number → hash.
    written: Mapping[tuple[str, int], str]
    world: TimedWorld | None

    @property
    def recording(self) -> Recording:
        return self.witness.recording


def record(
    life: Life, durability: Durability, folder: Path, connections: Connections = lambda recorded: recorded
) -> Recorded:
    """Live it in ``folder``. ``connections``: what is made of the recorded class of connections."""
    path = folder / "journal" / "journal.db"
    path.parent.mkdir(parents=True)
    recording = Recording(path.parent)
    witness = Witness(recording)
    factory = connections(_checkpointing(recording.connections, life.checkpoint))
    # A process that is not there: whoever resumes the run need not kill it.
    identity = Mortal().identity
    try:
        world = life.live(
            lambda: Journal(path, durability=durability, connections=factory, identity=identity), witness, folder
        )
    finally:
        recording.close()
    with Journal(path) as journal:
        entries = (each for run in journal.runs() for each in journal.entries(run.run_id))
        written = {(each.run_id, each.seq): each.hash for each in entries}
    return Recorded(life, durability, witness, written, world)


def _checkpointing(recorded: type[sqlite3.Connection], pages: int | None) -> type[sqlite3.Connection]:
    if pages is None:
        return recorded

    class Checkpointing(recorded):  # type: ignore[misc, valid-type]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.execute(f"PRAGMA wal_autocheckpoint = {pages}")

    return Checkpointing


def never_syncing(recorded: type[sqlite3.Connection]) -> type[sqlite3.Connection]:
    """Connections that leave all syncing to the system, whatever the journal asks for."""

    class Unsynced(recorded):  # type: ignore[misc, valid-type]
        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            return super().execute("PRAGMA synchronous = OFF" if "synchronous" in sql else sql, *parameters)

    return Unsynced


# --- lives ---


def dine(journal: Journal, witness: Witness, world: World, subject: str) -> None:
    """A whole life of errands."""
    run = journal.create(errands.TABLE, subject=subject, data={})
    Driver(journal, errands.errands(world), observer=witness).drive(run.run_id)


def _errands(opened: Open, witness: Witness, folder: Path) -> TimedWorld:
    world = TimedWorld(folder / "world", witness.recording)
    with opened() as journal:
        errands.live(journal, world, witness)
    return world


def _one_after_the_other(opened: Open, witness: Witness, folder: Path) -> None:
    for number in range(2):
        with opened() as journal:
            dine(journal, witness, World(folder / f"world-{number}"), f"dinner {number}")


def _side_by_side(opened: Open, witness: Witness, folder: Path) -> None:
    with opened() as journal:
        threads = [
            threading.Thread(target=dine, args=(journal, witness, World(folder / f"world-{n}"), f"dinner {n}"))
            for n in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def _coding(scenario: Scenario) -> Callable[[Open, Witness, Path], None]:
    def live(opened: Open, witness: Witness, folder: Path) -> None:
        world = SimWorld(folder / "world", dict(REPOSITORY))
        ports = Adapters().ports(world, Mortal(), scenario.answers, scenario.max_turns, lambda *_: None)
        with opened() as journal:
            run = journal.create(LIFECYCLE, **scenario.begin())
            ended = Driver(journal, coding_program(ports), observer=witness).drive(run.run_id)
            assert (ended.state, ended.stop_reason) == scenario.ends

    return live


ERRANDS = Life("errands", _errands)
CHECKPOINTS = Life("errands, the log emptied often", _errands, checkpoint=8)
LIVES = (
    ERRANDS,
    CHECKPOINTS,
    Life("errands, one process after the other", _one_after_the_other),
    Life("errands, three runs side by side", _side_by_side, checkpoint=24),
    Life("coding", _coding(SUCCESS)),
    Life("coding, tests fail at first, the log emptied often", _coding(FLAKY), checkpoint=16),
    Life("coding, the task fails", _coding(FAILED), checkpoint=200),
)


# --- what must be true of every disk ---


@dataclass
class Tally:
    """What was found, as it adds up."""

    #: Different disks that were opened, by life.
    states: Counter[str] = field(default_factory=Counter)
    #: Of those, such as the sweep of all moments made.
    swept: int = 0
    #: Of those, such as a process went on with to the end.
    gone_on: int = 0
    #: The most acknowledged entries that one cut lost, by durability.
    lost: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return {
            "states": sum(self.states.values()),
            "swept": self.swept,
            "gone_on": self.gone_on,
            "most_acknowledged_entries_lost": dict(self.lost),
            "by_life": dict(sorted(self.states.items())),
            "violations": self.violations,
        }


class Examiner:
    """Opens what cuts left of one recording, each different disk once, in ``folder``."""

    def __init__(self, recorded: Recorded, folder: Path, tally: Tally) -> None:
        self._recorded, self._folder, self._tally = recorded, folder, tally
        self._name = f"{recorded.life.name} ({recorded.durability})"
        self._seen = set[tuple[bytes, int]]()

    def look_at(self, cut: Cut) -> bool:
        """Whether it was another disk than those before (or more was promised of it)."""
        acknowledged = self._recorded.witness.acknowledged(cut.position)
        key = (cut.digest, len(acknowledged))
        if key in self._seen:
            return False
        self._seen.add(key)
        found = remains(cut, self._emptied() / "journal.db", self._recorded.written, PROGRAMS)
        lost, durability = found.lost(acknowledged), self._recorded.durability
        self._tally.states[self._name] += 1
        self._tally.lost[durability] = max(self._tally.lost[durability], len(lost))
        self._say(cut, [*found.problems, *(lost if durability == "power-loss" else [])])
        return True

    def go_on(self, cut: Cut) -> None:
        """After the cut, another process goes on in the world as it was then: it ends as it must."""
        then = self._recorded.world
        if then is None or self._recorded.durability != "power-loss":
            return
        folder = self._emptied()
        for name, content in cut.files.items():
            (folder / name).write_bytes(content)
        world = World(folder / "world")
        world.path.write_text("".join(then.until(cut.position)))
        try:
            with Journal(folder / "journal.db", durability="process-crash") as journal:
                errands.live(journal, world)
                errands.check(journal, world, deaths=1)
        except (AssertionError, EngineError) as error:
            self._say(cut, [f"another process could not go on: {type(error).__name__}: {error}"])
        self._tally.gone_on += 1

    def _say(self, cut: Cut, wrong: Iterable[str]) -> None:
        self._tally.violations += [f"{self._name}, {cut}: {words}" for words in wrong]

    def _emptied(self) -> Path:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir()
        return self._folder


def examine(recorded: Recorded, states: int, folder: Path, tally: Tally, *, seed: int = 1, every: int = 25) -> None:
    """Look at ``states`` disks, if there are so many: half of the sweep, half by chance; go on with some."""
    examiner, found = Examiner(recorded, folder, tally), 0

    def look(cuts: Iterable[Cut], most: int) -> int:
        nonlocal found
        new = 0
        for cut in cuts:
            if new >= most:
                break
            if examiner.look_at(cut):
                new, found = new + 1, found + 1
                if found % every == 0:
                    examiner.go_on(cut)
        return new

    recording = recorded.recording
    tally.swept += look(swept(recording, share=min(1, 0.75 * states / sweep_size(recording)), seed=seed), states)
    for number in range(8):
        look(drawn(recording, 2 * max(1, states - found), seed=seed + number), states - found)


# --- negative controls ---


@dataclass(frozen=True)
class Control:
    """A disk or a journal that does not sync as it should."""

    name: str
    life: Life = ERRANDS
    durability: Durability = "power-loss"
    connections: Connections = lambda recorded: recorded
    #: Of the recording's files: which names the disk only says it had synced; ``"/"`` is the folder.
    unsynced: frozenset[str] = frozenset()
    promised: Durability = "power-loss"


_LOG, _DATABASE = "journal.db-wal", "journal.db"
CONTROLS = (
    Control("the journal syncs at checkpoints only", durability="process-crash"),
    Control("the journal never syncs", connections=never_syncing),
    Control("the disk syncs nothing", unsynced=frozenset({_LOG, _DATABASE, "/"})),
    Control("the disk does not sync the log", unsynced=frozenset({_LOG})),
    Control("the disk does not sync names", unsynced=frozenset({"/"})),
    Control(
        "the disk does not sync the database before the log starts anew", CHECKPOINTS, unsynced=frozenset({_DATABASE})
    ),
    Control(
        "the disk does not sync the log before the database is written",
        CHECKPOINTS,
        "process-crash",
        unsynced=frozenset({_LOG}),
        promised="process-crash",
    ),
    Control(
        "the journal never syncs, and promises no more than to be whole",
        CHECKPOINTS,
        connections=never_syncing,
        promised="process-crash",
    ),
)


def caught(control: Control, folder: Path, *, seed: int = 1) -> int | None:
    """How many disks were looked at until something was found; ``None``: nothing was."""
    recorded = record(control.life, control.durability, folder / "life", control.connections)
    recorded = replace(recorded, durability=control.promised)
    tally, place = Tally(), folder / "cut"
    examiner = Examiner(recorded, place, tally)
    lies = _unsynced(recorded.recording, control.unsynced)
    for cut in swept(recorded.recording, share=0.2, seed=seed, lies=lies):
        examiner.look_at(cut)
        if tally.violations:
            return sum(tally.states.values())
    return None


def _unsynced(recording: Recording, names: Set[str]) -> Lies:
    files = {each.file for each in recording.operations if isinstance(each, Created) and each.name in names}

    def lies(operation: Operation) -> bool:
        if isinstance(operation, NamesSynced):
            return "/" in names
        return isinstance(operation, Synced) and operation.file in files

    return lies


# --- the command ---


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.power_cut", description=__doc__)
    parser.add_argument("--states", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", type=Path, default=None, metavar="FILE")
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    console, started, tally = Console(), time.monotonic(), Tally()
    durabilities: tuple[Durability, ...] = ("power-loss", "process-crash")
    work = [(life, durability) for life in LIVES for durability in durabilities]
    memory = Path("/dev/shm")
    with (
        tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as name,
        Progress(console=console) as progress,
    ):
        folder = Path(name)
        bar = progress.add_task(f"disks, seed {given.seed}", total=given.states)
        for number, (life, durability) in enumerate(work):
            recorded = record(life, durability, folder / str(number))
            left = given.states - sum(tally.states.values())
            examine(recorded, left // (len(work) - number), folder / "cut", tally, seed=given.seed)
            progress.update(bar, completed=sum(tally.states.values()))
        controls = {each.name: caught(each, folder / each.name, seed=given.seed) for each in CONTROLS}
    for words in tally.violations:
        console.print(f"[red]{words}[/]", soft_wrap=True)
    for what, count in tally.to_json()["by_life"].items():
        console.print(f"{what}: {count} disks", highlight=False)
    for what, after in controls.items():
        console.print(f"negative control: {what}: " + (f"caught, disk {after}" if after else "MISSED"), highlight=False)
    missed = [what for what, after in controls.items() if after is None]
    console.print(
        f"{sum(tally.states.values())} disks ({tally.swept} of the sweep), {tally.gone_on} gone on with, "
        f"{len(tally.violations)} violations; {len(CONTROLS) - len(missed)} of {len(CONTROLS)} negative controls "
        f"caught; most acknowledged entries lost: {dict(tally.lost)}",
        highlight=False,
    )
    if given.report is not None:
        told = {"seed": given.seed, "seconds": round(time.monotonic() - started), **tally.to_json()}
        document = {**told, "controls": {what: {"caught_at_disk": after} for what, after in controls.items()}}
        given.report.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 1 if tally.violations or missed else 0


if __name__ == "__main__":
    sys.exit(main())
