"""Held processes: they go on when they are told to, so that two can be interleaved as one likes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from necrocode.engine.testing.mortality import Mortal, Place

T = TypeVar("T")


class Held(Generic[T]):
    """A mortal process in a thread of its own that stops at every place until :meth:`step` lets it go on.

    ``live`` is what it does. It never runs at the same time as whoever steps it, so what comes of it is the same every
    time. Let it end (or :meth:`die`) before leaving it.
    """

    def __init__(self, live: Callable[[Mortal], T], *, elsewhere: bool = False) -> None:
        self._live = live
        self._elsewhere = elsewhere
        self._go, self._stopped = threading.Semaphore(0), threading.Semaphore(0)
        self._steps = 0
        self._doomed = False
        self._mortal: Mortal | None = None
        #: Where it stands; ``None`` before its first step and after its end.
        self.place: Place | None = None
        #: Whether it is over, by itself or by a death.
        self.ended = False
        #: What ``live`` returned.
        self.result: T | None = None
        #: What it raised; :class:`Death` if it was killed.
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="necrocode-held", daemon=True)
        self._thread.start()

    @property
    def mortal(self) -> Mortal:
        """The process. There is none before the first step."""
        assert self._mortal is not None
        return self._mortal

    @property
    def writing(self) -> bool:
        """Whether it stands inside a write transaction, so that nobody else can write to the journal now."""
        return self._mortal is not None and not self.ended and self._mortal.writing

    def step(self, places: int = 1) -> bool:
        """Let it pass ``places`` more places; False if it ended before."""
        if not self.ended:
            self._steps = places
            self._go.release()
            self._stopped.acquire()
            if self.ended:
                # What it had open is closed, not about to be.
                self._thread.join()
        return not self.ended

    def finish(self) -> None:
        """Let it go on to its end."""
        while self.step(1 << 30):
            pass

    def die(self) -> None:
        """Kill it where it stands."""
        self._doomed = True
        self.finish()

    def _run(self) -> None:
        self._go.acquire()
        try:
            self._mortal = Mortal(self._plan, elsewhere=self._elsewhere)
            if not self._doomed:
                self.result = self._live(self._mortal)
        except BaseException as error:  # noqa: BLE001 - handed to whoever steps it
            self.error = error
        finally:
            self.ended, self.place = True, None
            self._stopped.release()

    def _plan(self, place: Place) -> bool:
        self._steps -= 1
        if self._steps <= 0 and not self._doomed:
            self.place = place
            self._stopped.release()
            self._go.acquire()
        return self._doomed
