"""A small campaign: each kind of death once, over several scenarios. The large one is ``tests.crash.campaign``."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.crash.campaign import campaign
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
    SUCCESS,
    TAKEN,
)
from tests.crash.trial import Death, Plan, Result, attempt

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
    fine(attempt(plan, tmp_path))


def test_a_run_that_kills_whoever_drives_it_is_parked(tmp_path: Path) -> None:
    fine(attempt_poison(random.Random(1), tmp_path))


def test_a_campaign_counts_and_reports(tmp_path: Path) -> None:
    report = campaign(2, seed=5, jobs=2, scenarios=(SUCCESS,), folder=tmp_path)
    told = report.to_json()
    assert told["kills"] == sum(kind["kills"] for kind in told["by_kind"].values()) >= 2
    assert told["violations"] == []
