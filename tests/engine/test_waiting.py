"""Waits: how long they are, and how they learn that they should end."""

from __future__ import annotations

import threading
import time
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from necrocode.engine.errors import Interrupted, StopTriggered, Superseded, Transient
from necrocode.engine.retry import NEVER, RetryPolicy
from necrocode.engine.stop import StopToken

POLICY = RetryPolicy(attempts=5, first_wait=timedelta(seconds=1), max_wait=timedelta(seconds=10), jitter=0.5)


@given(st.integers(1, 1000), st.floats(0, 1, exclude_max=True))
def test_waits_double_up_to_a_limit_with_some_jitter(attempt: int, draw: float) -> None:
    wait = POLICY.wait(attempt, Transient(), lambda: draw).total_seconds()
    base = min(10.0, 2.0 ** min(attempt - 1, 60))
    assert base <= wait <= base * 1.5 + 1e-6
    assert timedelta(seconds=wait) <= POLICY.longest


@given(st.floats(0, 600))
def test_a_wait_that_is_asked_for_is_never_shortened(asked: float) -> None:
    wait = POLICY.wait(1, Transient(retry_after=timedelta(seconds=asked)), lambda: 0.0)
    assert wait.total_seconds() >= asked - 1e-6
    assert wait <= POLICY.longest


def test_one_attempt_is_the_default() -> None:
    assert RetryPolicy() == NEVER
    assert NEVER.attempts == 1


def test_a_token_wakes_whoever_waits() -> None:
    token = StopToken()
    begun = time.monotonic()
    timer = threading.Timer(0.05, token.stop, [Interrupted("now")])
    timer.start()
    assert token.wait(timedelta(seconds=20))
    assert time.monotonic() - begun < 20
    with pytest.raises(Interrupted):
        token.check()
    assert token.wait(timedelta(seconds=20)), "and again, at once"
    timer.join()


def test_a_token_that_was_stopped_before_anybody_waited_wakes_at_once() -> None:
    token = StopToken()
    token.stop(Interrupted("early"))
    begun = time.monotonic()
    assert token.wait(timedelta(seconds=20))
    assert time.monotonic() - begun < 20


def test_a_wait_that_nobody_ends_lasts() -> None:
    token = StopToken()
    begun = time.monotonic()
    assert not token.wait(timedelta(seconds=0.05))
    assert time.monotonic() - begun >= 0.05
    token.check()
    assert not token.wait(timedelta(seconds=-5))


def test_the_first_signal_counts_unless_the_run_was_taken() -> None:
    token = StopToken()
    for signal in (Interrupted("1"), Interrupted("2")):
        token.stop(signal)
    assert str(token.signal) == "1"
    token.stop(Superseded("3"))
    token.stop(Interrupted("4"))
    assert str(token.signal) == "3"


def test_a_deadline_ends_a_wait_and_is_raised_from_then_on() -> None:
    token, over = StopToken(), StopTriggered("deadline", "over", stop_reason="deadline")
    assert token.remaining is None
    token.expire_after(timedelta(seconds=0.05), over)
    assert token.remaining is not None
    assert token.remaining <= timedelta(seconds=0.05)
    assert token.wait(timedelta(seconds=20))
    for _ in range(3):
        with pytest.raises(StopTriggered) as raised:
            token.check()
        assert raised.value is over
        assert len(raised.traceback) <= 2, "a signal that is looked at often does not grow"
    assert token.remaining == timedelta(0)
    token.never_expire()
    token.check()
