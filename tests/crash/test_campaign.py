"""A small campaign: each kind of death once, over several scenarios. The large one is ``tests.crash.campaign``."""

from __future__ import annotations

import os
import select
from pathlib import Path

import pytest

from tests.crash.nursery import Birth, Nursery, nursery
from tests.crash.plans import Death, Extent, Plan, sweep
from tests.crash.poison import attempt_poison
from tests.crash.scenarios import (
    CANCELLED,
    CONTINUED,
    FAILED,
    FLAKY,
    OWN_FOLDER,
    PARALLEL,
    RETRIED,
    SET_UP,
    SLEEPY,
    SLOW,
    SUCCESS,
    TAKEN,
)
from tests.crash.trial import CrashStage, Result, attempt

PLANS = (
    Plan(SUCCESS, (Death("before-entry", 23), Death("after-entry", 9))),
    Plan(RETRIED, (Death("seam", 60), Death("moment", 0.7)), sandbox="off"),
    Plan(FAILED, (Death("after-entry", 50),), sandbox="off"),
    Plan(SLEEPY, (Death("nap", 0.2), Death("after-entry", 2)), sandbox="off"),
    Plan(SLEEPY, (Death("supervisor+runner", 0.1),)),
    Plan(SLEEPY, (Death("keeper", 0.1),), sandbox="off"),
    Plan(PARALLEL, (Death("group", 0.8), Death("moment", 0.7)), sandbox="off"),
    Plan(SET_UP, (Death("seam", 130),)),
    Plan(TAKEN, (Death("before-entry", 14),)),
    Plan(CANCELLED, (Death("after-entry", 10), Death("before-entry", 4)), sandbox="off"),
    Plan(FLAKY, (Death("moment", 0.8),)),
    Plan(SLOW, (Death("answer", 2), Death("answer", 3), Death("after-entry", 2)), sandbox="off"),
    Plan(OWN_FOLDER, (Death("nap", 0.1),)),
    Plan(CONTINUED, (Death("after-entry", 36),)),
)


TIMED = ("moment", "group")
"""Deaths that a fast machine may be too fast for."""


def fine(result: Result) -> None:
    """Nothing was violated, and something was killed."""
    words = "\n".join(f"{each.invariant}: {each.words}" for each in result.violations)
    assert not result.violations, f"{result.plan}\nkilled: {result.killed}\n{words}\n{result.root}\n" + "\n".join(
        result.said
    )
    # A run that ended before a timed death is not killed a second time either.
    if result.plan.deaths[0].point not in TIMED:
        assert result.killed, f"{result.plan}: it ended before it could be killed"


@pytest.mark.parametrize("plan", PLANS, ids=str)
def test_a_killed_run_ends_as_if_nothing_had_happened(plan: Plan, tmp_path: Path) -> None:
    fine(attempt(plan, tmp_path, nursery().start))


def test_a_run_that_kills_whoever_drives_it_is_parked(tmp_path: Path) -> None:
    fine(attempt_poison(7, tmp_path, nursery().start))


@pytest.mark.parametrize("plan", PLANS, ids=str)
def test_a_plan_can_be_read_back(plan: Plan) -> None:
    assert Plan.parse(str(plan)) == plan


def test_words_that_are_no_plan_are_refused() -> None:
    with pytest.raises(ValueError, match="is no way to die"):
        Plan.parse("success [sandbox off]: boredom 3")
    with pytest.raises(ValueError, match="is no plan"):
        Plan.parse("success: seam 3")


def test_a_sweep_dies_at_every_seam_and_on_both_sides_of_every_commit() -> None:
    every = [plan.deaths for plan in sweep(SUCCESS, Extent(commits=2, seams=3, seconds=1))]
    assert [str(death) for (death,) in every] == [
        *(f"seam {number}" for number in (1, 2, 3)),
        *("before-entry 1", "after-entry 1", "before-entry 2", "after-entry 2"),
    ]


def test_what_lives_at_the_end_of_a_nursery_is_killed(tmp_path: Path) -> None:
    with Nursery() as closed:
        stage = CrashStage(tmp_path, begin=closed.start)
        process = stage.start_mortal(None, "watch", "nothing", "--help")
        assert process.wait(60) == 0
        stuck = Birth([str(stage.note), "never", "0", "runs"], stage.env(), tmp_path, _pipe(tmp_path), stage.output)
        waiting = closed.start(stuck)
        alive = os.pidfd_open(waiting.pid)
    # a pidfd is readable once its process has ended
    assert select.select([alive], [], [], 60)[0]
    os.close(alive)


def _pipe(folder: Path) -> Path:
    """A pipe that nobody reads: who opens it waits."""
    os.mkfifo(folder / "pipe")
    return folder / "pipe"
