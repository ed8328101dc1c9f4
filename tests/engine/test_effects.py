"""An effect is done once: its policy says what happens when nobody knows whether it was."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from necrocode.engine.context import Context
from necrocode.engine.driver import Outcome
from necrocode.engine.effects import Adopt, Attempt, Policy, Reconcile, Refuse, Repeat
from necrocode.engine.errors import (
    EffectFailed,
    EnvironmentFault,
    Interrupted,
    JournalUnavailable,
    TaskError,
    Transient,
)
from necrocode.engine.retry import RetryPolicy
from necrocode.engine.stop import StopToken
from necrocode.engine.testing import Death
from tests.engine.workshop import Calls, Workshop

POLICIES = ("repeat", "reconcile", "adopt", "refuse")
QUICK = RetryPolicy(attempts=3, first_wait=timedelta(milliseconds=5), jitter=0)


def policy(name: str, settle: Calls) -> Policy:
    policies: dict[str, Policy] = {
        "repeat": Repeat(),
        "reconcile": Reconcile(settle),
        "adopt": Adopt(settle),
        "refuse": Refuse(),
    }
    return policies[name]


def work(do: Calls, name: str, settle: Calls | None = None, **more: Any) -> Any:
    return lambda ctx: ctx.effect("post", do, key="k", policy=policy(name, settle or Calls()), **more)


# --- new, and done ---


@pytest.mark.parametrize("name", POLICIES)
def test_a_new_effect_is_announced_then_done_then_recorded(workshop: Workshop, name: str) -> None:
    do, settle = Calls(), Calls()
    run = workshop.drive(work(do, name, settle, note={"why": "so"}))
    assert run.data["result"] == "done 1"
    assert (do.count, settle.count) == (1, 0)
    assert workshop.told("intent", "outcome") == ["intent post", "outcome post"]
    assert workshop.payloads("intent") == [{"visit": 0, "ordinal": 0, "note": {"why": "so"}}]
    assert workshop.payloads("outcome") == [{"visit": 0, "ordinal": 0, "result": "done 1"}]
    (attempt,) = do.attempts
    assert (attempt.number, attempt.lost, attempt.epoch) == (1, 0, 1)


@pytest.mark.parametrize("name", POLICIES)
def test_a_recorded_effect_is_not_done_again(workshop: Workshop, name: str) -> None:
    do, settle = Calls(), Calls()

    def then_die(ctx: Context) -> Any:
        ctx.effect("post", do, key="k", policy=policy(name, settle))
        raise Death

    workshop.die(then_die)
    assert workshop.drive(work(do, name, settle)).data["result"] == "done 1"
    assert (do.count, settle.count) == (1, 0)


# --- in doubt ---


def test_in_doubt_repeat_does_it_again_under_the_same_key(workshop: Workshop) -> None:
    do = Calls([Death])
    workshop.die(work(do, "repeat"))
    assert workshop.drive(work(do, "repeat")).data["result"] == "done 2"
    first, second = do.attempts
    assert first.idempotency_key == second.idempotency_key
    assert (second.number, second.lost, second.epoch) == (1, 1, 2), "one attempt was lost, none is known to have failed"


def test_in_doubt_reconcile_asks_and_believes_what_it_is_told(workshop: Workshop) -> None:
    do, ask = Calls([Death]), Calls(["it happened"])
    workshop.die(work(do, "reconcile", ask))
    assert workshop.drive(work(do, "reconcile", ask)).data["result"] == "it happened"
    assert (do.count, ask.count) == (1, 1)
    assert ask.attempts[0].idempotency_key == do.attempts[0].idempotency_key


def test_in_doubt_reconcile_does_it_if_it_did_not_happen(workshop: Workshop) -> None:
    do, ask = Calls([Death]), Calls([None])
    workshop.die(work(do, "reconcile", ask))
    assert workshop.drive(work(do, "reconcile", ask)).data["result"] == "done 2"
    assert (do.count, ask.count) == (2, 1)


def test_in_doubt_adopt_attaches_and_never_does_it(workshop: Workshop) -> None:
    do, attach = Calls([Death]), Calls([Death, "what it left"])
    workshop.die(work(do, "adopt", attach))
    workshop.die(work(do, "adopt", attach))
    assert workshop.drive(work(do, "adopt", attach)).data["result"] == "what it left"
    assert (do.count, attach.count) == (1, 2)


def test_in_doubt_refuse_parks_until_a_person_insists(workshop: Workshop) -> None:
    do = Calls([Death])
    workshop.die(work(do, "refuse"))
    for _ in range(2):
        run = workshop.drive(work(do, "refuse"))
        assert (run.status, run.stop_reason) == ("parked", "in_doubt")
        assert "--force" in run.data["error"]
    assert do.count == 1
    assert workshop.drive(work(do, "refuse"), force=True).data["result"] == "done 2"


@pytest.mark.parametrize("name", ["reconcile", "adopt"])
def test_what_settles_an_effect_may_fail_and_the_doubt_stays(workshop: Workshop, name: str) -> None:
    do, settle = Calls([Death]), Calls([Transient("busy"), EnvironmentFault("no login"), Transient("busy"), "settled"])
    workshop.die(work(do, name, settle))
    assert workshop.drive(work(do, name, settle, retry=QUICK)).status == "parked"
    assert workshop.drive(work(do, name, settle, retry=QUICK)).data["result"] == "settled"
    assert (do.count, settle.count) == (1, 4)


@pytest.mark.parametrize(
    ("ended", "status"), [(Interrupted("stop"), "interrupted"), (ZeroDivisionError("a bug"), "parked")]
)
@pytest.mark.parametrize("name", ["reconcile", "adopt", "refuse"])
def test_what_ends_an_effect_without_saying_how_far_it_got_leaves_it_in_doubt(
    workshop: Workshop, name: str, ended: BaseException, status: str
) -> None:
    do, settle = Calls([ended]), Calls(["settled"])
    assert workshop.drive(work(do, name, settle)).status == status
    run = workshop.drive(work(do, name, settle))
    assert do.count == 1
    if name == "refuse":
        assert (run.status, run.stop_reason) == ("parked", "in_doubt")
    else:
        assert run.data["result"] == "settled"


# --- failed ---


@pytest.mark.parametrize("name", POLICIES)
def test_a_fault_parks_and_the_effect_is_attempted_anew_after_resuming(workshop: Workshop, name: str) -> None:
    do, settle = Calls([EnvironmentFault("wrong key", stop_reason="auth")]), Calls([None])
    run = workshop.drive(work(do, name, settle))
    assert (run.status, run.stop_reason, run.state) == ("parked", "auth", "working")
    assert workshop.told() == ["created workshop", "intent post", "attempt post", "parked auth"]
    run = workshop.drive(work(do, name, settle))
    assert run.state == "done"
    match name:
        case "repeat" | "refuse":
            assert (do.count, settle.count) == (2, 0)
        case "reconcile":
            assert (do.count, settle.count) == (2, 1), "a failed attempt may have happened all the same"
        case "adopt":
            assert (do.count, settle.count) == (1, 1), "what was begun once is never begun again"


@pytest.mark.parametrize("name", ["reconcile", "adopt", "refuse"])
def test_a_death_in_the_attempt_after_a_fault_is_a_doubt_again(workshop: Workshop, name: str) -> None:
    do, settle = Calls([EnvironmentFault("no"), Death]), Calls([Death, "settled"])
    assert workshop.drive(work(do, name, settle)).status == "parked"
    workshop.die(work(do, name, settle))
    assert workshop.told("intent") == ["intent post"] * 2, "the new attempt is announced too"
    run = workshop.drive(work(do, name, settle))
    assert run.status == ("parked" if name == "refuse" else "closed")
    assert do.count == (2 if name == "refuse" else 1)


@pytest.mark.parametrize("name", POLICIES)
def test_a_task_error_is_recorded_and_raised_again_on_replay(workshop: Workshop, name: str) -> None:
    do, caught = Calls([TaskError("no such branch", stop_reason="no_branch")]), []

    def catch(ctx: Context) -> Any:
        try:
            ctx.effect("post", do, policy=policy(name, Calls()))
        except TaskError as error:
            caught.append((str(error), error.stop_reason, error.trigger))
        ctx.effect("then", then)
        raise TaskError("give up", stop_reason="given_up")

    then = Calls([Death])
    workshop.die(catch)
    run = workshop.drive(catch)
    assert (run.state, run.stop_reason, run.data["error"]) == ("failed", "given_up", "give up")
    assert caught == [("no such branch", "no_branch", "error")] * 2
    assert do.count == 1


def test_a_tolerated_fault_is_recorded_and_the_handler_goes_on_without_it(workshop: Workshop) -> None:
    do, then, caught = Calls([Transient("down"), Transient("still down")]), Calls([Death]), []

    def without_it(ctx: Context) -> Any:
        try:
            ctx.effect("post", do, retry=RetryPolicy(attempts=2, first_wait=timedelta(0)), tolerate=True)
        except EffectFailed as error:
            caught.append((str(error), error.stop_reason))
        return ctx.effect("then", then)

    workshop.die(without_it)
    assert workshop.drive(without_it).data["result"] == "done 2"
    assert caught == [("still down", "service_unavailable")] * 2
    assert do.count == 2


def test_another_databases_trouble_is_an_effects_failure_like_any_other(workshop: Workshop) -> None:
    do = Calls([JournalUnavailable("services.db is locked by another process")])
    run = workshop.drive(work(do, "repeat"))
    assert (run.status, run.stop_reason) == ("parked", "journal_unavailable")
    assert workshop.drive(work(do, "repeat")).state == "done"


def test_a_result_that_json_cannot_hold_is_a_bug_that_parks(workshop: Workshop) -> None:
    run = workshop.drive(lambda ctx: ctx.effect("post", lambda _: {1, 2}))
    assert (run.status, run.stop_reason) == ("parked", "internal_error")
    assert "set is not JSON" in run.data["error"]


# --- retries ---


def test_transient_failures_are_tried_again_and_each_is_in_the_journal(workshop: Workshop) -> None:
    do = Calls([Transient("busy"), Transient("still busy")])
    run = workshop.drive(work(do, "repeat", retry=QUICK))
    assert run.data["result"] == "done 3"
    assert [attempt.number for attempt in do.attempts] == [1, 2, 3]
    assert workshop.told("intent", "attempt", "outcome") == ["intent post", *["attempt post"] * 2, "outcome post"]
    assert [(p["number"], p["error"]["message"], p["final"]) for p in workshop.payloads("attempt")] == [
        (1, "busy", False),
        (2, "still busy", False),
    ]


def test_attempts_run_out_and_a_resumed_run_has_them_anew(workshop: Workshop) -> None:
    do = Calls([Transient("busy")] * 5)
    run = workshop.drive(work(do, "repeat", retry=QUICK))
    assert (run.status, run.stop_reason, do.count) == ("parked", "service_unavailable", 3)
    run = workshop.drive(work(do, "repeat", retry=QUICK))
    assert (run.state, do.count) == ("done", 6)
    assert [attempt.number for attempt in do.attempts] == [1, 2, 3, 4, 5, 6], "counted over all processes"


def test_attempts_that_a_death_followed_are_not_had_again(workshop: Workshop) -> None:
    do = Calls([Transient("busy"), Death, Transient("busy"), Transient("busy")])
    workshop.die(work(do, "repeat", retry=QUICK))
    run = workshop.drive(work(do, "repeat", retry=QUICK))
    assert (run.status, do.count) == ("parked", 4)
    assert [(a.number, a.lost) for a in do.attempts] == [(1, 0), (2, 0), (2, 1), (3, 1)]


@pytest.mark.parametrize("error", [EnvironmentFault("401"), TaskError("422", stop_reason="bad")])
def test_permanent_failures_are_never_tried_again(workshop: Workshop, error: Exception) -> None:
    do = Calls([error])
    workshop.drive(work(do, "repeat", retry=QUICK))
    assert do.count == 1


def test_reconcile_asks_before_every_attempt_but_the_first(workshop: Workshop) -> None:
    do, ask = Calls([Transient("cut"), Transient("cut")]), Calls([None, "it had happened"])
    run = workshop.drive(work(do, "reconcile", ask, retry=QUICK))
    assert run.data["result"] == "it had happened"
    assert (do.count, ask.count) == (2, 2)


def test_the_wait_that_the_other_side_asks_for_is_waited(workshop: Workshop) -> None:
    do = Calls([Transient("slow down", retry_after=timedelta(seconds=0.25))])
    begun = time.monotonic()
    workshop.drive(work(do, "repeat", retry=QUICK))
    assert time.monotonic() - begun >= 0.25


def test_a_wait_that_is_asked_for_and_too_long_ends_the_attempts(workshop: Workshop) -> None:
    do = Calls([Transient("tomorrow", retry_after=timedelta(hours=20))])
    run = workshop.drive(work(do, "repeat", retry=QUICK))
    assert (run.status, do.count) == ("parked", 1)


def test_of_an_interrupted_wait_only_what_remains_is_waited(workshop: Workshop) -> None:
    asked = timedelta(seconds=60)
    do = Calls([Transient("slow down", retry_after=asked)])
    begun = time.monotonic()
    interrupted_in_its_wait(workshop, work(do, "repeat", retry=QUICK))
    assert time.monotonic() - begun < asked.total_seconds(), "the wait was cut short"
    assert workshop.told("attempt") == ["attempt post"], "and is no attempt of its own"
    time.sleep(0.2)
    with waits_that_take_no_time() as waited:
        workshop.drive(work(do, "repeat", retry=QUICK))
    passed = timedelta(seconds=time.monotonic() - begun)
    assert asked - passed <= waited[0] <= asked - timedelta(seconds=0.2), "what remained of it, and no more"
    assert (do.attempts[-1].number, do.attempts[-1].lost) == (2, 0), "nothing was lost while it waited"


def test_a_wait_that_is_over_by_the_time_of_resuming_is_not_waited_again(workshop: Workshop) -> None:
    asked = timedelta(seconds=2)
    do = Calls([Transient("slow down", retry_after=asked)])
    interrupted_in_its_wait(workshop, work(do, "repeat", retry=QUICK))
    time.sleep(asked.total_seconds())
    with waits_that_take_no_time() as waited:
        assert workshop.drive(work(do, "repeat", retry=QUICK)).state == "done"
    assert waited == []


def test_a_clock_that_was_set_back_makes_no_wait_longer_than_any_can_be(workshop: Workshop) -> None:
    ages = timedelta(days=1)
    do = Calls([Transient("slow down", retry_after=ages)])
    interrupted_in_its_wait(workshop, work(do, "repeat", retry=RetryPolicy(attempts=2, max_retry_after=2 * ages)))
    short = RetryPolicy(attempts=2, max_wait=timedelta(0), max_retry_after=timedelta(minutes=1))
    with waits_that_take_no_time() as waited:
        assert workshop.drive(work(do, "repeat", retry=short)).state == "done"
    assert waited == [short.longest]


# --- keys ---


def test_every_effect_of_every_visit_has_a_key_of_its_own(workshop: Workshop) -> None:
    do = Calls()

    def twice(ctx: Context) -> Any:
        ctx.effect("post", do)
        ctx.effect("post", do)
        ctx.effect("post", do, key="other")
        return Outcome("finish") if ctx.visit else Outcome("rest")

    workshop.drive(twice, resting=lambda ctx: [ctx.effect("post", do), Outcome("again")][1])
    assert len({attempt.idempotency_key for attempt in do.attempts}) == do.count == 7


def test_an_effect_is_told_the_epoch_it_is_done_in(workshop: Workshop) -> None:
    do = Calls([Death, Death])
    for _ in range(2):
        workshop.die(work(do, "repeat"))
    workshop.drive(work(do, "repeat"))
    assert [attempt.epoch for attempt in do.attempts] == [1, 2, 3]
    assert [attempt.lost for attempt in do.attempts] == [0, 1, 2]


def test_an_effect_sees_the_stop_that_it_should_look_at(workshop: Workshop) -> None:
    def wait(attempt: Attempt) -> str:
        assert attempt.stop.wait(timedelta(seconds=20))
        attempt.stop.check()
        raise AssertionError("it was not stopped")

    driver = workshop.driver(lambda ctx: ctx.effect("post", wait))
    stopper = threading.Timer(0.1, driver.interrupt)
    stopper.start()
    assert driver.drive(workshop.run_id).status == "interrupted"
    stopper.join()


def interrupted_in_its_wait(workshop: Workshop, handler: Any) -> None:
    """Drive it until an attempt has failed, and interrupt the wait for the next."""

    def interrupt() -> None:
        while not workshop.told("attempt"):
            time.sleep(0.01)
        driver.interrupt()

    driver = workshop.driver(handler)
    stopper = threading.Thread(target=interrupt, daemon=True)
    stopper.start()
    assert driver.drive(workshop.run_id).status == "interrupted"
    stopper.join()


@contextmanager
def waits_that_take_no_time() -> Iterator[list[timedelta]]:
    """Gives how long each wait would have been."""
    waited: list[timedelta] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StopToken, "wait", lambda _, duration: waited.append(duration))
        yield waited
