"""The driver: claims a run and takes it from state to state until it ends, parks or is interrupted."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from necrocode.engine.canonical import clean
from necrocode.engine.claim import HEARTBEAT, LEASE_TTL, Addition, Claim, Observer, claim
from necrocode.engine.context import Context
from necrocode.engine.effects import Json
from necrocode.engine.entry import Draft, pack
from necrocode.engine.errors import (
    EngineError,
    EnvironmentFault,
    Interrupted,
    JournalError,
    LeaseHeld,
    LifecycleError,
    NoTransition,
    RunEnded,
    StopSignal,
    StopTriggered,
    Superseded,
    TaskError,
)
from necrocode.engine.journal import Journal
from necrocode.engine.lifecycle import Lifecycle
from necrocode.engine.runs import RunRecord
from necrocode.engine.stop import StopToken
from necrocode.engine.visit import Visit, load_visit

log = logging.getLogger("necrocode.engine")

POISON_DEATHS = 3
"""After this many processes in a row died at the same entry, the run is parked instead of killing another."""

CANCEL_POLL = timedelta(seconds=0.5)
"""How often the holder looks whether somebody asked for a cancel."""


class Outcome(NamedTuple):
    """What a handler wants: fire ``trigger``, with ``data`` merged into the run's data."""

    trigger: str
    data: Mapping[str, Json] = MappingProxyType({})


Handler: TypeAlias = Callable[[Context], Outcome]
Recover: TypeAlias = Callable[[Context], Mapping[str, Json]]
Park: TypeAlias = Callable[[Context, EngineError], Mapping[str, Json]]


@dataclass(frozen=True, slots=True)
class Program:
    """A lifecycle with the code that works in its states.

    ``recover`` runs whenever a run is taken up again, before its handler; ``park`` before it is parked. What they
    return is merged into the run's data. Their effects are never replayed: each take-up does its own, so they must be
    safe to repeat (declared keys that stay the same, or asking first).
    """

    lifecycle: Lifecycle
    handlers: Mapping[str, Handler]
    recover: Recover = lambda _: {}
    park: Park = lambda _, __: {}

    def __post_init__(self) -> None:
        working = {name for name, state in self.lifecycle.states.items() if not state.terminal}
        if working != set(self.handlers):
            raise LifecycleError(
                f"{self.lifecycle.name}: states without a handler {sorted(working - set(self.handlers))}, "
                f"handlers without a state {sorted(set(self.handlers) - working)}"
            )


