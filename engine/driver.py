"""The driver: claims a run and takes it from state to state until it ends, parks or is interrupted."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from necrocode.engine.claim import HEARTBEAT, LEASE_TTL, Addition, Claim, Observer, claim
from necrocode.engine.context import Context
from necrocode.engine.effects import Json
from necrocode.engine.errors import (
    EngineError,
    EnvironmentFault,
    Interrupted,
    JournalError,
    LeaseHeld,
    LifecycleError,
    NoTransition,
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


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a handler wants: fire ``trigger``, with ``data`` merged into the run's data."""

    trigger: str
    data: Mapping[str, Json] = field(default_factory=dict)


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
    """Drives runs of one program. One driver drives one run at a time; use one per thread."""

    def __init__(
        self,
        journal: Journal,
        program: Program,
        *,
        settings: Mapping[str, Json] | None = None,
        observer: Observer | None = None,
        ttl: timedelta = LEASE_TTL,
        heartbeat: timedelta = HEARTBEAT,
    ) -> None:
        self._journal = journal
        self._program = program
        self._settings = settings
        self._observer = observer
        self._ttl = ttl
        self._heartbeat = heartbeat
        self._drive: _Drive | None = None
        self._interrupt: Interrupted | None = None

    def interrupt(self, message: str = "interrupted") -> None:
        """Stop soon and leave the run resumable. Safe in a signal handler and from other threads."""
        self._interrupt = Interrupted(message)
        if self._drive is not None:
            self._drive.request(self._interrupt)

    @property
    def stop(self) -> StopToken | None:
        """What the present state's waits look at; ``None`` while nothing is driven."""
        return self._drive.stop if self._drive is not None else None

    def drive(self, run_id: str, *, take_over: bool = False, force: bool = False) -> RunRecord:
        """Take ``run_id`` as far as it goes; returns it closed, parked or interrupted.

        ``take_over`` as in :func:`~necrocode.engine.claim.claim`; ``force`` drives a run that was parked as poison.

        Raises :class:`LeaseHeld` if another live process drives it, or took it over meanwhile;
        :class:`LifecycleError` if it was made by a lifecycle that this program cannot continue; :class:`JournalError`
        if the journal cannot be used.
        """
        run = self._journal.run(run_id)
        if run.status == "closed":
            return run
        lifecycle = self._program.lifecycle
        if run.lifecycle != lifecycle.name:
            raise LifecycleError(f"run {run_id} belongs to the lifecycle {run.lifecycle!r}, not {lifecycle.name!r}")
        if run.stop_reason == "poison" and not force:
            raise EnvironmentFault(f"run {run_id} is poison: resume it with --force", stop_reason="poison")
        state = lifecycle.mapped(run.version, run.state)
        resumed = run.epoch > 0
        held = claim(self._journal, run_id, version=lifecycle.version, state=state, take_over=take_over, ttl=self._ttl)
        held.observer = self._observer
        try:
            visit = load_visit(self._journal, held.run)
            self._drive = drive = _Drive(held, self._program, visit, self._settings)
            if self._interrupt is not None:
                drive.request(self._interrupt)
            with _Heart(drive, self._heartbeat):
                return drive.run(resumed=resumed, force=force)
        except Superseded as signal:
            raise LeaseHeld(f"{signal}: another process drives run {run_id} now") from signal
        finally:
            self._drive = None
            held.abandon()


