"""Schedules: every single place, pairs of them, and whatever chance makes."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence

from necrocode.engine.testing import Moment
from tests.crash.simulation.scenarios import Scenario
from tests.crash.simulation.trial import Cut, Schedule
from tests.crash.simulation.world import Fate

MOMENTS: tuple[Moment, ...] = ("before", "during", "after")
FATES: tuple[Fate, ...] = ("soon", "later", "lost")

#: Calls that have several places during them, and how many are tried.
STEPS = {"command.run": 3, "command.attach": 2, "slot.lay": 3, "slot.restore": 3, "llm.complete": 2}

Crossings = Sequence[tuple[str, str]]


def places(crossings: Crossings) -> Iterator[Cut]:
    """Every place of a life that has these crossings."""
    for number, (_, name) in enumerate(crossings, 1):
        for moment in MOMENTS:
            for step in range(STEPS.get(name, 1) if moment == "during" else 1):
                yield Cut(number, moment, step)


def singles(crossings: Crossings) -> Iterator[Schedule]:
    """One death, at every place; during a command, with each of the fates that it can have."""
    for cut in places(crossings):
        doubtful = crossings[cut.number - 1][1] == "command.run" and cut.moment == "during"
        for fate in FATES if doubtful else FATES[:1]:
            yield Schedule((cut,), fate=fate)


def pairs(crossings: Crossings, chance: random.Random) -> Iterator[Schedule]:
    """A death, and one while it is recovered from, without end: spread evenly over what is called, then chance."""
    by_name: dict[tuple[str, str], list[Cut]] = defaultdict(list)
    for cut in places(crossings):
        by_name[crossings[cut.number - 1]].append(cut)
    kinds = sorted(by_name)
    while True:
        for kind in kinds:
            # Most of what a recovery does comes within its first crossings.
            second = Cut(1 + int(chance.triangular(0, 90, 25)), chance.choice(MOMENTS))
            delays = chance.random() < 0.3
            yield Schedule((chance.choice(by_name[kind]), second), fate=chance.choice(FATES), delays=delays)


def random_schedules(scenario: Scenario, crossings: Crossings, chance: random.Random) -> Iterator[Schedule]:
    """Up to a dozen deaths, each some way into its process's life; or a pause and a take-over; or both."""
    while True:
        if chance.random() < 0.25 and not scenario.stolen:
            calls = [number for number, (kind, _) in enumerate(crossings, 1) if kind == "call"]
            pause = Cut(chance.choice(calls), chance.choice(MOMENTS))
            yield Schedule(pause=pause, fate=chance.choice(FATES), duplicates=chance.random() < 0.5)
        else:
            deaths = (Cut(_far(chance), chance.choice(MOMENTS)) for _ in range(chance.randint(3, 12)))
            twice, late = chance.random() < 0.5, chance.random() < 0.5
            yield Schedule(tuple(deaths), fate=chance.choice(FATES), duplicates=twice, delays=late)


def _far(chance: random.Random) -> int:
    """Crossings until a death: short lives, long ones, and those between."""
    return 1 + int(chance.expovariate(1 / chance.choice((15, 60, 150))))