class Driver:
    """Drives runs of one program. One driver drives one run at a time; use one per thread.

    Every ``heartbeat`` it says that it lives, every ``cancel_poll`` it looks whether somebody asked for a cancel.
    """

    def __init__(
        self,
        journal: Journal,
        program: Program,
        *,
        settings: Mapping[str, Json] | None = None,
        observer: Observer | None = None,
        ttl: timedelta = LEASE_TTL,
        heartbeat: timedelta = HEARTBEAT,
        cancel_poll: timedelta = CANCEL_POLL,
    ) -> None:
        self._journal = journal
        self._program = program
        self._settings = settings
        self._observer = observer
        self._ttl = ttl
        self._heartbeat = heartbeat
        self._cancel_poll = cancel_poll
        self._drive: _Drive | None = None
        self._heart: _Heart | None = None
        self._interrupt: Interrupted | None = None
        #: What the heart is to hear. A queue of this kind may be written to in a signal handler; a lock may not be
        #: taken there, since the thread that was interrupted may hold it.
        self._mail: queue.SimpleQueue[StopSignal | None] = queue.SimpleQueue()

    @property
    def stop(self) -> StopToken | None:
        """What the present state's waits look at; ``None`` while nothing is driven."""
        return self._drive.stop if self._drive is not None else None

    @property
    def epoch(self) -> int | None:
        """The epoch of the run that is driven; ``None`` while nothing is."""
        drive = self._drive
        return drive.claim.epoch if drive is not None else None

    def fence(self) -> None:
        """For effects on what cannot tell an old epoch from a new one, such as a folder of files: look at the lease.

        Raises :class:`Superseded` if another process drives the run by now. What is stopped between this look and its
        effect is not helped; what wakes from a long wait is.
        """
        drive = self._drive
        if drive is not None:
            drive.claim.check()

    def interrupt(self, message: str = "interrupted") -> None:
        """Stop soon and leave the run resumable. Safe in a signal handler and from other threads."""
        self._interrupt = Interrupted(message)
        self._mail.put(self._interrupt)

    def request(self, signal: StopTriggered) -> None:
        """Have the run leave its state by a trigger, or the next state that listens to it; nothing if none is driven.

        Not for signal handlers.
        """
        if (drive := self._drive) is not None:
            drive.request(signal)

    def listen(self) -> None:
        """Look now whether somebody asked for a cancel, as the heart does every ``cancel_poll``."""
        if (heart := self._heart) is not None:
            heart.listen()

    def drive(self, run_id: str, *, take_over: bool = False, force: bool = False) -> RunRecord:
        """Take ``run_id`` as far as it goes; returns it closed, parked or interrupted.

        ``take_over`` as in :func:`~necrocode.engine.claim.claim`; ``force`` drives a run that was parked as poison, and
        has an effect done again that its policy refuses to do when in doubt.

        Raises :class:`LeaseHeld` if another live process drives it, or took it over meanwhile;
        :class:`LifecycleError` if it was made by a lifecycle that this program cannot continue; :class:`JournalError`
        if the journal cannot be used.
        """
        lifecycle = self._program.lifecycle

        def admit(run: RunRecord) -> tuple[int, str]:
            if run.lifecycle != lifecycle.name:
                raise LifecycleError(f"run {run_id} belongs to the lifecycle {run.lifecycle!r}, not {lifecycle.name!r}")
            if run.stop_reason == "poison" and not force:
                raise EnvironmentFault(f"run {run_id} is poison: resume it with --force", stop_reason="poison")
            return lifecycle.version, lifecycle.mapped(run.version, run.state)

        try:
            held = claim(
                self._journal, run_id, admit=admit, take_over=take_over, ttl=self._ttl, observer=self._observer
            )
        except RunEnded:
            return self._journal.run(run_id)
        try:
            visit = load_visit(self._journal, held.run)
            self._drive = drive = _Drive(held, self._program, visit, self._settings, force=force)
            if self._interrupt is not None:
                drive.request(self._interrupt)
            self._heart = heart = _Heart(drive, self._mail, self._heartbeat, self._cancel_poll)
            with heart:
                return drive.run()
        except Superseded as signal:
            raise LeaseHeld(f"{signal}: another process drives run {run_id} now") from signal
        finally:
            self._drive = self._heart = None
            held.abandon()


