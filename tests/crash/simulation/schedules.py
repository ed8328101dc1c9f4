"""Schedules: every single place, pairs of them, and whatever chance makes."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence

from necrocode.engine.testing import Moment
from tests.crash.simulation.scenarios import Scenario
from tests.crash.simulation.trial import Crossing, Cut, Schedule
from tests.crash.simulation.world import Fate

MOMENTS: tuple[Moment, ...] = ("before", "during", "after")
FATES: tuple[Fate, ...] = ("soon", "later", "lost")

MOST_DEATHS = 40

TAKEN_UP = 60
"""Crossings that it takes, about, until the handler of a run that was taken up again goes on."""

#: Calls that have several places during them, and how many are tried.
STEPS = {"command.run": 3, "command.attach": 2, "slot.lay": 3, "slot.restore": 3, "llm.complete": 2}

Crossings = Sequence[Crossing]


def places(crossings: Crossings) -> Iterator[Cut]:
    """Every place of a life that has these crossings."""
    for number, crossing in enumerate(crossings, 1):
        for moment in MOMENTS:
            for step in range(STEPS.get(crossing.name, 1) if moment == "during" else 1):
                yield Cut(number, moment, step)


def singles(crossings: Crossings) -> Iterator[Schedule]:
    """One death, at every place; during a command, with each of the fates that it can have."""
    for cut in places(crossings):
        doubtful = crossings[cut.number - 1].name == "command.run" and cut.moment == "during"
        for fate in FATES if doubtful else FATES[:1]:
            yield Schedule((cut,), fate=fate)


def pairs(crossings: Crossings, chance: random.Random) -> Iterator[Schedule]:
    """A death, and one while it is recovered from, without end: each state × what is called × moment in turn, then
    chance.
    """
    strata: dict[tuple[Crossing, Moment], list[Cut]] = defaultdict(list)
    for cut in places(crossings):
        strata[crossings[cut.number - 1], cut.moment].append(cut)
    order = sorted(strata)
    while True:
        chance.shuffle(order)
        for stratum in order:
            # Most of what a recovery does comes within its first crossings.
            second = Cut(1 + int(chance.triangular(0, 90, 25)), chance.choice(MOMENTS))
            delays = chance.random() < 0.3
            yield Schedule((chance.choice(strata[stratum]), second), fate=chance.choice(FATES), delays=delays)


def random_schedules(scenario: Scenario, crossings: Crossings, chance: random.Random) -> Iterator[Schedule]:
    """Many deaths, each some way into its process's life; or a pause and a take-over."""
    while True:
        if chance.random() < 0.2 and not scenario.stolen:
            calls = [number for number, crossing in enumerate(crossings, 1) if crossing.kind == "call"]
            pause = Cut(chance.choice(calls), chance.choice(MOMENTS))
            yield Schedule(pause=pause, fate=chance.choice(FATES), duplicates=chance.random() < 0.5)
        else:
            deaths = (Cut(_far(chance), chance.choice(MOMENTS)) for _ in range(chance.randint(4, MOST_DEATHS)))
            twice, late = chance.random() < 0.5, chance.random() < 0.5
            yield Schedule(tuple(deaths), fate=chance.choice(FATES), duplicates=twice, delays=late)


def _far(chance: random.Random) -> int:
    """Crossings until a death: while the run is taken up again (some sixty), soon after it, or well into the work."""
    if chance.random() < 0.3:
        return 1 + int(chance.uniform(0, TAKEN_UP))
    return TAKEN_UP * 3 // 4 + int(chance.expovariate(1 / chance.choice((15, 15, 25, 90))))
