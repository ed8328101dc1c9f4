"""Plans: which scenario is played, and how each of its processes dies."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from tests.crash.scenarios import NAP, SCENARIOS, Scenario

Point: TypeAlias = Literal[
    "before-entry",
    "after-entry",
    "seam",
    "moment",
    "answer",
    "nap",
    "group",
    "supervisor",
    "keeper",
    "command",
    "supervisor+runner",
]

RUNNER_ONLY: tuple[Point, ...] = ("before-entry", "after-entry", "seam", "moment", "answer", "nap")
"""Deaths that leave supervisors and commands alone: a command that was started is adopted."""

IN_A_COMMAND: tuple[Point, ...] = ("nap", "supervisor", "keeper", "command", "supervisor+runner")
"""Deaths that come while the model's command naps."""

Sandbox: TypeAlias = Literal["auto", "off"]


@dataclass(frozen=True)
class Death:
    """How one process is to die."""

    point: Point
    #: Of an entry or seam: which one, from 1. Of an answer: how many requests for one have been made by then. Of the
    #: others: seconds.
    at: float

    def __str__(self) -> str:
        return f"{self.point} {self.at:g}"


@dataclass(frozen=True)
class Plan:
    """What is to be tried."""

    scenario: Scenario
    #: Of the run, then of what resumes it.
    deaths: tuple[Death, ...]
    sandbox: Sandbox = "auto"

    def __str__(self) -> str:
        return f"{self.scenario.name} [sandbox {self.sandbox}]: {', then '.join(map(str, self.deaths))}"

    @classmethod
    def parse(cls, text: str) -> Plan:
        """What ``str`` gave. Raises ``ValueError`` if it is something else."""
        found = re.fullmatch(r"(.*) \[sandbox (auto|off)\]: (.*)", text)
        scenarios = {scenario.name: scenario for scenario in SCENARIOS}
        if found is None or found[1] not in scenarios:
            raise ValueError(f"{text!r} is no plan: it should read like {cls(SCENARIOS[0], (Death('seam', 7),))}")
        words = (death.split(" ") for death in found[3].split(", then ") if death)
        deaths = tuple(Death(_point(point), float(at)) for point, at in words)
        return cls(scenarios[found[1]], deaths, "off" if found[2] == "off" else "auto")


def _point(word: str) -> Point:
    for point in get_args(Point):
        if point == word:
            return point  # type: ignore[no-any-return]
    raise ValueError(f"{word!r} is no way to die: there are {', '.join(get_args(Point))}")


@dataclass(frozen=True)
class Extent:
    """How much there is of an undisturbed run."""

    commits: int
    seams: int
    seconds: float


MOST_DEATHS = 6
"""How many processes of a trial die at most."""


def plans(scenario: Scenario, extent: Extent, chance: random.Random) -> Iterator[Plan]:
    """Several deaths at random, without end: at journal entries, at seams, at moments, of whole groups, of commands."""
    while True:
        deaths = [_death(scenario, extent, chance)]
        for _ in range(chance.randint(2, MOST_DEATHS) - 1):
            deaths.append(_death_in_recovery(extent, chance))
        yield Plan(scenario, tuple(deaths), chance.choice(("auto", "off")))


def sweep(scenario: Scenario, extent: Extent) -> Iterator[Plan]:
    """One death, at every seam, and before and after every commit of entries."""
    for number in range(1, extent.seams + 1):
        yield Plan(scenario, (Death("seam", number),), "off")
    for number in range(1, extent.commits + 1):
        yield Plan(scenario, (Death("before-entry", number),), "off")
        yield Plan(scenario, (Death("after-entry", number),), "off")


def _death(scenario: Scenario, extent: Extent, chance: random.Random) -> Death:
    kinds: dict[Point, int] = {"before-entry": 5, "after-entry": 5, "seam": 7, "moment": 5, "group": 2, "answer": 2}
    if any(NAP in json.dumps(answer) for answer in scenario.answers):
        kinds |= {"nap": 4, "supervisor": 1, "keeper": 1, "command": 1, "supervisor+runner": 2}
    point = chance.choices(list(kinds), weights=list(kinds.values()))[0]
    if point in ("before-entry", "after-entry"):
        # Those that come after it have the rest to die in.
        return Death(point, chance.randint(1, max(1, extent.commits * 2 // 3)))
    if point == "seam":
        return Death(point, chance.randint(1, max(1, extent.seams * 2 // 3)))
    if point == "answer":
        return Death(point, chance.randint(1, len(scenario.answers)))
    if point in IN_A_COMMAND:
        return Death(point, round(chance.uniform(0, 0.3), 3))
    return Death(point, round(chance.uniform(0.02, 0.8) * extent.seconds, 3))


def _death_in_recovery(extent: Extent, chance: random.Random) -> Death:
    """Most of what a recovery does comes soon."""
    point: Point = chance.choices(("before-entry", "after-entry", "seam", "moment", "group"), (5, 5, 7, 3, 1))[0]
    if point in ("before-entry", "after-entry"):
        return Death(point, chance.randint(1, 12))
    if point == "seam":
        return Death(point, chance.randint(1, 100))
    return Death(point, round(chance.uniform(0.02, 0.4) * extent.seconds, 3))