class _Drive:
    """One claim, from taking it to letting it go."""

    def __init__(
        self, held: Claim, program: Program, visit: Visit, settings: Mapping[str, Json] | None, *, force: bool
    ) -> None:
        self.claim = held
        self._program = program
        self._visit = visit
        self._force = force
        #: Of the present state: each has its own, since not every state listens to every signal.
        self.stop = StopToken()
        self._requests: list[StopSignal] = []
        #: A request that comes while the run moves on must reach the state it is in then, and no other.
        self._entering = threading.Lock()
        self._parking = False
        self._recovered = held.epoch == 1
        #: Entries that wait to be committed with the next one.
        self._pending: list[Draft] = []
        self._timeout, self._deadline_at, self._recorded = _created(held)
        self._is_timed = self._timeout is not None or self._deadline_at is not None
        self._settings: Mapping[str, Json] = self._recorded
        if settings is not None:
            self._settings = clean(dict(settings), held.journal.mask)

    def request(self, signal: StopSignal) -> None:
        """Ask the run to stop. One that the present state does not listen to waits for a state that does."""
        with self._entering:
            self._requests.append(signal)
            self._tell(signal)

    def run(self) -> RunRecord:
        if self._settings != self._recorded:
            # A change is an entry of its own: what was recorded under the old ones stays explicable.
            changed = {"settings": self._settings}
            self.claim.append([Addition("warning", "settings_changed", changed, key="settings")])
        if self._visit.deaths >= POISON_DEATHS and not self._force:
            return self._park_poison()
        states = self._program.lifecycle.states
        while not states[self.claim.run.state].terminal:
            context = self._enter()
            try:
                self._move(self._outcome(context))
            except Interrupted as signal:
                interrupted = Addition("lease", "interrupted", {"message": str(signal)})
                self._append(interrupted, release=True)
                return self.claim.run
            except EnvironmentFault as fault:
                return self._park(fault)
            except NoTransition as error:
                return self._park(EnvironmentFault(str(error), stop_reason="no_transition"))
            except Exception as error:
                log.exception("run %s: %s failed", self.claim.run.run_id, self.claim.run.state)
                return self._park(EnvironmentFault(f"{type(error).__name__}: {error}", stop_reason="internal_error"))
        return self.claim.run

    def _enter(self) -> Context:
        with self._entering:
            self.stop = StopToken()
            if self._is_timed and self._listens_to("deadline"):
                self._arm_deadline()
            for signal in self._requests:
                self._tell(signal)
        return self._context()

    def _outcome(self, context: Context) -> Outcome:
        """What the present state ends with: what its handler wants, or what made it leave."""
        try:
            if not self._recovered:
                self._recover()
            outcome = self._program.handlers[self.claim.run.state](context)
            context.check_complete()
        except (TaskError, StopTriggered) as error:
            return Outcome(error.trigger, {"stop_reason": error.stop_reason, "error": str(error)})
        return outcome

    def _recover(self) -> None:
        self.stop.check()
        patch = dict(self._program.recover(self._context(f"resume-{self.claim.epoch}")))
        self._append(Addition("lease", "resumed", {"patch": patch}))
        self._recovered = True

    def _move(self, outcome: Outcome) -> None:
        run, lifecycle, number = self.claim.run, self._program.lifecycle, self._visit.number + 1
        # The guards see what will be recorded, so that they hold on it for ever.
        patch = clean(dict(outcome.data), self.claim.journal.mask)
        row = lifecycle.choose(run.state, outcome.trigger, {**run.data, **patch})
        payload = {"patch": patch, "visit": number}
        moves: list[Addition | Draft] = [
            Draft("transition", row.trigger, row.source, row.target, payload, *pack(payload))
        ]
        ends = lifecycle.states[row.target].terminal
        if ends:
            moves.append(Addition("closed", row.target, {}, state=row.target))
        self._append(*moves, release=ends)
        self._visit = Visit(number, active=self._visit.active)
        # A run that left its state needs no recovery of what it was doing there.
        self._recovered = True

    def _park_poison(self) -> RunRecord:
        deaths = self._visit.deaths
        fault = EnvironmentFault(
            f"{deaths} processes died at this place, one after the other; look at the log, then resume with --force",
            stop_reason="poison",
        )
        # Where even parking was deadly, the run is parked without letting go of what it holds.
        return self._park(fault, let_go=deaths == POISON_DEATHS)

    def _park(self, fault: EngineError, *, let_go: bool = True) -> RunRecord:
        if isinstance(fault, JournalError):
            # What cannot be written cannot be parked: the next process finds the run as it is.
            raise fault
        with self._entering:
            # Whatever stopped the state does not stop its parking.
            self._parking, self.stop = True, StopToken()
        context = self._context(f"park-{self.claim.epoch}")
        patch: Mapping[str, Json] = {}
        try:
            if let_go:
                patch = clean(dict(self._program.park(context, fault)), self.claim.journal.mask)
        except JournalError:
            raise
        except Exception as error:
            log.exception("run %s: parking failed", self.claim.run.run_id)
            context.warn("park_failed", {"error": str(error)})
        reason, message = getattr(fault, "stop_reason", "environment"), str(fault)
        self._append(
            Addition("parked", reason, {"message": message, "patch": {**patch, "error": message}}), release=True
        )
        return self.claim.run

    def _append(self, *additions: Addition | Draft, release: bool = False) -> None:
        self.claim.append([*self._pending, *additions], release=release)
        self._pending.clear()

    def _context(self, scope: str | None = None) -> Context:
        return Context(
            self.claim,
            self._program.lifecycle,
            self._visit,
            settings=self._settings,
            stop=self.stop,
            active=self._active,
            pending=self._pending,
            scope=scope,
            force=self._force,
        )

    def _tell(self, signal: StopSignal) -> None:
        if isinstance(signal, StopTriggered) and not self._listens_to(signal.trigger):
            return
        if not self._parking or isinstance(signal, Superseded):
            self.stop.stop(signal)

    def _listens_to(self, trigger: str) -> bool:
        return trigger in self._program.lifecycle.triggers(self.claim.run.state)

    def _active(self) -> timedelta:
        return self._visit.active + self.claim.clock.elapsed

    def _arm_deadline(self) -> None:
        left: list[tuple[timedelta, str]] = []
        if self._timeout is not None:
            left.append((self._timeout - self._active(), f"the task's {self._timeout} of active time are over"))
        if self._deadline_at is not None:
            left.append((self._deadline_at - datetime.now(UTC), f"it is past {self._deadline_at.isoformat()}"))
        if left:
            remaining, why = min(left)
            self.stop.expire_after(remaining, StopTriggered("deadline", why, stop_reason="deadline"))


