"""A Hypothesis state machine from any lifecycle: processes die, are paused, superseded and woken; services go down.

Needs Hypothesis, which the engine itself does not.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import event
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from necrocode.engine.driver import Driver
from necrocode.engine.errors import EngineError, LeaseHeld, StopTriggered
from necrocode.engine.journal import Journal
from necrocode.engine.lifecycle import Lifecycle
from necrocode.engine.runs import RunRecord
from necrocode.engine.testing.held import Held
from necrocode.engine.testing.mortality import Death, Moment, Mortal, Place
from necrocode.engine.testing.rehearsal import Rehearsal

HOUR = timedelta(hours=1)

#: Some steps are to end close by, some about an effect on, and some far away.
PLACES = st.one_of(st.integers(1, 12), st.integers(20, 120), st.integers(1, 400))

MOMENTS: tuple[Moment, ...] = ("before", "during", "after")

LIVES = 12
"""A run that is left alone must end within this many resumptions."""


def machine(
    lifecycle: Lifecycle, rehearsal: Callable[[Lifecycle, Sequence[int]], Rehearsal] = Rehearsal
) -> type[RuleBasedStateMachine]:
    """The state machine that plays one run of ``lifecycle``.

    ==================  ===============================================================================================
    ``step``            the process that drives the run goes on for some places; a new one takes the run up if need be
    ``die``             it dies where it stands
    ``die_at_a_call``   it goes on to one of the next things that it does outside, and dies before, during or after it
    ``pause``           it is stopped, for longer than its lease
    ``wake``            one that was stopped goes on, perhaps after somebody else took over
    ``cancel``          somebody asks for the end
    ``time_passes``     the deadline comes
    ``outage``          the world goes down, or comes back
    ==================  ===============================================================================================

    In the end everything is repaired, who was paused is woken, and the run is driven without faults: it must end, and
    :meth:`Rehearsal.violations` must find nothing, here and after every death.

    A lifecycle with no handlers yet, played with those of the :class:`Rehearsal`:

    >>> from hypothesis import settings
    >>> from necrocode.engine.lifecycle import State, Transition
    >>> release = Lifecycle(
    ...     name="release-train", version=1, initial="building",
    ...     states=[State("building"), State("signing"), State("out", terminal=True), State("off", terminal=True)],
    ...     transitions=[
    ...         Transition("built", "building", "signing"),
    ...         Transition("signed", "signing", "out"),
    ...         Transition("cancel", "building", "off"),
    ...     ],
    ... )
    >>> case = machine(release).TestCase
    >>> case.settings = settings(max_examples=3, stateful_step_count=8, deadline=None, database=None)
    >>> case("runTest").debug()

    Your own handlers and world: subclass :class:`Rehearsal`, give ``program`` ports wrapped by
    :meth:`Mortal.around <necrocode.engine.testing.Mortal.around>`, let ``violations`` say what must hold of your world,
    and pass the class: ``machine(release, MyRehearsal).TestCase``, a test case that pytest collects.
    """

    class LifecycleMachine(_LifecycleMachine):
        def rehearsed(self, choices: Sequence[int]) -> Rehearsal:
            return rehearsal(lifecycle, choices)

    LifecycleMachine.__name__ = LifecycleMachine.__qualname__ = f"machine of {lifecycle.name}"
    return LifecycleMachine


class _LifecycleMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="necrocode-machine-"))
        path = self.folder / "journal.db"
        shutil.copyfile(_blank(), path)
        #: Somebody who only looks on, and asks.
        self.outside = Journal(path, durability="process-crash")
        self.current: Held[RunRecord] | None = None
        self.paused: list[Held[RunRecord]] = []
        self.drivers: dict[Held[RunRecord], Driver] = {}
        self.cancelled = self.down = False
        #: Whether something was wrong already: then there is no more to be found out.
        self.failed = False

    def rehearsed(self, choices: Sequence[int]) -> Rehearsal:
        raise NotImplementedError

    @initialize(choices=st.lists(st.integers(0, 7), max_size=6))
    def begin(self, choices: Sequence[int]) -> None:
        self.rehearsal = self.rehearsed(choices)
        begun: dict[str, Any] = dict(self.rehearsal.begin())
        self.lifecycle = self.rehearsal.lifecycle
        self.run_id = self.outside.create(self.lifecycle, **begun).run_id

    # --- what happens ---

    @rule(places=PLACES)
    @precondition(lambda self: not any(held.writing for held in self.paused))
    def step(self, places: int) -> None:
        self._go_on(places)

    @rule()
    @precondition(lambda self: self.current is not None)
    def die(self) -> None:
        self._die()

    @rule(calls=st.integers(1, 3), moment=st.sampled_from(MOMENTS))
    @precondition(lambda self: not any(held.writing for held in self.paused))
    def die_at_a_call(self, calls: int, moment: Moment) -> None:
        while calls and (place := self._go_on(1)):
            calls -= place.moment == moment and place.kind not in ("statement", "commit")
        if self.current is not None:
            self._die()

    @rule()
    @precondition(lambda self: self.current is not None and not self.current.writing)
    def pause(self) -> None:
        assert self.current is not None
        self.paused.append(self.current)
        self.current = None

    @rule(places=PLACES)
    @precondition(lambda self: self.paused and not (self.current and self.current.writing))
    def wake(self, places: int) -> None:
        held = self.paused.pop(0)
        self._hears(held)
        # In the midst of a transaction it would keep everybody else out.
        while held.step(places) and held.writing:
            places = 1
        if held.ended:
            self._ended(held)
        else:
            self.paused.append(held)

    @rule()
    @precondition(lambda self: not self.cancelled and self._nobody_writes())
    def cancel(self) -> None:
        self.cancelled = True
        self.outside.request_cancel(self.run_id)
        self._hears(self.current)

    @rule()
    @precondition(lambda self: self.current is not None and not self.current.ended)
    def time_passes(self) -> None:
        assert self.current is not None
        # Through the driver's own door: it knows who does not listen, a run that is being parked for one.
        if self.current in self.drivers:
            self.drivers[self.current].request(StopTriggered("deadline", "it is late", stop_reason="deadline"))

    @rule()
    def outage(self) -> None:
        self.down = not self.down
        self.rehearsal.outage(self.down)

    def _go_on(self, places: int) -> Place | None:
        """Where the process that drives the run stands after so many places; ``None`` if it has ended."""
        if self.current is None:
            while self.paused and not self.rehearsal.fenced:
                self._kill(self.paused.pop())
            self.current = self._process(elsewhere=True)
        if not self.current.step(places):
            self._ended(self.current)
            self.current = None
        return self.current.place if self.current is not None else None

    def _die(self) -> None:
        assert self.current is not None
        event(f"died {self.current.place and self.current.place.kind}")
        self._kill(self.current)
        self.current = None
        self._look()

    # --- and what must come of it ---

    def teardown(self) -> None:
        try:
            if hasattr(self, "rehearsal") and not self.failed:
                self._end()
        finally:
            for held in (*self.paused, *filter(None, [self.current])):
                held.die()
            self.outside.close()
            # A connection that is collected only now takes its log with it.
            shutil.rmtree(self.folder, ignore_errors=True)

    def _end(self) -> None:
        self.rehearsal.outage(False)
        if self.current is not None:
            self._kill(self.current)
            self.current = None
        for held in self.paused:
            held.finish()
            self._ended(held)
        self.paused.clear()
        for _ in range(LIVES):
            if self.outside.run(self.run_id).status == "closed":
                break
            held = self._process()
            held.finish()
            self._ended(held)
        run = self.outside.run(self.run_id)
        assert run.status == "closed", f"left alone, it is {run.status} in {run.state} ({run.stop_reason})"
        event(f"ended {run.state}")
        self._look()

    def _process(self, *, elsewhere: bool = False) -> Held[RunRecord]:
        """One that takes the run up, whoever has it: by expiry, since nobody can tell who lives."""

        def live(mortal: Mortal) -> RunRecord:
            with mortal.journal(self.outside.path, durability="process-crash") as journal:
                self.rehearsal.deliver(journal, mortal)
                program = self.rehearsal.program(mortal)
                driver = Driver(journal, program, ttl=timedelta(0), heartbeat=HOUR, cancel_poll=HOUR)
                self.drivers[held] = driver
                return driver.drive(self.run_id, take_over=True, force=True)

        held = Held(live, elsewhere=elsewhere)
        return held

    def _hears(self, held: Held[RunRecord] | None) -> None:
        """What its heart would tell it by and by, at a time that only the clock knows: now, the same every time."""
        if held in self.drivers:
            self.drivers[held].listen()

    def _kill(self, held: Held[RunRecord]) -> None:
        held.die()
        self._ended(held)

    def _ended(self, held: Held[RunRecord]) -> None:
        """It ended as a process may: in a result, by death, or because the run is another's now."""
        self.drivers.pop(held, None)
        if held.error is not None and not isinstance(held.error, Death | LeaseHeld):
            self.failed = True
            raise held.error
        if isinstance(held.error, EngineError):
            event("superseded")

    def _nobody_writes(self) -> bool:
        return not any(held.writing for held in (*self.paused, *filter(None, [self.current])))

    def _look(self) -> None:
        if self._nobody_writes():
            found = list(self.rehearsal.violations(self.outside, self.run_id))
            self.failed = bool(found)
            assert not found, found


@cache
def _blank() -> Path:
    """An empty journal: making one takes longer than a whole example."""
    folder = tempfile.mkdtemp(prefix="necrocode-blank-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = Path(folder) / "journal.db"
    Journal(path, durability="process-crash").close()
    return path
