"""Retry policies as data, carried out by tenacity."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import tenacity

from necrocode.engine.errors import Transient


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often, and how far apart, a transient failure is tried again. Permanent failures never are.

    Waits grow as ``first_wait * 2**n`` up to ``max_wait``, each with up to ``jitter`` of itself added at random; a
    wait that the other side asked for (:attr:`Transient.retry_after`) counts instead when it is longer, up to
    ``max_retry_after``: a longer one ends the attempts, since a parked run is better than a process asleep for hours.
    """

    attempts: int = 1
    first_wait: timedelta = timedelta(seconds=1)
    max_wait: timedelta = timedelta(seconds=60)
    max_retry_after: timedelta = timedelta(minutes=10)
    jitter: float = 0.25

    def wait(self, attempt: int, error: BaseException, draw: Callable[[], float] = random.random) -> timedelta:
        """The wait after the ``attempt``-th attempt (from 1) failed with ``error``; ``draw`` gives [0, 1)."""
        # 2**32 seconds is beyond any max_wait: the bound keeps the float finite
        seconds = self.first_wait.total_seconds() * 2.0 ** min(attempt - 1, 32)
        seconds = min(seconds, self.max_wait.total_seconds())
        seconds *= 1 + self.jitter * draw()
        asked = getattr(error, "retry_after", None)
        if isinstance(asked, timedelta):
            seconds = max(seconds, asked.total_seconds())
        return timedelta(seconds=seconds)

    @property
    def longest(self) -> timedelta:
        """No wait is longer."""
        return max(self.max_wait * (1 + self.jitter), self.max_retry_after)

    def retrying(
        self,
        *,
        done: int,
        sleep: Callable[[timedelta], None],
        before_sleep: Callable[[int, BaseException, timedelta], None],
    ) -> tenacity.Retrying:
        """The tenacity controller for the attempts that remain after ``done`` recorded ones.

        ``before_sleep(attempt, error, wait)`` is called once per failure that will be tried again.
        """

        def number(state: tenacity.RetryCallState) -> int:
            return done + state.attempt_number

        def error_of(state: tenacity.RetryCallState) -> BaseException:
            assert state.outcome is not None
            error = state.outcome.exception()
            assert error is not None
            return error

        def wait(state: tenacity.RetryCallState) -> float:
            return self.wait(number(state), error_of(state)).total_seconds()

        def note(state: tenacity.RetryCallState) -> None:
            assert state.next_action is not None
            before_sleep(number(state), error_of(state), timedelta(seconds=state.next_action.sleep))

        def worth_it(error: BaseException) -> bool:
            if not isinstance(error, Transient):
                return False
            return error.retry_after is None or error.retry_after <= self.max_retry_after

        def stop(state: tenacity.RetryCallState) -> bool:
            return number(state) >= self.attempts

        return tenacity.Retrying(
            stop=stop,
            wait=wait,
            retry=tenacity.retry_if_exception(worth_it),
            before_sleep=note,
            sleep=lambda seconds: sleep(timedelta(seconds=seconds)),
            reraise=True,
        )


NEVER = RetryPolicy(attempts=1)
"""One attempt, no more."""