class _Heart:
    """Beats while a run is driven, and listens for what others ask of it."""

    def __init__(
        self, drive: _Drive, mail: queue.SimpleQueue[StopSignal | None], interval: timedelta, cancel_poll: timedelta
    ) -> None:
        self._drive = drive
        self._mail = mail
        self._interval = interval.total_seconds()
        self._cancel_poll = min(cancel_poll, interval).total_seconds()
        self._cancel_heard = False
        self._thread = threading.Thread(target=self._live, name="necrocode-heart", daemon=True)

    def __enter__(self) -> _Heart:
        self.listen()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._mail.put(None)
        self._thread.join()

    def _live(self) -> None:
        due = time.monotonic() + self._interval
        while True:
            try:
                signal = self._mail.get(timeout=self._cancel_poll)
            except queue.Empty:
                pass
            else:
                if signal is None:
                    return
                self._drive.request(signal)
            try:
                self.listen()
                if time.monotonic() >= due:
                    due = time.monotonic() + self._interval
                    self._beat()
            except JournalError as error:
                # The driving thread meets the same trouble at its next append and says so.
                log.warning("heartbeat: %s", error)

    def _beat(self) -> None:
        if not self._drive.claim.beat():
            self._drive.request(Superseded(f"epoch {self._drive.claim.epoch} is over"))

    def listen(self) -> None:
        held = self._drive.claim
        if not self._cancel_heard and held.journal.cancel_requested(held.run.run_id):
            self._cancel_heard = True
            self._drive.request(StopTriggered("cancel", "cancelled on request", stop_reason="cancelled"))


def _created(held: Claim) -> tuple[timedelta | None, datetime | None, Mapping[str, Json]]:
    """Timeout, deadline and the settings recorded last."""
    journal, run_id = held.journal, held.run.run_id
    payload = journal.payload(journal.entry(run_id, 1))
    timeout = payload["timeout_seconds"]
    deadline = payload["deadline_at"]
    return (
        timedelta(seconds=timeout) if timeout is not None else None,
        datetime.fromisoformat(deadline) if deadline is not None else None,
        journal.settings(run_id),
    )