class _Drive:
    """One claim, from taking it to letting it go."""

    def __init__(self, held: Claim, program: Program, visit: Visit, settings: Mapping[str, Json] | None) -> None:
        self.claim = held
        self._program = program
        self._visit = visit
        self._settings = settings
        #: Of the present state: each has its own, since not every state listens to every signal.
        self.stop = StopToken()
        self._requests: list[StopSignal] = []
        self._timeout, self._deadline_at, self._recorded = _created(held)

    def request(self, signal: StopSignal) -> None:
        """Ask the run to stop. One that the present state does not listen to waits for a state that does."""
        self._requests.append(signal)
        self._tell(signal)

    def run(self, *, resumed: bool, force: bool) -> RunRecord:
        if self._visit.deaths >= POISON_DEATHS and not force:
            return self._park(
                EnvironmentFault(
                    f"{self._visit.deaths} processes died at this place, one after the other; "
                    "look at the log, then resume with --force",
                    stop_reason="poison",
                )
            )
        settings = self._effective_settings()
        recovered = not resumed
        while not self._program.lifecycle.states[self.claim.run.state].terminal:
            context = self._enter(settings)
            try:
                if not recovered:
                    self._recover(settings)
                    recovered = True
                outcome = self._program.handlers[self.claim.run.state](context)
            except (TaskError, StopTriggered) as error:
                outcome = Outcome(error.trigger, {"stop_reason": error.stop_reason, "error": str(error)})
            except Interrupted as signal:
                self.claim.append(
                    [*context.take_pending(), Addition("lease", "interrupted", {"message": str(signal)})], release=True
                )
                return self.claim.run
            except EnvironmentFault as fault:
                return self._park(fault)
            except Exception as error:
                log.exception("run %s: %s failed", self.claim.run.run_id, self.claim.run.state)
                return self._park(EnvironmentFault(f"{type(error).__name__}: {error}", stop_reason="internal_error"))
            # A run that left its state needs no recovery of what it was doing there.
            recovered = True
            try:
                self._move(outcome, context)
            except NoTransition as error:
                return self._park(EnvironmentFault(str(error), stop_reason="no_transition"))
        return self.claim.run

    def _enter(self, settings: Mapping[str, Json]) -> Context:
        self.stop = StopToken()
        if self._listens_to("deadline"):
            self._arm_deadline()
        for signal in self._requests:
            self._tell(signal)
        return self._context(settings)

    def _context(self, settings: Mapping[str, Json], scope: str | None = None) -> Context:
        return Context(self.claim, self._visit, settings=settings, stop=self.stop, active=self._active, scope=scope)

    def _tell(self, signal: StopSignal) -> None:
        if isinstance(signal, StopTriggered) and not self._listens_to(signal.trigger):
            return
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

    def _recover(self, settings: Mapping[str, Json]) -> None:
        self.stop.check()
        context = self._context(settings, scope=f"resume-{self.claim.epoch}")
        patch = self._program.recover(context)
        self.claim.append([*context.take_pending(), Addition("lease", "resumed", {"patch": dict(patch)})])

    def _move(self, outcome: Outcome, context: Context) -> None:
        run = self.claim.run
        lifecycle = self._program.lifecycle
        row = lifecycle.choose(run.state, outcome.trigger, {**run.data, **outcome.data})
        number = self._visit.number + 1
        moves = [
            *context.take_pending(),
            Addition(
                "transition",
                row.trigger,
                {"visit": number, "patch": dict(outcome.data)},
                key=row.source,
                state=row.target,
            ),
        ]
        ends = lifecycle.states[row.target].terminal
        if ends:
            moves.append(Addition("closed", row.target, {}, state=row.target))
        self.claim.append(moves, release=ends)
        self._visit = Visit(number=number, active=self._visit.active)

    def _park(self, fault: EngineError) -> RunRecord:
        reason = getattr(fault, "stop_reason", "environment")
        if isinstance(fault, JournalError):
            # What cannot be written cannot be parked: the next process finds the run as it is.
            raise fault
        self.stop = StopToken()
        context = self._context({}, scope=f"park-{self.claim.epoch}")
        patch: Mapping[str, Json] = {}
        try:
            patch = self._program.park(context, fault)
        except EngineError as error:
            context.warn("park_failed", {"error": str(error)})
        parked = Addition("parked", reason, {"message": str(fault), "patch": {**patch, "error": str(fault)}})
        self.claim.append([*context.take_pending(), parked], release=True)
        return self.claim.run

    def _effective_settings(self) -> Mapping[str, Json]:
        """The settings that hold from now on; a change is an entry of its own."""
        if self._settings is None or dict(self._settings) == dict(self._recorded):
            return self._recorded
        stored = self.claim.append([Addition("warning", "settings_changed", {"settings": dict(self._settings)})])
        settings: Mapping[str, Json] = stored[0]["settings"]
        return settings


class _Heart:
    """Beats while a run is driven, and listens for what others ask of it."""

    def __init__(self, drive: _Drive, interval: timedelta) -> None:
        self._drive = drive
        self._interval = interval
        self._end = StopToken()
        self._cancel_heard = False
        self._thread = threading.Thread(target=self._beat, name="necrocode-heart", daemon=True)

    def __enter__(self) -> _Heart:
        self._listen()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.stop(Interrupted("done"))
        self._thread.join()

    def _beat(self) -> None:
        since = timedelta(0)
        while not self._end.wait(CANCEL_POLL):
            since += CANCEL_POLL
            try:
                self._listen()
                if since >= self._interval:
                    since = timedelta(0)
                    if not self._drive.claim.beat():
                        self._drive.request(Superseded(f"epoch {self._drive.claim.epoch} is over"))
                        return
            except JournalError as error:
                # The driving thread meets the same trouble at its next append and says so.
                log.warning("heartbeat: %s", error)

    def _listen(self) -> None:
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
