"""The attempts of one effect: what its policy says about a doubtful one, retries, and every failure in the journal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from necrocode.engine.clock import EpochClock
from necrocode.engine.effects import Adopt, Attempt, Do, Json, Policy, Reconcile, Refuse
from necrocode.engine.errors import EnvironmentFault, InDoubt, JournalError, TaskError
from necrocode.engine.retry import RetryPolicy
from necrocode.engine.stop import StopToken
from necrocode.engine.visit import Step


@dataclass(frozen=True, slots=True)
class Effort:
    """What an effect declares about how it is attempted."""

    do: Do
    policy: Policy
    retry: RetryPolicy
    #: Whether the handler can do without it, if it fails so.
    tolerates: Callable[[EnvironmentFault], bool]
    #: Whether a person said that an effect whose policy refuses is to be done all the same.
    force: bool


class Attempts:
    """Makes the attempts of one effect that its journal leaves to be made.

    ``failed`` records a failed attempt; its second argument says whether the outcome follows at once.
    """

    def __init__(
        self,
        effort: Effort,
        step: Step,
        *,
        idempotency_key: str,
        epoch: int,
        stop: StopToken,
        clock: EpochClock,
        failed: Callable[[Mapping[str, Json], bool], None],
    ) -> None:
        self._effort = effort
        self._step = step
        self._idempotency_key = idempotency_key
        self._epoch = epoch
        self._stop = stop
        self._clock = clock
        self._failed = failed
        self._number = step.failed
        #: Whether the present attempt settles an earlier one; if that fails, the doubt stays.
        self._settling = False

    def make(self) -> dict[str, Json]:
        """Attempt it until it succeeds or is given up; returns the fields of its outcome.

        Raises the :class:`EnvironmentFault` that it was given up with, if the handler cannot do without it, and
        whatever else its code raises.
        """
        if self._step.retry_at is not None:
            self._wait_until(self._step.retry_at)
        retrying = self._effort.retry.retrying(
            done=self._step.failed_in_round, sleep=self._sleep, before_sleep=self._note_retry
        )
        try:
            return {"result": retrying(self._once)}
        except TaskError as error:
            return {"error": described(error)}
        except JournalError:
            # This journal's own: what it cannot hold it cannot tell of either.
            raise
        except EnvironmentFault as error:
            tolerated = self._effort.tolerates(error)
            self._note(error, in_doubt=self._settling, outcome_follows=tolerated)
            if tolerated:
                return {"error": described(error), "tolerated": True}
            raise
        except Exception as error:
            # A bug, perhaps after the fact: nobody can say how far it got.
            self._note(error, in_doubt=True)
            raise

    def _once(self) -> Json:
        self._number += 1
        attempt = Attempt(
            idempotency_key=self._idempotency_key,
            number=self._number,
            epoch=self._epoch,
            stop=self._stop,
            lost=self._step.lost,
        )
        effort = self._effort
        # A failed attempt may have happened all the same: a cut connection, a command whose snapshot failed.
        again = self._step.in_doubt or self._number > 1
        self._settling = again and isinstance(effort.policy, Reconcile | Adopt)
        try:
            if isinstance(effort.policy, Refuse) and self._step.in_doubt and not effort.force:
                self._settling = True
                raise InDoubt(
                    f"a process died during {self._step.name!r} ({self._step.key!r}), and nobody can tell whether it "
                    "happened: look, then resume with --force to have it done"
                )
            if again and isinstance(effort.policy, Adopt):
                return effort.policy.attach(attempt)
            if again and isinstance(effort.policy, Reconcile):
                found = effort.policy.ask(attempt)
                if found is not None:
                    return found
                self._settling = False
            return effort.do(attempt)
        except JournalError as error:
            # Another database's trouble is an effect's failure like any other.
            raise EnvironmentFault(str(error), stop_reason=error.stop_reason) from error

    def _note_retry(self, _: int, error: BaseException, wait: timedelta) -> None:
        due = self._clock.microseconds() + wait // timedelta(microseconds=1)
        self._note(error, retry_at=due, in_doubt=self._settling)
        # This one failed and says so: the next is in no doubt but for what it settles.
        self._step.in_doubt = self._settling

    def _note(
        self, error: BaseException, *, in_doubt: bool, retry_at: int | None = None, outcome_follows: bool = False
    ) -> None:
        facts = {
            "number": self._number,
            "error": described(error),
            "retry_at": retry_at,
            "final": retry_at is None,
            "in_doubt": in_doubt,
        }
        self._failed(facts, outcome_follows)

    def _wait_until(self, due: int) -> None:
        left = timedelta(microseconds=due - self._clock.microseconds())
        # A wall clock that was set back meanwhile must not make it longer than any wait can be.
        self._sleep(min(left, self._effort.retry.longest))

    def _sleep(self, duration: timedelta) -> None:
        if duration > timedelta(0):
            self._stop.wait(duration)
        self._stop.check()


def described(error: BaseException) -> dict[str, Json]:
    """An error as the journal keeps it."""
    told: dict[str, Json] = {
        "type": type(error).__name__,
        "message": str(error),
        "stop_reason": getattr(error, "stop_reason", "internal_error"),
    }
    if isinstance(error, TaskError):
        told["trigger"] = error.trigger
    return told
