"""Lives: processes that die one after the other over the same journal and the same world."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from necrocode.engine.journal import Journal
from necrocode.engine.testing.mortality import Death, Moment, Mortal, Place, Plan, at, never


class Scenario(Protocol):
    """A world of its own, and what each process does in it."""

    def live(self, journal: Journal, mortal: Mortal) -> None:
        """What a process does from its start: begin the run or take it up, and drive it.

        Whatever it does to the world must be a crossing of ``mortal``'s (:meth:`Mortal.around`, for one).
        """

    def check(self, journal: Journal, deaths: Sequence[Place]) -> None:
        """Raise ``AssertionError`` if the world is not as it should be after the last life."""


@dataclass(frozen=True, slots=True)
class Life:
    """One process's life."""

    crossings: int
    #: ``None`` if it lived to its end.
    died_at: Place | None


def live_through(
    scenario: Scenario, folder: Path, plans: Sequence[Plan], *, blank: Path | None = None, **options: Any
) -> list[Life]:
    """Live as often as there are ``plans`` to die, and once more to the end; then check.

    ``blank`` is a journal file to start from (a fresh one is made if there is none; that takes a while), ``options`` go
    to the :class:`Journal`.
    """
    folder.mkdir(parents=True)
    lives: list[Life] = []
    path = folder / "life-0.db"
    if blank is not None:
        shutil.copyfile(blank, path)
    else:
        Journal(path, **options).close()
    for number, plan in enumerate([*plans, never], 1):
        mortal = Mortal(plan)
        try:
            with mortal.journal(path, **options) as journal:
                scenario.live(journal, mortal)
        except Death:
            path = folder / f"life-{number}.db"
            mortal.remains(path)
        lives.append(Life(mortal.crossings, mortal.died_at))
    with Journal(path, **options) as journal:
        scenario.check(journal, [life.died_at for life in lives if life.died_at is not None])
    return lives


def die_everywhere(
    make: Callable[[], Scenario],
    folder: Path,
    *,
    blank: Path | None = None,
    moments: Sequence[Moment] = ("before", "during", "after"),
    **options: Any,
) -> int:
    """Live through a death at every place of an undisturbed life; returns how many there were."""
    folder.mkdir(parents=True, exist_ok=True)
    if blank is None:
        blank = folder / "blank.db"
        Journal(blank, **options).close()

    def die(plan: Plan) -> bool:
        trial = folder / "trial"
        lives = live_through(make(), trial, [plan], blank=blank, **options)
        shutil.rmtree(trial)
        return lives[0].died_at is not None

    deaths = 0
    for number in count(1):
        found = [die(at(number, moment, step)) for moment, step in _each(moments)]
        found += _further(lambda step, number=number: die(at(number, "during", step)), "during" in moments)  # type: ignore[misc]
        if not any(found):
            return deaths
        deaths += sum(found)
    raise AssertionError("unreachable")


def _each(moments: Sequence[Moment]) -> Iterator[tuple[Moment, int]]:
    return ((moment, 0) for moment in moments)


def _further(die: Callable[[int], bool], wanted: bool) -> Iterator[bool]:
    """The places during one crossing after its first."""
    for step in count(1):
        if not wanted or not die(step):
            return
        yield True
