"""What a handler is given: the run's data, and the only doors to the outside world."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from necrocode.engine.canonical import clean
from necrocode.engine.claim import Addition, Claim, OutboxItem
from necrocode.engine.effects import Adopt, Attempt, Do, Json, OpenEffect, Policy, Reconcile, Recorded, Refuse, Repeat
from necrocode.engine.errors import (
    EffectFailed,
    EnvironmentFault,
    InDoubt,
    NonDeterminismError,
    StopSignal,
    Superseded,
    TaskError,
)
from necrocode.engine.ids import idempotency_key
from necrocode.engine.retry import NEVER, RetryPolicy
from necrocode.engine.stop import StopToken
from necrocode.engine.visit import Step, Visit, history, last_recorded, scope_of

_REPEAT = Repeat()


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
        visit: Visit,
        *,
        settings: Mapping[str, Json],
        stop: StopToken,
        active: Callable[[], timedelta],
        scope: str | None = None,
    ) -> None:
        self._claim = claim
        self._visit = visit
        self._steps = visit.steps if scope is None else {}
        self._scope = scope or scope_of(visit.number)
        #: How entries say which effect they are about.
        self._place: dict[str, Json] = {"visit": visit.number} if scope is None else {"scope": scope}
        self._active = active
        self._ordinal = 0
        self._pending: list[Addition] = []
        self._amended: dict[str, Json] = {}
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
        """The run's data: what transitions have recorded so far."""
        recorded = self._claim.run.data
        return {**recorded, **self._amended} if self._amended else recorded

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
        tolerate: bool = False,
    ) -> Json:
        """Do something outside, once, and return its recorded result.

        Recorded already: the result is returned and nothing is done. New: an intent is committed, ``do`` is called
        (again, as ``retry`` says, after transient failures), its result is committed. In doubt: ``policy`` decides.

        ``note`` goes into the intent, for people. A :class:`TaskError` out of ``do`` is recorded and raised again on
        replay. An :class:`EnvironmentFault` parks the run, and the effect is attempted anew after resuming; with
        ``tolerate`` it is recorded instead, and :class:`EffectFailed` is raised, now and on replay.
        """
        ordinal, step = self._next(name, key)
        if step is not None and step.settled is not None:
            return self._recorded(step)
        self.stop.check()
        token = idempotency_key(self.run_id, self._scope, ordinal, name, key)
        if step is None:
            intent: dict[str, Json] = {**self._place, "ordinal": ordinal}
            if note is not None:
                intent["note"] = note
            self._commit(Addition("intent", name, intent, key))
            step = Step(name, key, self._claim.run.head_seq, note, in_doubt=False)
        elif step.retry_at is not None:
            self._wait_until(step.retry_at)
        outcome = self._attempt(step, ordinal, token, do, policy, retry, tolerate=tolerate)
        payload = self._commit(Addition("outcome", name, {**self._place, "ordinal": ordinal, **outcome}, key))
        return self._result(payload)

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
            outcome = {"error": _described(error)}
        cleaned = clean({**self._place, "ordinal": ordinal, **outcome}, self._claim.journal.mask)
        self._pending.append(Addition("outcome", name, cleaned, key))
        return self._result(cleaned)

    def post(self, sink: str, call: str, payload: Mapping[str, Json], *, item_id: str | None = None) -> str:
        """Leave a call in the outbox, to be delivered once the sink can be reached; returns its idempotency key."""
        name = f"outbox.{sink}"
        ordinal, step = self._next(name, call)
        if step is not None and step.settled is not None:
            return str(self._recorded(step)["item_id"])
        item_id = item_id or idempotency_key(self.run_id, self._scope, ordinal, name, call)
        cleaned = clean(dict(payload), self._claim.journal.mask)
        outcome = {**self._place, "ordinal": ordinal, "result": {"item_id": item_id}}
        self._commit(Addition("outcome", name, outcome, call), outbox=OutboxItem(item_id, sink, call, cleaned))
        return item_id

    def warn(self, name: str, payload: Mapping[str, Json]) -> None:
        """Record something that a person should know; the run goes on."""
        ordinal, step = self._next(name, "")
        if step is None:
            self._pending.append(Addition("warning", name, {**self._place, "ordinal": ordinal, **payload}))

    # --- what the handler may not take from the world itself ---

    def now(self) -> datetime:
        """The time, the same on every replay."""
        microseconds = self.observe("clock", self._claim.clock.microseconds)
        return datetime.fromtimestamp(microseconds / 1_000_000, UTC)

    def random(self) -> float:
        """A random number in [0, 1), the same on every replay."""
        return float(self.observe("random", random.random))

    def head(self) -> str:
        """The hash of the journal's last entry of this run, the same on every replay."""
        return str(self.observe("head", lambda: self._claim.run.head_hash))

    def version(self, change_id: str) -> bool:
        """Whether this visit was begun by code that knows ``change_id``: lets new code pass over old journals."""
        step = self._steps.get(self._ordinal)
        replaying = self._ordinal < len(self._steps)
        if replaying and (step is None or (step.name, step.key) != ("version", change_id)):
            return False
        return bool(self.observe("version", lambda: True, key=change_id))

    # --- what is known already ---

    def history(self, state: str) -> list[Recorded]:
        """Recorded outcomes of earlier visits of ``state``, in order."""
        return history(self._claim.journal, self.run_id, state, self._visit.number)

    def in_doubt(self) -> list[OpenEffect]:
        """Effects of the present visit that were under way when a process died."""
        return self._visit.open_effects(self.run_id)

    def last_recorded(self, field: str) -> Json | None:
        """The last value that any outcome of the run gave to ``field`` of its result, whatever the visit."""
        return last_recorded(self._claim.journal, self.run_id, field)

    def take_pending(self) -> list[Addition]:
        """Entries that wait to be committed with the next; the driver commits them with the transition."""
        pending, self._pending = self._pending, []
        return pending

    # --- inside ---

    def _next(self, name: str, key: str) -> tuple[int, Step | None]:
        ordinal = self._ordinal
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

    def _attempt(
        self, step: Step, ordinal: int, token: str, do: Do, policy: Policy, retry: RetryPolicy, *, tolerate: bool
    ) -> dict[str, Json]:
        number, doubtful = step.failed, step.in_doubt

        def once() -> Json:
            nonlocal number
            number += 1
            attempt = Attempt(idempotency_key=token, number=number, epoch=self.epoch, stop=self.stop)
            # A failed attempt may have happened all the same (a cut connection, a command whose snapshot failed).
            settle = doubtful or (number > 1 and isinstance(policy, Reconcile | Adopt))
            if settle:
                return _settle(policy, attempt, do, step.name)
            return do(attempt)

        def failed(error: BaseException, *, retry_at: int | None, final: bool) -> None:
            payload = {
                **self._place,
                "ordinal": ordinal,
                "number": number,
                "error": _described(error),
                "retry_at": retry_at,
                "final": final,
            }
            self._commit(Addition("attempt", step.name, payload, step.key))

        def before_sleep(_: int, error: BaseException, wait: timedelta) -> None:
            due = self._claim.clock.microseconds() + wait // timedelta(microseconds=1)
            failed(error, retry_at=due, final=False)

        retrying = retry.retrying(done=step.failed_in_round, sleep=self._sleep, before_sleep=before_sleep)
        try:
            return {"result": retrying(once)}
        except TaskError as error:
            return {"error": _described(error)}
        except EnvironmentFault as error:
            failed(error, retry_at=None, final=True)
            if tolerate:
                return {"error": _described(error), "tolerated": True}
            raise
        except Superseded:
            raise
        except (StopSignal, Exception) as error:
            failed(error, retry_at=None, final=True)
            raise

    def _sleep(self, duration: timedelta) -> None:
        self.stop.wait(duration)
        self.stop.check()

    def _wait_until(self, due: int) -> None:
        left = due - self._claim.clock.microseconds()
        if left > 0:
            self._sleep(timedelta(microseconds=left))

    def _commit(self, addition: Addition, *, outbox: OutboxItem | None = None) -> dict[str, Json]:
        pending = self.take_pending()
        return self._claim.append([*pending, addition], outbox=[outbox] if outbox else [])[-1]


def _settle(policy: Policy, attempt: Attempt, do: Do, name: str) -> Json:
    """Do what the policy says about an effect in doubt."""
    if isinstance(policy, Reconcile):
        found = policy.ask(attempt)
        return do(attempt) if found is None else found
    if isinstance(policy, Adopt):
        return policy.attach(attempt)
    if isinstance(policy, Refuse):
        raise InDoubt(f"the process died during {name!r}, and it cannot be told whether it happened")
    return do(attempt)


def _described(error: BaseException) -> dict[str, Json]:
    described: dict[str, Json] = {
        "type": type(error).__name__,
        "message": str(error),
        "stop_reason": getattr(error, "stop_reason", "internal_error"),
    }
    if isinstance(error, TaskError):
        described["trigger"] = error.trigger
    return described
