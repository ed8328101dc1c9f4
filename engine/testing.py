"""The testing kit: deaths at every SQL statement and every call outside, for a lifecycle of any kind.

A death is injected at the seam to the disk and to the world, not at places that somebody thought of. It cannot be
caught (:class:`Death` is no ``Exception``), nothing works after it, and what the next life finds is a copy of the
files as they were at that instant. It stands for SIGKILL; a power cut is another matter.
"""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from necrocode.engine.audit import rebuild, verify
from necrocode.engine.driver import Program
from necrocode.engine.journal import Journal
from necrocode.engine.lifecycle import Lifecycle
from necrocode.engine.runs import RunRecord


class Death(BaseException):
    """The process is dead from here on."""


class Fuse:
    """Counts what a process does to the disk and to the world, and burns at the ``at``-th tick (never, if ``None``).

    Only the thread that made it ticks: a heartbeat must not move the place of death.
    """

    def __init__(self, at: int | None = None, on_death: Callable[[], None] = lambda: None) -> None:
        self.at = at
        self.ticks = 0
        self.burnt = False
        self._on_death = on_death
        self._thread = threading.get_ident()

    def tick(self) -> None:
        """To be called before and after everything that is done to the world. Raises :class:`Death`."""
        if threading.get_ident() != self._thread:
            return
        if not self.burnt:
            self.ticks += 1
            if self.ticks != self.at:
                return
            self.burnt = True
            self._on_death()
        raise Death(f"at tick {self.at}")


def dying_connections(fuse: Fuse) -> type[sqlite3.Connection]:
    """SQLite connections whose every statement is a tick; for ``Journal(connections=…)``."""

    class DyingCursor(sqlite3.Cursor):
        def execute(self, sql: str, parameters: Any = (), /) -> DyingCursor:
            fuse.tick()
            return super().execute(sql, parameters)

    class DyingConnection(sqlite3.Connection):
        def cursor(self, factory: Any = DyingCursor) -> Any:
            return super().cursor(factory)

    return DyingConnection


class Scenario(Protocol):
    """A world of its own, and what each process does in it."""

    def live(self, journal: Journal, fuse: Fuse) -> None:
        """What a process does from its start: begin the run or take it up, and drive it.

        Everything it does to the world must tick the ``fuse`` before and after.
        """

    def check(self, journal: Journal, deaths: Sequence[int]) -> None:
        """Raise ``AssertionError`` if the world is not as it should be after the last life."""


@dataclass(frozen=True, slots=True)
class Life:
    """One process's life."""

    ticks: int
    #: Whether it ended by :class:`Death`.
    died: bool


def live_through(
    scenario: Scenario, folder: Path, deaths: Sequence[int], *, blank: Path | None = None, **options: Any
) -> list[Life]:
    """Live as often as there are ``deaths`` (each the tick to die at) and once more to the end; then check.

    ``blank`` is a journal file to start from (a fresh one is made if there is none), ``options`` go to the
    :class:`Journal`.
    """
    folder.mkdir(parents=True)
    lives: list[Life] = []
    path = folder / "life-0.db"
    if blank is not None:
        shutil.copyfile(blank, path)
    for number, at in enumerate([*deaths, None]):
        following = folder / f"life-{number + 1}.db"
        fuse = Fuse(at, on_death=_copying(path, following))
        died = True
        with Journal(path, connections=dying_connections(fuse), **options) as journal:
            try:
                scenario.live(journal, fuse)
                died = False
            except Death:
                path = following
        lives.append(Life(fuse.ticks, died))
        if not died:
            break
    with Journal(path, **options) as journal:
        scenario.check(journal, deaths)
    return lives


def die_everywhere(make: Callable[[], Scenario], folder: Path, **options: Any) -> int:
    """Live through a death at every single tick of an undisturbed life; returns how many there were."""
    for at in count(1):
        lives = live_through(make(), folder / f"death-{at}", [at], **options)
        shutil.rmtree(folder / f"death-{at}")
        if not lives[0].died:
            return at - 1
    raise AssertionError("unreachable")


def broken_promises(journal: Journal, programs: Mapping[str, Program | Lifecycle]) -> Iterator[str]:
    """What the engine promises of every journal at any moment, and this one does not keep: nothing, one hopes.

    Every transition declared and its guard held; nothing after the end; the chain whole; the projection what the
    entries say.
    """
    tables = {name: each.lifecycle if isinstance(each, Program) else each for name, each in programs.items()}
    for problem in verify(journal, lifecycles=tables).problems:
        yield f"{problem.run_id} {problem.seq}: {problem.problem}"
    differing = rebuild(journal)
    if differing:
        yield f"{differing} rows of the projection differ from the entries"
    for run in journal.runs():
        yield from _broken_ends(journal, run, tables.get(run.lifecycle))


def _broken_ends(journal: Journal, run: RunRecord, lifecycle: Lifecycle | None) -> Iterator[str]:
    entries = list(journal.entries(run.run_id))
    ends = [entry for entry in entries if entry.kind == "closed"]
    if len(ends) > 1 or (ends and ends[0] is not entries[-1]):
        yield f"{run.run_id}: something follows its end"
    if lifecycle is not None and (run.state in lifecycle.terminal) != bool(ends):
        yield f"{run.run_id}: it is in {run.state!r} and has {len(ends)} ends"
    epochs = [entry.epoch for entry in entries]
    if epochs != sorted(epochs):
        yield f"{run.run_id}: an older epoch appended after a newer one"


def _copying(path: Path, to: Path) -> Callable[[], None]:
    def copy() -> None:
        for suffix in ("", "-wal"):
            source = path.with_name(path.name + suffix)
            if source.exists():
                shutil.copyfile(source, to.with_name(to.name + suffix))

    return copy
