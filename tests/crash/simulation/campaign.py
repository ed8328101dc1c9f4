"""The simulated part of the campaign: every single place of every scenario, pairs of places, and chance."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from functools import partial
from itertools import count, islice

from tests.crash.parts import Asked, Job, Part
from tests.crash.simulation.scenarios import SCENARIOS, Scenario
from tests.crash.simulation.schedules import Crossings, pairs, random_schedules, singles
from tests.crash.simulation.trial import Result, Schedule, Trial, undisturbed
from tests.crash.tally import Failure, Tally

NAME = "simulated"

KINDS = {"single": 50, "pair": 15, "random": 8}
"""Kinds of schedules, and how many of each a worker tries in a row: the singles come to their end first."""

Numbered = tuple[int, Schedule]


def jobs(asked: Asked, workers: Executor) -> Iterator[Job]:
    """Every scenario in turn, some schedules of each kind; the singles end at some time, the others do not.

    Raises ``AssertionError`` if a life without faults is already wrong.
    """
    scenarios = [scenario for scenario in SCENARIOS if asked.only in scenario.name]
    lives = list(zip(scenarios, workers.map(undisturbed, scenarios), strict=True))
    sources = [_cut(kind, scenario, life, asked.seed) for scenario, life in lives for kind in KINDS]
    while sources:
        for source in tuple(sources):
            job = next(source, None)
            if job is None:
                sources.remove(source)
            else:
                yield job


def again(words: str, asked: Asked) -> Tally:
    """Try ``SCENARIO/KIND/NUMBER`` once more."""
    name, _, rest = words.partition("/")
    kind, _, number = rest.partition("/")
    found = [scenario for scenario in SCENARIOS if scenario.name == name]
    if not found or kind not in KINDS or not number.isdigit():
        raise ValueError(f"{words!r} is no simulated trial: it should read like {SCENARIOS[0].name}/pair/7")
    made = _schedules(kind, found[0], undisturbed(found[0]), asked.seed)
    return make(kind, found[0], list(islice(made, int(number), int(number) + 1)))


SIMULATED = Part(NAME, "deaths", jobs, again)


def make(kind: str, scenario: Scenario, schedules: Sequence[Numbered]) -> Tally:
    """Try some schedules."""
    tally = Tally()
    for number, schedule in schedules:
        result = Trial(scenario, schedule).run()
        tally.take(kind, scenario.name, _places(result), _failure(kind, number, result), _besides(result))
    return tally


def _places(result: Result) -> list[str]:
    return [f"{place.moment} {place.name if place.kind == 'call' else place.kind}" for place in result.died_at]


def _besides(result: Result) -> Iterator[str]:
    yield from (f"in {state}" for state in result.died_in)
    if result.paused_at is not None:
        yield "processes paused and superseded"


def _failure(kind: str, number: int, result: Result) -> Failure | None:
    if not result.violations:
        return None
    words = (str(result.schedule), *result.violations)
    return Failure(f"{NAME}/{result.scenario.name}/{kind}/{number}", words)


def _cut(kind: str, scenario: Scenario, life: Crossings, seed: int) -> Iterator[Job]:
    schedules = _schedules(kind, scenario, life, seed)
    while batch := list(islice(schedules, KINDS[kind])):
        yield partial(make, kind, scenario, batch)


def _schedules(kind: str, scenario: Scenario, life: Crossings, seed: int) -> Iterator[Numbered]:
    chance = random.Random(f"{seed}/{scenario.name}/{kind}")
    if kind == "single":
        return zip(count(), singles(life), strict=False)
    return zip(
        count(), pairs(life, chance) if kind == "pair" else random_schedules(scenario, life, chance), strict=False
    )
