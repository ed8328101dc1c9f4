"""Mortal processes: every touch of the disk or the world is a crossing, and at each the process may die."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar, cast

from necrocode.engine.errors import JournalError
from necrocode.engine.identity import ProcessIdentity
from necrocode.engine.journal import Journal
from necrocode.engine.testing.connections import Image, image_of, lay_out, log_size_of, mortal_connections

P = TypeVar("P")

Moment = Literal["before", "during", "after"]


class Death(BaseException):
    """The process is dead from here on."""


class Gone(JournalError):
    """A thread of a dead process wanted something of the world."""


class Place(NamedTuple):
    """Somewhere to die."""

    #: Of the crossing, from 1.
    number: int
    #: ``statement``, ``commit`` (both of the journal's file), or what :meth:`Mortal.crossing` was told.
    kind: str
    #: What was called; of a statement, its first word.
    name: str
    moment: Moment
    #: Which of several places during one crossing, from 0.
    step: int = 0

    def __str__(self) -> str:
        step = f", step {self.step}" if self.step else ""
        return f"{self.moment} {self.kind} {self.number} ({self.name}){step}"


Plan: TypeAlias = Callable[[Place], bool]
"""Whether to die here. Asked at every place, so that it may also just look at the world as it is."""


def never(_: Place) -> bool:
    """The plan of a process that lives on."""
    return False


def at(number: int, moment: Moment = "before", step: int = 0) -> Plan:
    """The plan to die at one place."""
    return lambda place: (place.number, place.moment, place.step) == (number, moment, step)


class Mortal:
    """A process that dies where ``plan`` says; everything it reaches the world through goes through here.

    *During* a crossing means: something was done and nobody heard of it. What takes several steps calls
    :meth:`midway` between them. A commit that dies midway leaves half of its frames in the write-ahead log; anything
    else without steps is done, and its answer lost.

    Only the thread that made it is counted, so that a heartbeat does not move the places; other threads of a dead
    process are refused. ``elsewhere``: to others it looks as if it ran on another host, so that nobody can tell whether
    it lives, and it can only be followed when its lease expires.
    """

    def __init__(self, plan: Plan = never, *, elsewhere: bool = False) -> None:
        self._plan = plan
        self._thread = threading.get_ident()
        self._crossing: tuple[int, str, str] | None = None
        self._step = 0
        self._path: Path | None = None
        self._remains: Image = {}
        #: Crossings so far.
        self.crossings = 0
        #: Places passed so far, the one it died at included.
        self.places = 0
        #: Where it died.
        self.died_at: Place | None = None
        #: Whether it is inside a write transaction of the journal: nobody else can write meanwhile.
        self.writing = False
        #: Who it is in the eyes of others: a process that is not there, hence a dead one.
        self.identity = replace(ProcessIdentity.current(), start_time=-next(_births))
        if elsewhere:
            self.identity = replace(self.identity, host="elsewhere", pid_namespace="another")

    # --- what it reaches the world through ---

    @contextmanager
    def crossing(self, kind: str, name: str) -> Iterator[None]:
        """Around one thing done to the disk or the world. Crossings do not nest: what is inside another is part of it.

        Raises :class:`Death` before, during or after it, and always once the process is dead.
        """
        if not self._is_counted() or self._crossing is not None:
            self.check()
            yield
            return
        self.check()
        self.crossings += 1
        self._crossing, self._step = (self.crossings, kind, name), 0
        try:
            self._pass("before")
            try:
                yield
            except Exception:
                # It failed: that nobody hears of it is a death like any other.
                self._pass("after")
                raise
            self.check()
            if self._step == 0:
                self._pass("during")
            self._pass("after")
        finally:
            self._crossing = None

    def midway(self, remains: Callable[[], Image] | None = None) -> None:
        """Between two steps of a crossing. ``remains``: what a death here leaves of the journal's file."""
        self.check()
        if self._crossing is not None and self._is_counted():
            self._pass("during", remains)
            self._step += 1

    def around(self, port: P, name: str, kind: str = "call") -> P:
        """``port`` as this process reaches it: each call of a method is a crossing."""
        return cast(P, _Around(self, port, name, kind))

    def journal(self, path: Path, **options: Any) -> Journal:
        """This process's journal, each statement and commit a crossing. ``options`` as for :class:`Journal`."""
        self._path = path
        return Journal(path, connections=mortal_connections(self), identity=self.identity, **options)

    # --- death ---

    @property
    def is_dead(self) -> bool:
        """Whether it has died."""
        return self.died_at is not None

    def check(self) -> None:
        """Raise :class:`Death` if it is dead (:class:`Gone` in another thread than its own)."""
        if self.died_at is not None:
            raise Death(f"died {self.died_at}") if self._is_counted() else Gone("its process is dead")

    def remains(self, to: Path) -> None:
        """Write the journal's file, and its log, as they were when it died, or as they are if it lives."""
        lay_out(self._remains if self.is_dead else self.image(), to)

    def image(self) -> Image:
        """The journal's file, and its log, as they are now."""
        return image_of(self._path) if self._path is not None else {}

    def log_size(self) -> int:
        """Bytes in the journal's write-ahead log now."""
        return log_size_of(self._path) if self._path is not None else 0

    def _pass(self, moment: Moment, remains: Callable[[], Image] | None = None) -> None:
        assert self._crossing is not None
        self.places += 1
        place = Place(*self._crossing, moment, self._step if moment == "during" else 0)
        if self._plan(place):
            self._remains = (remains or self.image)()
            self.died_at = place
            self.check()

    def _is_counted(self) -> bool:
        return threading.get_ident() == self._thread


class _Around:
    """Any object, each call of its methods a crossing."""

    def __init__(self, mortal: Mortal, inner: object, name: str, kind: str) -> None:
        self._mortal, self._inner, self._name, self._kind = mortal, inner, name, kind

    def __getattr__(self, attribute: str) -> Any:
        found = getattr(self._inner, attribute)
        if not callable(found):
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            with self._mortal.crossing(self._kind, f"{self._name}.{attribute}"):
                return found(*args, **kwargs)

        return call


_births = count(1)
