"""The examination of what cuts left: whole, nothing acknowledged missing, and a process can go on with it."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from necrocode.engine.errors import EngineError
from necrocode.engine.journal import Journal
from necrocode.engine.testing.powercut import Cut, drawn, remains, sweep_size, swept
from tests.crash.power_cut.lives import DURABILITIES, PROGRAMS, Recorded
from tests.engine import errands
from tests.engine.errands import World


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

    def add(self, other: Tally) -> None:
        """Add what another found."""
        self.states += other.states
        self.swept += other.swept
        self.gone_on += other.gone_on
        self.lost |= other.lost
        self.violations += other.violations

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return {
            "states": sum(self.states.values()),
            "swept": self.swept,
            "gone_on": self.gone_on,
            "most_acknowledged_entries_lost": {durability: self.lost[durability] for durability in DURABILITIES},
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


def examine(recorded: Recorded, states: int, folder: Path, tally: Tally, *, seed: int = 1, every: int = 10) -> None:
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
