"""Killed anywhere, a run goes on where it was: what was recorded is not done again, and nothing is lost."""

from __future__ import annotations

import os
import random
import shutil
import signal
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from necrocode.engine.journal import Journal
from necrocode.engine.testing import Death, Mortal, Place, at, die_everywhere, live_through
from tests.engine import errands
from tests.engine.errands import Dinner, World
from tests.engine.processes import outcome, start

# --- in this process: a death at every statement and every call outside ---


def test_a_death_at_any_statement_or_call_changes_nothing(tmp_path: Path, blank: Path) -> None:
    worlds = (tmp_path / f"world-{n}" for n in count())
    deaths = die_everywhere(
        lambda: Dinner(next(worlds)),
        tmp_path / "lives",
        blank=blank,
        moments=("during",),
        durability="process-crash",
    )
    assert deaths > 150, "every statement, commit and call of a whole life"


@settings(max_examples=24, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(deaths=st.lists(st.integers(1, 120), min_size=2, max_size=6))
def test_deaths_in_a_row_change_nothing(tmp_path: Path, blank: Path, deaths: list[int]) -> None:
    folder = tmp_path / "row"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    plans = [at(number) for number in deaths]
    live_through(Dinner(folder / "world"), folder / "lives", plans, blank=blank, durability="process-crash")


# --- negative controls: what the harness must catch ---


class Forgetful(Dinner):
    """Buys again without asking the shop: the sweep has to notice."""

    def live(self, journal: Journal, mortal: Mortal) -> None:
        class Shop(World):
            def happened(self, what: str | None = None, key: str | None = None) -> list[dict[str, Any]]:
                return [] if what == "buy" else super().happened(what, key)

        errands.live(journal, Shop(self.path, mortal))


class Unrecorded(Dinner):
    """Does something outside that is no effect."""

    def live(self, journal: Journal, mortal: Mortal) -> None:
        world = World(self.path, mortal)
        if not journal.runs() or journal.runs()[0].state == "shopping":
            world.happen("buy", "not an effect")
        errands.live(journal, world)


@pytest.mark.parametrize("broken", [Forgetful, Unrecorded])
def test_what_is_done_twice_is_caught(tmp_path: Path, blank: Path, broken: Callable[[Path], Dinner]) -> None:
    def in_the_shop(place: Place) -> bool:
        return (place.name, place.moment) == ("buy", "during")

    with pytest.raises(AssertionError, match="never twice"):
        live_through(broken(tmp_path / "world"), tmp_path / "lives", [in_the_shop], blank=blank)


def test_a_dead_process_can_do_nothing_more() -> None:
    mortal = Mortal(at(2))
    with mortal.crossing("call", "first"):
        pass
    for _ in range(3):
        with pytest.raises(Death), mortal.crossing("call", "second"):
            raise AssertionError("it was done")
    assert not issubclass(Death, Exception), "so that no handler swallows it"


# --- real processes, killed for real ---


def begin(blank: Path, path: Path) -> None:
    shutil.copyfile(blank, path)


def test_sigkill_after_any_entry_changes_nothing(tmp_path: Path, blank: Path) -> None:
    at = 0
    while True:
        at += 1
        path, world = tmp_path / f"{at}.db", tmp_path / f"{at}.world"
        begin(blank, path)
        first = outcome(start(errands.main, path, world, None, at))
        if first == 0:
            break
        assert first == -signal.SIGKILL
        assert outcome(start(errands.main, path, world, None, None)) == 0
        with Journal(path) as journal:
            errands.check(journal, World(world), 1)
            (run,) = journal.runs()
            claims = [journal.payload(entry) for entry in journal.entries(run.run_id) if entry.name == "claimed"]
            # Killed after the very last entry, it had ended.
            assert [each["after_death"] for each in claims] == ([False] if run.epoch == 1 else [False, True])
    assert at > 30


@pytest.mark.parametrize("part", range(4))
def test_sigkill_at_statements_and_inside_effects_changes_nothing(tmp_path: Path, blank: Path, part: int) -> None:
    for place in range(20 + part * 4, 600, 40):
        path, world = tmp_path / f"{place}.db", tmp_path / f"{place}.world"
        begin(blank, path)
        deaths = 0
        while outcome(start(errands.main, path, world, place if deaths < 2 else None, None)) != 0:
            deaths += 1
        with Journal(path) as journal:
            errands.check(journal, World(world), deaths)


def test_sigkill_at_random_moments_until_it_is_done_changes_nothing(tmp_path: Path, blank: Path) -> None:
    chance = random.Random(7)
    for n in range(6):
        path, world = tmp_path / f"{n}.db", tmp_path / f"{n}.world"
        begin(blank, path)
        deaths = 0
        while True:
            process = start(errands.main, path, world, None, None)
            # Early enough to hit it in its work, later with every death so that it gets anywhere.
            process.join(chance.uniform(0.005, 0.03 + 0.01 * deaths))
            if process.is_alive() and process.pid is not None:
                os.kill(process.pid, signal.SIGKILL)
            code = outcome(process)
            if code == 0:
                break
            deaths += 1
        with Journal(path) as journal:
            errands.check(journal, World(world), deaths + 1)
