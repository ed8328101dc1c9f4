"""The campaign: trials until there were enough deaths, counted and reported."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Any

from tests.crash.simulation.scenarios import SCENARIOS, Scenario
from tests.crash.simulation.schedules import Crossings, pairs, random_schedules, singles
from tests.crash.simulation.trial import Result, Schedule, Trial, undisturbed

KINDS = ("single", "pair", "random")

BATCH = 25
"""Trials that a worker makes before it reports."""


@dataclass
class Tally:
    """What trials found, as it adds up."""

    trials: Counter[str] = field(default_factory=Counter)
    #: Deaths, by the kind of schedule.
    deaths: Counter[str] = field(default_factory=Counter)
    #: Deaths, by what was crossed and when.
    places: Counter[str] = field(default_factory=Counter)
    scenarios: Counter[str] = field(default_factory=Counter)
    pauses: int = 0
    violations: list[str] = field(default_factory=list)
    #: Trials with a violation.
    failed: int = 0

    def take(self, kind: str, result: Result) -> None:
        """Add one trial."""
        self.trials[kind] += 1
        self.deaths[kind] += len(result.died_at)
        self.scenarios[result.scenario.name] += len(result.died_at)
        self.pauses += result.paused_at is not None
        for place in result.died_at:
            self.places[f"{place.moment} {place.name if place.kind == 'call' else place.kind}"] += 1
        if result.violations:
            self.failed += 1
            where = f"{result.scenario.name} {result.schedule}"
            self.violations += [f"{where}: {words}" for words in result.violations]

    def add(self, other: Tally) -> None:
        """Add what another worker found."""
        self.trials += other.trials
        self.deaths += other.deaths
        self.places += other.places
        self.scenarios += other.scenarios
        self.pauses += other.pauses
        self.violations += other.violations
        self.failed += other.failed

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return {
            "deaths": sum(self.deaths.values()),
            "trials": sum(self.trials.values()),
            "paused_and_superseded": self.pauses,
            "by_schedule": {
                kind: {"trials": self.trials[kind], "deaths": self.deaths[kind]} for kind in KINDS if self.trials[kind]
            },
            "by_place": dict(sorted(self.places.items())),
            "by_scenario": dict(sorted(self.scenarios.items())),
            "failed_trials": self.failed,
            "violations": self.violations,
        }


Batch = tuple[str, Scenario, list[Schedule]]


def campaign(
    deaths: int,
    *,
    seed: int,
    jobs: int,
    seconds: float | None = None,
    scenarios: Sequence[Scenario] = SCENARIOS,
    told: Callable[[Tally], None] = lambda _: None,
) -> Tally:
    """Make trials until there were ``deaths``, or ``seconds`` have passed: singles, pairs and chance in turn.

    The same seed gives the same schedules. Raises ``AssertionError`` if a life without faults is already wrong.
    """
    tally, started = Tally(), time.monotonic()
    with ProcessPoolExecutor(jobs) as workers:
        lives = list(zip(scenarios, workers.map(undisturbed, scenarios), strict=True))
        batches = _batches(lives, random.Random(seed))
        under_way = {workers.submit(_make, batch) for batch in islice(batches, 2 * jobs)}
        while under_way:
            done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
            for future in done:
                tally.add(future.result())
                told(tally)
                late = seconds is not None and time.monotonic() - started > seconds
                if sum(tally.deaths.values()) < deaths and not late:
                    under_way.add(workers.submit(_make, next(batches)))
    return tally


def _batches(lives: Sequence[tuple[Scenario, Crossings]], chance: random.Random) -> Iterator[Batch]:
    """Every scenario in turn, a batch of each kind; the singles end at some time, the others do not."""
    sources: list[Iterator[Batch]] = []
    for scenario, crossings in lives:
        sources += [
            _cut("single", scenario, singles(crossings)),
            _cut("pair", scenario, pairs(crossings, random.Random(chance.random()))),
            _cut("random", scenario, random_schedules(scenario, crossings, random.Random(chance.random()))),
        ]
    for source in cycle(sources):
        yield from islice(source, 1)


def _cut(kind: str, scenario: Scenario, schedules: Iterator[Schedule]) -> Iterator[Batch]:
    while batch := list(islice(schedules, BATCH)):
        yield kind, scenario, batch


def _make(batch: Batch) -> Tally:
    kind, scenario, schedules = batch
    tally = Tally()
    for schedule in schedules:
        tally.take(kind, Trial(scenario, schedule).run())
    return tally
