"""A small size of the campaign: every kind of death in some scenarios, a sample of pairs and chance, every control."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import islice

import pytest

from necrocode.engine.testing import Moment
from tests.crash.parts import Asked
from tests.crash.simulation.campaign import KINDS, again, jobs
from tests.crash.simulation.controls import CONTROLS, Control, Upon, caught
from tests.crash.simulation.scenarios import (
    BRANCH,
    CANCELLED_DEAD,
    CROWDED,
    DEAF,
    FAILED,
    FLAKY,
    MUTE,
    SCENARIOS,
    SUCCESS,
    TAKEN,
    Scenario,
)
from tests.crash.simulation.schedules import MOMENTS, pairs, places, random_schedules, singles
from tests.crash.simulation.trial import Crossing, Cut, Schedule, Trial, undisturbed
from tests.crash.simulation.world import World

named = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)


_lives = dict[str, Sequence[Crossing]]()


def life(scenario: Scenario) -> Sequence[Crossing]:
    """The crossings of a life without faults: the same ones for every test of this process."""
    if scenario.name not in _lives:
        _lives[scenario.name] = undisturbed(scenario)
    return _lives[scenario.name]


def violations(scenario: Scenario, schedules: Iterable[Schedule]) -> tuple[int, list[str]]:
    """How many died, and everything that did not hold."""
    deaths, found = 0, list[str]()
    for schedule in schedules:
        result = Trial(scenario, schedule).run()
        deaths += len(result.died_at)
        found += [f"{schedule}: {words}" for words in result.violations]
    return deaths, found


@named
def test_a_life_without_faults_ends_as_it_must(scenario: Scenario) -> None:
    crossings = undisturbed(scenario)
    assert len(crossings) > 90
    assert {crossing.kind for crossing in crossings} == {"statement", "commit", "call"}


@pytest.mark.parametrize("part", range(2))
@pytest.mark.parametrize("scenario", [TAKEN, CROWDED, MUTE], ids=lambda scenario: scenario.name)
def test_a_death_at_any_place_changes_nothing(scenario: Scenario, part: int) -> None:
    # Every thirteenth place, so that each moment has its turn, in parts that can be tried side by side; the campaign
    # tries them all.
    every = list(islice(singles(life(scenario)), part * 13, None, 26))
    deaths, found = violations(scenario, every)
    assert not found
    assert deaths >= 0.95 * len(every)


def first_and_last(crossings: Sequence[Crossing], moment: Moment) -> Iterator[Cut]:
    """Of the calls of the same name in the same state the first and the last one, at each of their steps."""
    alike = defaultdict[tuple[Crossing, int], list[Cut]](list)
    for cut in places(crossings):
        crossing = crossings[cut.number - 1]
        if cut.moment == moment and crossing.kind == "call":
            alike[crossing, cut.step].append(cut)
    for cuts in alike.values():
        yield from dict.fromkeys((cuts[0], cuts[-1]))


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("scenario", [SUCCESS, FAILED, FLAKY, DEAF, MUTE, CROWDED], ids=lambda scenario: scenario.name)
def test_a_death_at_any_call_outside_changes_nothing(scenario: Scenario, moment: Moment) -> None:
    every = [Schedule((cut,), fate="later") for cut in first_and_last(life(scenario), moment)]
    deaths, found = violations(scenario, every)
    assert not found
    # A call that fails has no place during it, and some have fewer steps than are tried.
    assert deaths >= (1 if moment == "during" else len(every))


@named
def test_deaths_during_recovery_change_nothing(scenario: Scenario) -> None:
    deaths, found = violations(scenario, islice(pairs(life(scenario), random.Random(7)), 6))
    assert not found
    assert deaths >= 6


@named
def test_many_deaths_and_processes_that_wake_too_late_change_nothing(scenario: Scenario) -> None:
    schedules = random_schedules(scenario, life(scenario), random.Random(11))
    deaths, found = violations(scenario, islice(schedules, 5))
    assert not found
    assert deaths >= 5


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.name)
def test_a_broken_variant_is_caught_every_time(control: Control) -> None:
    schedules, found = caught(control)
    assert schedules
    assert found == schedules


def test_a_push_in_doubt_that_somebody_built_on_is_found() -> None:
    def somebody_builds_on_it(world: World) -> None:
        world.somebody_pushes(BRANCH)

    meanwhile = ((Upon("git.push", "after"), somebody_builds_on_it),)
    _, found = violations(SUCCESS, [Schedule((Upon("git.push", "after"),), meanwhile=meanwhile)])
    assert not found


@pytest.mark.parametrize("moment", ["during", "after"])
def test_a_slot_that_could_not_be_called_back_is_given_back_once_the_pool_can_be_reached(moment: Moment) -> None:
    def goes_down(world: World) -> None:
        world.down.add("pool")

    meanwhile = ((Upon("pool.allocate", moment), goes_down),)
    deaths, found = violations(CANCELLED_DEAD, [Schedule((Upon("pool.allocate", moment),), meanwhile=meanwhile)])
    assert deaths
    assert not found


def test_a_run_that_is_parked_as_it_gives_its_slot_back_goes_on_with_that() -> None:
    for moment in ("before", "after"):
        deaths, found = violations(SUCCESS, [Schedule(tuple(Upon("pool.release", moment) for _ in range(3)))])
        assert (deaths, found) == (3, [])


def test_a_slot_that_was_called_back_is_not_lent_again_by_a_run_that_parks_as_it_ends() -> None:
    """Poison, once the slot is back: parking must not ask for it again, since nobody would give it back then."""
    deaths = (
        Upon("pool.allocate", "during"),
        Upon("COMMIT", "after", since="pool.release"),
        *(Upon("COMMIT", "after") for _ in range(2)),
        *(Upon("pool.allocate", "after") for _ in range(2)),
    )
    died, found = violations(CANCELLED_DEAD, [Schedule(deaths)])
    assert not found
    assert died >= 4


def test_there_are_enough_broken_variants() -> None:
    assert len({control.name for control in CONTROLS}) >= 15


def test_the_campaign_tries_every_single_place_once_and_goes_on() -> None:
    with ProcessPoolExecutor(1) as workers:
        made = list(islice(jobs(Asked(only=CROWDED.name), workers), 40))
    kinds = [job.args[0] for job in made if isinstance(job, partial)]
    tried = [
        schedule for job in made if isinstance(job, partial) and job.args[0] == "single" for schedule in job.args[2]
    ]
    assert set(kinds) == set(KINDS)
    assert [str(each) for _, each in tried] == [str(each) for each in singles(undisturbed(CROWDED))]


@pytest.mark.parametrize("kind", KINDS)
def test_a_trial_can_be_tried_again(kind: str) -> None:
    first, second = (again(f"{CANCELLED_DEAD.name}/{kind}/3", Asked(seed=2)) for _ in range(2))
    assert first == second
    assert first.died == first.places.total() == first.scenarios[CANCELLED_DEAD.name]
    assert not first.failures


def test_a_trial_that_does_not_exist_is_said_to_be_none() -> None:
    with pytest.raises(ValueError, match="is no simulated trial"):
        again("success/single/x", Asked())
