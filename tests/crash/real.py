"""The real part of the campaign: the real command in real processes, killed with SIGKILL."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from concurrent.futures import Executor
from functools import cache, partial
from itertools import chain, count, cycle
from multiprocessing.util import Finalize
from pathlib import Path

from tests.crash.nursery import Nursery, Start, afresh
from tests.crash.parts import Asked, Job, Part
from tests.crash.plans import Extent, Plan, plans, sweep
from tests.crash.poison import attempt_poison
from tests.crash.scenarios import SCENARIOS, Scenario
from tests.crash.tally import Failure, Tally
from tests.crash.trial import Result, attempt, measure

NAME = "real"

FRESH = 20
"""One in so many trials starts each of its processes as a new interpreter; the others fork them."""


def jobs(asked: Asked, workers: Executor) -> Iterator[Job]:
    """A trial each: first, if asked for, the sweep; then every scenario in turn, and now and then a run that is killed
    until it is poison.
    """
    scenarios = [scenario for scenario in SCENARIOS if asked.only in scenario.name]
    if not scenarios:
        return
    extents: dict[str, Extent] = {}
    for measured, (extent, failure) in zip(scenarios, workers.map(_measured, scenarios), strict=True):
        extents[measured.name] = extent
        if failure is not None:
            yield partial(_wrong_already, measured.name, failure)
    if asked.sweep:
        every = chain.from_iterable(sweep(each, extents[each.name]) for each in scenarios)
        yield from (partial(try_plan, "sweep", plan) for plan in every)
    chance = random.Random(asked.seed)
    sources = cycle([plans(each, extents[each.name], random.Random(f"{asked.seed}/{each.name}")) for each in scenarios])
    for number in count():
        if number % 40 == 20:
            yield partial(try_poison, chance.randint(3, 20))
        yield partial(try_plan, "chance", next(next(sources)), fresh=number % FRESH == FRESH // 2)


def again(words: str, asked: Asked) -> Tally:
    """Try a plan, or ``poison ENTRY``, once more."""
    del asked
    entry = words.removeprefix("poison ")
    if entry.isdigit():
        return try_poison(int(entry))
    return try_plan("chance", Plan.parse(words))


REAL = Part(NAME, "deaths", jobs, again)


def try_plan(kind: str, plan: Plan, *, fresh: bool = False) -> Tally:
    """Try a plan; with ``fresh`` each process is a new interpreter."""
    return _told(kind, str(plan), attempt(plan, _folder(), afresh if fresh else _forked()))


def try_poison(entry: int) -> Tally:
    """Kill a run at an entry until it is poison."""
    return _told("poison", f"poison {entry}", attempt_poison(entry, _folder(), _forked()))


def _told(kind: str, words: str, result: Result) -> Tally:
    failure = None
    if result.violations:
        found = (f"{each.invariant}: {each.words}" for each in result.violations)
        failure = Failure(f"{NAME}/{words}", (f"killed: {result.killed}", *found), str(result.root))
    tally = Tally()
    tally.take(kind, result.plan.scenario.name, (str(death["kind"]) for death in result.killed), failure)
    return tally


def _measured(scenario: Scenario) -> tuple[Extent, Failure | None]:
    extent, wrong = measure(scenario, _folder(), _forked())
    words = tuple(f"{each.invariant}: {each.words}" for each in wrong)
    return extent, Failure(f"{NAME}/{Plan(scenario, ())}", words) if words else None


def _wrong_already(scenario: str, failure: Failure) -> Tally:
    tally = Tally()
    tally.take("undisturbed", scenario, (), failure)
    return tally


@cache
def _forked() -> Start:
    """How this worker starts processes."""
    nursery = Nursery()
    # Workers of a pool leave without the usual farewells.
    Finalize(None, nursery.close, exitpriority=1)
    return nursery.start


def _folder() -> Path | None:
    """Where trials are made: in memory, where there is such a place."""
    memory = Path("/dev/shm")
    return memory if os.access(memory, os.W_OK) else None
