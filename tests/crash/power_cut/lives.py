"""Lives to record: journals are opened, runs driven, and it is noted what was acknowledged when."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from necrocode.engine.database import Durability
from necrocode.engine.driver import Driver
from necrocode.engine.journal import Journal
from necrocode.engine.lifecycle import Lifecycle
from necrocode.engine.testing import Mortal
from necrocode.engine.testing.powercut import Witness
from necrocode.engine.testing.recording import Recording
from necrocode.states.lifecycle import LIFECYCLE
from necrocode.states.program import coding_program
from tests.crash.simulation.ports import Adapters
from tests.crash.simulation.scenarios import FAILED, FLAKY, REPOSITORY, SUCCESS, Scenario
from tests.crash.simulation.world import World as SimWorld
from tests.engine import errands
from tests.engine.errands import World

DURABILITIES: tuple[Durability, ...] = ("power-loss", "process-crash")

PROGRAMS: Mapping[str, Lifecycle] = {each.name: each for each in (errands.TABLE, LIFECYCLE)}

Open = Callable[[], Journal]
Connections = Callable[[type[sqlite3.Connection]], type[sqlite3.Connection]]


def as_recorded(recorded: type[sqlite3.Connection]) -> type[sqlite3.Connection]:
    """Connections that are no more than recorded."""
    return recorded


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
    #: Whether the file is there and migrated before.
    prepared: bool = True


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


def record(life: Life, durability: Durability, folder: Path, connections: Connections = as_recorded) -> Recorded:
    """Live it in ``folder``. ``connections``: what is made of the recorded class of connections."""
    path = folder / "journal" / "journal.db"
    path.parent.mkdir(parents=True)
    if life.prepared:
        Journal(path).close()
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


def _coding(scenario: Scenario, opened: Open, witness: Witness, folder: Path) -> None:
    world = SimWorld(folder / "world", dict(REPOSITORY))
    ports = Adapters().ports(world, Mortal(), scenario.answers, scenario.max_turns, lambda *_: None)
    with opened() as journal:
        run = journal.create(LIFECYCLE, **scenario.begin())
        ended = Driver(journal, coding_program(ports), observer=witness).drive(run.run_id)
        assert (ended.state, ended.stop_reason) == scenario.ends


ERRANDS = Life("errands", _errands)
CHECKPOINTS = Life("errands, the log emptied often", _errands, checkpoint=8)
LIVES = (
    Life("errands, from no file on", _errands, prepared=False),
    ERRANDS,
    CHECKPOINTS,
    Life("errands, one process after the other", _one_after_the_other),
    Life("errands, three runs side by side", _side_by_side, checkpoint=24),
    Life("coding", partial(_coding, SUCCESS)),
    Life("coding, tests fail at first, the log emptied often", partial(_coding, FLAKY), checkpoint=16),
    Life("coding, the task fails", partial(_coding, FAILED), checkpoint=200),
)
