"""Killed anywhere, a run goes on where it was: what was recorded is not done again, and nothing is lost."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from necrocode.engine.journal import Journal
from necrocode.engine.testing import Death, Fuse, die_everywhere, live_through
from tests.engine import errands
from tests.engine.errands import TABLE, Dinner, World
from tests.engine.processes import outcome, start

# --- in this process: a death at every statement and every call outside ---


def test_a_death_at_any_statement_or_call_changes_nothing(tmp_path: Path, blank: Path) -> None:
    dinners = 0

    def dinner() -> Dinner:
        nonlocal dinners
        dinners += 1
        return Dinner(tmp_path / f"world-{dinners}")

    places = die_everywhere(dinner, tmp_path / "lives", blank=blank, durability="process-crash")
    assert places > 150, "statements and calls of a whole life"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(deaths=st.lists(st.integers(1, 120), min_size=2, max_size=6))
def test_deaths_in_a_row_change_nothing(tmp_path: Path, blank: Path, deaths: list[int]) -> None:
    folder = tmp_path / "row"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    live_through(Dinner(folder / "world"), folder / "lives", deaths, blank=blank, durability="process-crash")


def test_a_fresh_journal_survives_deaths_while_it_is_made(tmp_path: Path) -> None:
    """Migration included: every few statements of it, since there are many."""
    lives = live_through(Dinner(tmp_path / "world"), tmp_path / "whole", [])
    assert not lives[0].died
    for at in range(1, 60, 9):
        live_through(Dinner(tmp_path / f"world-{at}"), tmp_path / f"lives-{at}", [at])


# --- negative controls: what the harness must catch ---


class Forgetful(Dinner):
    """Buys again without asking the shop: the sweep has to notice."""

    def live(self, journal: Journal, fuse: Fuse) -> None:
        world = World(self.path, fuse.tick)
        real = world.happened
        world.happened = lambda what=None, key=None: [] if key and what == "buy" else real(what, key)  # type: ignore[method-assign]
        errands.live(journal, world)


class Unrecorded(Dinner):
    """Does something outside that is no effect."""

    def live(self, journal: Journal, fuse: Fuse) -> None:
        from necrocode.engine.effects import Attempt

        world = World(self.path, fuse.tick)
        if not journal.runs() or journal.runs()[0].state == "shopping":
            world.happen("buy", Attempt("not an effect", 1, 0, None), thing="cake")  # type: ignore[arg-type]
        errands.live(journal, world)


@pytest.mark.parametrize("broken", [Forgetful, Unrecorded])
def test_the_sweep_catches_what_is_done_twice(tmp_path: Path, blank: Path, broken: Callable[[Path], Dinner]) -> None:
    worlds = iter(range(10_000))
    with pytest.raises(AssertionError):
        die_everywhere(lambda: broken(tmp_path / f"world-{next(worlds)}"), tmp_path / "lives", blank=blank)


def test_a_fuse_that_has_burnt_lets_nothing_through() -> None:
    burnt: list[int] = []
    fuse = Fuse(2, on_death=lambda: burnt.append(1))
    fuse.tick()
    for _ in range(3):
        with pytest.raises(Death):
            fuse.tick()
    assert burnt == [1]
    assert not isinstance(Death(), Exception), "so that no handler swallows it"


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
            assert journal.runs()[0].epoch == 2
            claimed = [journal.payload(e) for e in journal.entries(journal.runs()[0].run_id) if e.name == "claimed"]
            assert [payload["after_death"] for payload in claimed] in ([False, True], [False, False])
    assert at > 40


@pytest.mark.parametrize("part", range(4))
def test_sigkill_at_statements_and_inside_effects_changes_nothing(tmp_path: Path, blank: Path, part: int) -> None:
    for at in range(20 + part, 190, 16):
        path, world = tmp_path / f"{at}.db", tmp_path / f"{at}.world"
        begin(blank, path)
        deaths = 0
        while outcome(start(errands.main, path, world, at if deaths < 2 else None, None)) != 0:
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
            if process.exitcode is None:
                assert process.pid is not None
                os.kill(process.pid, signal.SIGKILL)
            code = outcome(process)
            if code == 0:
                break
            assert code == -signal.SIGKILL
            deaths += 1
            with Journal(path) as journal:
                for run in journal.runs():
                    assert run.stop_reason != "poison" or deaths >= 3
                    if run.stop_reason == "poison":
                        from necrocode.engine.driver import Driver

                        Driver(journal, errands.errands(World(world))).drive(run.run_id, force=True)
        with Journal(path) as journal:
            (run,) = journal.runs()
            assert run.state == "sated"
            errands.check(journal, World(world), deaths + 1)
    assert TABLE.terminal
    assert time.monotonic()
