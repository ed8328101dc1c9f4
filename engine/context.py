"""What a handler is given: the run's data, and the only doors to the outside world."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from necrocode.engine.attempts import Attempts, Effort, described
from necrocode.engine.canonical import clean, copied
from necrocode.engine.claim import Addition, Claim, OutboxItem
from necrocode.engine.effects import Do, Json, OpenEffect, Policy, Recorded, Repeat
from necrocode.engine.entry import Draft, moment
from necrocode.engine.errors import EffectFailed, EnvironmentFault, JournalError, NonDeterminismError, TaskError
from necrocode.engine.ids import idempotency_key
from necrocode.engine.lifecycle import Lifecycle
from necrocode.engine.retry import NEVER, RetryPolicy
from necrocode.engine.stop import StopToken
from necrocode.engine.visit import Step, Visit, field_of, history, last_recorded, scope_of

_REPEAT = Repeat()
_PLACE = ("visit", "scope", "ordinal")


class Context:
    """One visit of a state (or one recovery, or one parking), as its handler sees it.

    Handlers are replayed: after a crash the state's handler runs again from its start, and every call below returns
    what was recorded in its place instead of doing anything. So a handler must ask for the same things in the same
    order as long as it is told the same; an effect that differs from the recorded one in its place raises
    :class:`NonDeterminismError`.
    """

    def __init__(
        self,
        claim: Claim,
        lifecycle: Lifecycle,
        visit: Visit,
        *,
        settings: Mapping[str, Json],
        stop: StopToken,
        active: Callable[[], timedelta],
        pending: list[Draft],
        scope: str | None = None,
        force: bool = False,
    ) -> None:
        self._claim = claim
        self._lifecycle = lifecycle
        self._visit = visit
        self._steps = visit.steps if scope is None else {}
        #: Of a recovery or a parking; ``None`` in a visit.
        self._own_scope = scope
        self._active = active
        self._force = force
        self._ordinal = 0
        #: Entries that wait to be committed with the next; the driver's, since they outlive this context.
        self._pending = pending
        self._versions: dict[str, bool] = {}
        self._amended: dict[str, Json] = {}
        self._data: tuple[Mapping[str, Json], dict[str, Json]] | None = None
        #: The effective configuration, as recorded.
        self.settings = settings
        #: To be looked at in every wait.
        self.stop = stop

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._claim.run.run_id

    @property
    def state(self) -> str:
        """The state being worked on."""
        return self._claim.run.state

    @property
    def visit(self) -> int:
        """How many transitions the run has made."""
        return self._visit.number

    @property
    def epoch(self) -> int:
        """The lease's epoch."""
        return self._claim.epoch

    @property
    def data(self) -> Mapping[str, Json]:
        """The run's data: what transitions have recorded so far. A copy: changing it changes nothing."""
        recorded = self._claim.run.data
        if self._data is None or self._data[0] is not recorded:
            # As it would be read back, the order of its keys included.
            self._data = (recorded, copied(recorded))
        return {**self._data[1], **self._amended} if self._amended else self._data[1]

    def amend(self, patch: Mapping[str, Json]) -> None:
        """Let :attr:`data` show what this handler is about to record."""
        self._amended.update(patch)

    @property
    def active(self) -> timedelta:
        """How long the run has been worked on; time dead or parked does not count."""
        return self._active()

    def remaining(self) -> timedelta | None:
        """Active time left until the deadline; ``None`` if there is none."""
        return self.stop.remaining

    # --- effects ---

    def effect(
        self,
        name: str,
        do: Do,
        *,
        key: str = "",
        policy: Policy = _REPEAT,
        retry: RetryPolicy = NEVER,
        note: Json = None,
        tolerate: bool | Callable[[EnvironmentFault], bool] = False,
    ) -> Json:
        """Do something outside, once, and return its recorded result.

        Recorded already: the result is returned and nothing is done. New: an intent is committed, ``do`` is called
        (again, as ``retry`` says, after transient failures), its result is committed. In doubt: ``policy`` decides.

        ``note`` goes into the intent, for people and for recovery. A :class:`TaskError` out of ``do`` is recorded and
        raised again on replay. An :class:`EnvironmentFault` parks the run, and the effect is attempted anew after
        resuming; with ``tolerate`` (always, or for such a fault) it is recorded instead, and :class:`EffectFailed` is
        raised, now and on replay. A
        :class:`StopSignal` out of ``do`` leaves the effect in doubt, like a death.
        """
        ordinal, step = self._next(name, key)
        if step is not None and step.settled is not None:
            return self._recorded(step)
        self.stop.check()
        key = self._stored(key)
        place = {**self._place, "ordinal": ordinal}
        if step is None or not step.in_doubt:
            # Also when it was given up before: without a word in the journal, a death in the new attempt would be
            # taken for that failure.
            self._commit(Addition("intent", name, place if note is None else {**place, "note": note}, key))
            step = step or Step(name, key, self._claim.run.head_seq, note, in_doubt=False)

        def failed(facts: Mapping[str, Json], outcome_follows: bool) -> None:
            attempt = Addition("attempt", name, {**place, **facts}, key)
            if outcome_follows:
                self._wait_for_commit(attempt)
            else:
                self._commit(attempt)

        outcome = Attempts(
            Effort(do, policy, retry, tolerate if callable(tolerate) else lambda _: tolerate, self._force),
            step,
            idempotency_key=idempotency_key(self.run_id, self._scope, ordinal, name, key),
            epoch=self.epoch,
            stop=self.stop,
            clock=self._claim.clock,
            failed=failed,
        ).make()
        return self._result(self._commit(Addition("outcome", name, {**place, **outcome}, key)))

    def observe(self, name: str, do: Callable[[], Json], *, key: str = "") -> Json:
        """Look at something outside, without changing it, and return what is recorded of it.

        There is no intent, and the outcome is committed with whatever the handler records next: a look that a crash
        loses is taken again.
        """
        ordinal, step = self._next(name, key)
        if step is not None and step.settled is not None:
            return self._recorded(step)
        self.stop.check()
        try:
            outcome: dict[str, Json] = {"result": do()}
        except TaskError as error:
            outcome = {"error": described(error)}
        except JournalError as error:
            # Another database's trouble, not this journal's.
            raise EnvironmentFault(str(error), stop_reason=error.stop_reason) from error
        payload = {**self._place, "ordinal": ordinal, **outcome}
        made = self._wait_for_commit(Addition("outcome", name, payload, self._stored(key)))
        # A copy, since what waits may still be looked at.
        return copy.deepcopy(self._result(made.payload))

    def post(self, sink: str, call: str, payload: Mapping[str, Json], *, item_id: str | None = None) -> str:
        """Leave a call in the outbox, to be delivered once the sink can be reached; returns its idempotency key."""
        name = f"outbox.{sink}"
        ordinal, step = self._next(name, call)
        if step is not None and step.settled is not None:
            return str(self._recorded(step)["item_id"])
        call = self._stored(call)
        item_id = self._stored(item_id) if item_id else idempotency_key(self.run_id, self._scope, ordinal, name, call)
        parcel = OutboxItem(item_id, sink, call, clean(dict(payload), self._claim.journal.mask))
        outcome = {**self._place, "ordinal": ordinal, "result": {"item_id": item_id, "sha256": parcel.sha256}}
        self._commit(Addition("outcome", name, outcome, call), outbox=parcel)
        return item_id

    def warn(self, name: str, payload: Mapping[str, Json]) -> None:
        """Record something that a person should know; the run goes on.

        Raises ``ValueError`` if ``payload`` uses a name that says where the warning stands: visit, scope, ordinal.
        """
        taken = sorted(set(_PLACE) & set(payload))
        if taken:
            raise ValueError(f"a warning's payload may not use the names {taken}")
        ordinal, step = self._next(name, "")
        if step is None:
            self._wait_for_commit(Addition("warning", name, {**self._place, "ordinal": ordinal, **payload}))

    # --- what the handler may not take from the world itself ---

    def now(self) -> datetime:
        """The time, the same on every replay."""
        return moment(self.observe("clock", self._claim.clock.microseconds))

    def random(self) -> float:
        """A random number in [0, 1), the same on every replay."""
        return float(self.observe("random", random.random))

    def head(self) -> str:
        """The hash of the journal's last entry of this run, the same on every replay."""
        return str(self.observe("head", lambda: self._claim.run.head_hash))

    def version(self, change_id: str) -> bool:
        """Whether this visit was first brought here by code that knows ``change_id``: lets new code pass over old
        journals. The answer is the same all through the visit.
        """
        if change_id not in self._versions:
            step = self._steps.get(self._ordinal)
            old = step is not None and (step.name, step.key) != ("version", change_id)
            self._versions[change_id] = not old and bool(self.observe("version", lambda: True, key=change_id))
        return self._versions[change_id]

    # --- what is known already ---

    def history(self, state: str) -> list[Recorded]:
        """Recorded outcomes of earlier visits of ``state``, in order."""
        names = self._lifecycle.names(state)
        return history(self._claim.journal, self.run_id, names, self._visit.number)

    def in_doubt(self) -> list[OpenEffect]:
        """Effects of the present visit that were under way when a process died."""
        return self._visit.open_effects(self.run_id)

    def last_recorded(self, field: str, *, effect: str | None = None) -> Json | None:
        """The last value that any outcome of the run gave to ``field`` of its result, whatever the visit; on a replay,
        the last that it had given by then. ``effect``: only outcomes of that name, so that not all have to be read.
        """
        for made in reversed(self._pending):
            asked = made.kind == "outcome" and effect in (None, made.name)
            value = field_of(made.payload, field) if asked else None
            if value is not None:
                return copy.deepcopy(value)
        following = self._steps.get(self._ordinal)
        before = following.seq if following else None
        return last_recorded(self._claim.journal, self.run_id, field, before, effect)

    def check_complete(self) -> None:
        """Raise :class:`NonDeterminismError` if the journal holds effects of this visit that were not asked for."""
        if self._ordinal < len(self._steps):
            step = self._steps[self._ordinal]
            raise NonDeterminismError(
                f"run {self.run_id}, {self.state}: effect {self._ordinal} of this visit is recorded as {step.name!r} "
                f"({step.key!r}), but the handler ended without asking for it"
            )

    # --- inside ---

    @property
    def _scope(self) -> str:
        return self._own_scope or scope_of(self._visit.number)

    @property
    def _place(self) -> dict[str, Json]:
        """How entries say which effect they are about."""
        return {"visit": self._visit.number} if self._own_scope is None else {"scope": self._own_scope}

    def _stored(self, text: str) -> str:
        """``text`` as the journal would hold it."""
        return str(clean(text, self._claim.journal.mask)) if text else text

    def _next(self, name: str, key: str) -> tuple[int, Step | None]:
        ordinal, key = self._ordinal, self._stored(key)
        step = self._steps.get(ordinal)
        if step is not None and (step.name, step.key) != (name, key):
            raise NonDeterminismError(
                f"run {self.run_id}, {self.state}: effect {ordinal} of this visit is recorded as {step.name!r} "
                f"({step.key!r}), but the handler asks for {name!r} ({key!r})"
            )
        self._ordinal += 1
        return ordinal, step

    def _recorded(self, step: Step) -> Json:
        assert step.settled is not None
        return self._result(self._claim.journal.payload(step.settled))

    @staticmethod
    def _result(payload: Mapping[str, Any]) -> Json:
        error = payload.get("error")
        if error is None:
            return payload.get("result")
        if payload.get("tolerated"):
            raise EffectFailed(error["message"], stop_reason=error["stop_reason"])
        raise TaskError(error["message"], stop_reason=error["stop_reason"], trigger=error["trigger"])

    def _commit(self, addition: Addition, *, outbox: OutboxItem | None = None) -> dict[str, Json]:
        """Commit everything that waits, and ``addition``."""
        stored = self._claim.append([*self._pending, addition], outbox=[outbox] if outbox else [])
        self._pending.clear()
        return stored[-1]

    def _wait_for_commit(self, addition: Addition) -> Draft:
        """Have ``addition`` committed with whatever is committed next."""
        made = self._claim.draft(addition)
        self._pending.append(made)
        return made
