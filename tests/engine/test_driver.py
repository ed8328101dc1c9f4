"""The driver takes a run from state to state until it ends, parks or is interrupted."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from necrocode.engine.claim import claim
from necrocode.engine.context import Context
from necrocode.engine.driver import Driver, Outcome, Program
from necrocode.engine.errors import (
    EngineError,
    EnvironmentFault,
    JournalTooNew,
    JournalUnavailable,
    LifecycleError,
    RunEnded,
    RunNotFound,
    StopTriggered,
    SubjectBusy,
    TaskError,
)
from necrocode.engine.journal import Journal
from necrocode.engine.lifecycle import Lifecycle, State, Transition
from necrocode.engine.testing import Death
from tests.engine.workshop import TABLE, Calls, Workshop

# --- a program ---


def test_a_program_has_a_handler_for_every_state_that_is_worked_in() -> None:
    with pytest.raises(LifecycleError, match=r"without a handler \['resting'\], handlers without a state \['done'\]"):
        Program(TABLE, {"working": lambda _: Outcome("finish"), "done": lambda _: Outcome("finish")})


# --- beginning ---


def test_a_run_begins_in_the_initial_state_with_the_data_it_is_given(journal: Journal) -> None:
    run = journal.create(TABLE, subject="s", data={"n": 1})
    assert (run.state, run.status, run.data, run.epoch, run.head_seq) == ("working", "live", {"n": 1}, 0, 1)
    assert journal.run(run.run_id) == run


def test_one_subject_has_one_run_at_a_time(workshop: Workshop) -> None:
    with pytest.raises(SubjectBusy) as busy:
        Workshop(workshop.journal)
    assert busy.value.run_id == workshop.run_id
    workshop.drive(lambda _: None)
    Workshop(workshop.journal)


def test_many_who_begin_the_same_at_once_make_one_run(journal: Journal) -> None:
    made, busy = [], []

    def begin() -> None:
        try:
            made.append(journal.create(TABLE, subject="s", data={}).run_id)
        except SubjectBusy as error:
            busy.append(error.run_id)

    threads = [threading.Thread(target=begin) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert busy == made * 11


def test_a_deadline_needs_a_time_zone(journal: Journal) -> None:
    with pytest.raises(ValueError, match="no time zone"):
        journal.create(TABLE, subject="s", data={}, deadline_at=datetime(2030, 1, 1))


def test_runs_are_found_by_the_beginning_or_end_of_their_id(journal: Journal) -> None:
    runs = [journal.create(TABLE, subject=str(n), data={}) for n in range(3)]
    assert [run.run_id for run in journal.runs()] == [run.run_id for run in runs], "in the order of their creation"
    assert journal.find(runs[1].run_id) == runs[1]
    assert journal.find(runs[1].run_id[-10:]) == runs[1]
    for none in ("no such run", "%", "_"):
        with pytest.raises(RunNotFound, match="there is no run"):
            journal.find(none)
    for many in (runs[0].run_id[:3], ""):
        with pytest.raises(RunNotFound, match="write more of the id"):
            journal.find(many)


# --- moving ---


def test_a_run_goes_from_state_to_state_to_its_end(workshop: Workshop) -> None:
    run = workshop.drive(
        lambda ctx: Outcome("rest", {"seen": [ctx.state, ctx.visit]}), resting=lambda ctx: [ctx.state, ctx.visit]
    )
    assert (run.state, run.status) == ("done", "closed")
    assert run.finished is not None
    assert (run.data["seen"], run.data["result"]) == (["working", 0], ["resting", 1])
    assert workshop.told() == ["created workshop", "transition rest", "transition finish", "closed done"]
    assert run == workshop.run


def test_a_run_that_has_ended_is_returned_as_it_is(workshop: Workshop) -> None:
    ended = workshop.drive(lambda _: None)
    assert workshop.drive(Calls([AssertionError])) == ended
    with pytest.raises(RunEnded):
        claim(workshop.journal, workshop.run_id)


def test_a_guard_sees_the_data_as_they_will_be_recorded(journal: Journal) -> None:
    seen: list[Any] = []

    def guard(data: Mapping[str, Any]) -> bool:
        seen.append(data["new"])
        return bool(data["new"] == ["*", None] and data["old"] == 1)

    table = Lifecycle(
        name="guarded",
        version=1,
        initial="a",
        states=[State("a"), State("end", terminal=True)],
        transitions=[Transition("go", "a", "end", "guard")],
        guards={"guard": guard},
    )
    run = journal.create(table, subject="s", data={"old": 1, "new": 0})
    journal.mask = lambda text: text.replace("secret", "*")
    Driver(journal, Program(table, {"a": lambda _: Outcome("go", {"new": ("secret", float("nan"))})})).drive(run.run_id)
    assert seen == [["*", None]]
    assert journal.run(run.run_id).data == {"old": 1, "new": ["*", None]}


@pytest.mark.parametrize(
    ("outcome", "reason", "words"),
    [
        (Outcome("nowhere"), "no_transition", "'nowhere' is not declared from 'working'"),
        (Outcome("finish", {"x": object()}), "internal_error", "object is not JSON"),
        (TaskError("no", stop_reason="no", trigger="nowhere"), "no_transition", "'nowhere'"),
        (ZeroDivisionError("a bug"), "internal_error", "ZeroDivisionError: a bug"),
        (EnvironmentFault("no disk", stop_reason="disk"), "disk", "no disk"),
    ],
)
def test_what_cannot_go_on_parks_in_its_state_and_can_be_resumed(
    workshop: Workshop, outcome: Any, reason: str, words: str
) -> None:
    def work(_: Context) -> Any:
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    run = workshop.drive(work)
    assert (run.status, run.stop_reason, run.state) == ("parked", reason, "working")
    assert words in run.data["error"]
    assert workshop.journal.holder(workshop.run_id) is None
    run = workshop.drive(lambda _: None)
    assert (run.status, run.state, run.stop_reason) == ("closed", "done", None)
    assert "error" not in run.data, "why it was parked is no error of the task"


def test_a_guard_that_cannot_be_evaluated_parks(journal: Journal) -> None:
    table = Lifecycle(
        name="guarded",
        version=1,
        initial="a",
        states=[State("a"), State("end", terminal=True)],
        transitions=[Transition("go", "a", "end", "guard")],
        guards={"guard": lambda data: data["missing"]},
    )
    run = journal.create(table, subject="s", data={})
    program = Program(table, {"a": lambda _: Outcome("go")})
    parked = Driver(journal, program).drive(run.run_id)
    assert (parked.status, parked.stop_reason) == ("parked", "internal_error")


def test_a_task_error_fires_its_trigger(workshop: Workshop) -> None:
    def fail(_: Context) -> None:
        raise TaskError("the tests fail", stop_reason="tests_failed")

    run = workshop.drive(fail)
    assert (run.state, run.stop_reason, run.data["error"]) == ("failed", "tests_failed", "the tests fail")


def test_parking_does_not_forget_why_the_task_had_failed(workshop: Workshop) -> None:
    def rest(_: Context) -> Any:
        return Outcome("rest", {"error": "the tests fail", "stop_reason": "tests_failed"})

    def stumble(ctx: Context) -> Any:
        ctx.effect("report", report)
        return ctx.data["error"]

    report = Calls([EnvironmentFault("registry down"), EnvironmentFault("still down")])
    for words in ("registry down", "still down"):
        run = workshop.drive(rest, resting=stumble)
        assert (run.status, run.data["error"]) == ("parked", words)
    run = workshop.drive(rest, resting=stumble)
    assert (run.data["result"], run.data["error"]) == ("the tests fail", "the tests fail")
    assert run.stop_reason == "tests_failed"


# --- parking and recovering ---


def test_parking_lets_go_of_what_the_run_holds_and_records_it(workshop: Workshop) -> None:
    workshop = Workshop(workshop.journal, {"subject": "x", "data": {"slot": "s1"}, "settings": {"pool": "p"}})
    freed = Calls()

    def park(ctx: Context, fault: EngineError) -> Mapping[str, Any]:
        ctx.effect("free", freed, key=f"{ctx.data['slot']} to {ctx.settings['pool']} for {fault}")
        return {"slot": None}

    run = workshop.drive(Calls([EnvironmentFault("broken")]), park=park)
    assert (run.status, run.data["slot"], freed.count) == ("parked", None, 1)
    assert [entry.key for entry in workshop.entries if entry.name == "free"] == ["s1 to p for broken"] * 2


@pytest.mark.parametrize("error", [EnvironmentFault("pool down"), TaskError("x", stop_reason="x"), KeyError("a bug")])
def test_a_run_is_parked_even_if_letting_go_fails(workshop: Workshop, error: Exception) -> None:
    def park(_: Context, __: EngineError) -> Mapping[str, Any]:
        raise error

    run = workshop.drive(Calls([EnvironmentFault("broken", stop_reason="first")]), park=park)
    assert (run.status, run.stop_reason, run.data["error"]) == ("parked", "first", "broken")
    assert workshop.told("warning") == ["warning park_failed"]


def test_a_cancel_that_comes_while_parking_does_not_stop_it(workshop: Workshop) -> None:
    def park(ctx: Context, _: EngineError) -> Mapping[str, Any]:
        workshop.journal.request_cancel(workshop.run_id)
        driver.interrupt()
        time.sleep(1.2)
        ctx.effect("free", Calls())
        return {"freed": True}

    driver = workshop.driver(Calls([EnvironmentFault("broken")]), park=park)
    run = driver.drive(workshop.run_id)
    assert (run.status, run.data["freed"]) == ("parked", True)
    assert workshop.drive(lambda _: None).state == "cancelled", "it is heard when the run is taken up again"


def test_recovery_runs_before_the_handler_whenever_a_run_is_taken_up_again(workshop: Workshop) -> None:
    order: list[str] = []

    def recover(ctx: Context) -> Mapping[str, Any]:
        order.append(f"recover {ctx.state}")
        return {"taken_up": ctx.epoch}

    def work(ctx: Context) -> Any:
        order.append(f"work {ctx.data.get('taken_up')}")
        if ctx.epoch < 3:
            raise Death
        return Outcome("rest") if not ctx.visit else None

    workshop.die(work, recover=recover)
    workshop.die(work, recover=recover)
    workshop.drive(work, recover=recover, resting=lambda _: Outcome("again"))
    assert order == ["work None", "recover working", "work 2", "recover working", "work 3", "work 3"]


def test_recovery_that_fails_is_done_again_by_the_next(workshop: Workshop) -> None:
    mend = Calls([EnvironmentFault("pool down"), TaskError("slot lost", stop_reason="slot_lost")])
    workshop.die(Calls([Death]))

    def recover(ctx: Context) -> Mapping[str, Any]:
        ctx.effect("mend", mend, key="always the same")
        return {}

    assert workshop.drive(Calls(), recover=recover).status == "parked"
    run = workshop.drive(Calls(), recover=recover)
    assert (run.state, run.stop_reason) == ("failed", "slot_lost")
    assert len({attempt.idempotency_key for attempt in mend.attempts}) == 2, "each take-up has effects of its own"


# --- stopping ---


def test_an_interrupted_run_keeps_its_state_and_is_free(workshop: Workshop) -> None:
    def wait(ctx: Context) -> None:
        driver.interrupt("ctrl-c")
        assert ctx.stop.wait(timedelta(seconds=20))
        ctx.stop.check()

    driver = workshop.driver(wait)
    run = driver.drive(workshop.run_id)
    assert (run.status, run.stop_reason, run.state) == ("interrupted", "interrupted", "working")
    assert workshop.journal.holder(workshop.run_id) is None
    assert workshop.payloads("lease", "interrupted") == [{"message": "ctrl-c"}]
    assert workshop.drive(lambda _: None).state == "done"


def test_a_driver_that_was_interrupted_before_it_began_does_nothing(workshop: Workshop) -> None:
    do = Calls()
    driver = workshop.driver(lambda ctx: ctx.effect("post", do))
    driver.interrupt()
    assert driver.drive(workshop.run_id).status == "interrupted"
    assert do.count == 0


def test_an_interrupt_lets_a_handler_finish_that_does_not_look_and_stops_before_the_next(workshop: Workshop) -> None:
    def work(ctx: Context) -> Any:
        driver.interrupt()
        assert ctx.stop.wait(timedelta(seconds=20)), "it could have looked"
        return Outcome("rest")

    driver = workshop.driver(work, resting=lambda ctx: ctx.effect("post", Calls()))
    run = driver.drive(workshop.run_id)
    assert (run.status, run.state) == ("interrupted", "resting")


def test_a_signal_handler_may_interrupt_whatever_the_main_thread_is_doing(workshop: Workshop) -> None:
    rung: list[int] = []

    def on_signal(*_: object) -> None:
        rung.append(1)
        driver.interrupt()

    def spin(ctx: Context) -> None:
        while True:
            # Waits, locks and events of all kinds are where a lock would be held when the signal comes.
            ctx.stop.wait(timedelta(microseconds=50))
            ctx.stop.check()

    before = signal.signal(signal.SIGALRM, on_signal)
    try:
        for _ in range(40):
            driver = workshop.driver(spin)
            signal.setitimer(signal.ITIMER_REAL, 0.01, 0.0002)
            run = driver.drive(workshop.run_id)
            signal.setitimer(signal.ITIMER_REAL, 0)
            assert run.status == "interrupted"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(rung) >= 40


def test_a_cancel_reaches_whoever_drives_the_run(workshop: Workshop) -> None:
    def wait(ctx: Context) -> None:
        workshop.journal.request_cancel(workshop.run_id)
        assert ctx.stop.wait(timedelta(seconds=20))
        ctx.effect("post", Calls())

    run = workshop.drive(wait)
    assert (run.state, run.stop_reason, run.data["error"]) == ("cancelled", "cancelled", "cancelled on request")


def test_a_cancel_of_a_run_that_nobody_drives_waits_for_the_next(workshop: Workshop) -> None:
    workshop.die(Calls([Death]))
    workshop.journal.request_cancel(workshop.run_id)
    workshop.journal.request_cancel(workshop.run_id)
    do, mended = Calls(), Calls()
    run = workshop.drive(lambda ctx: ctx.effect("post", do), recover=lambda ctx: ctx.effect("mend", mended) or {})
    assert run.state == "cancelled"
    assert (do.count, mended.count) == (0, 0)


def test_a_cancel_waits_for_a_state_that_listens(workshop: Workshop) -> None:
    def rest(ctx: Context) -> Any:
        workshop.journal.request_cancel(workshop.run_id)
        time.sleep(0.8)
        ctx.effect("post", Calls())
        return Outcome("again")

    def work(ctx: Context) -> Any:
        ctx.effect("post", Calls())
        return Outcome("rest")

    run = workshop.drive(work, resting=rest)
    assert run.state == "cancelled"
    moves = workshop.told("transition")
    assert moves == ["transition rest", "transition again"] * (len(moves) // 2) + ["transition cancel"]


def test_a_request_that_comes_while_the_run_moves_on_stops_no_state_that_does_not_listen(workshop: Workshop) -> None:
    """Cancelled at every moment around a transition: never parked for a trigger that is not declared there."""
    stop, requested = threading.Event(), 0

    def pester() -> None:
        nonlocal requested
        while not stop.is_set():
            drive = driver._drive
            if drive is not None:
                drive.request(StopTriggered("cancel", "cancelled", stop_reason="cancelled"))
                requested += 1
            time.sleep(0.0005)

    thread = threading.Thread(target=pester)
    for n in range(40):
        each = Workshop(workshop.journal, {"subject": f"pestered {n}"})
        driver = each.driver(
            lambda _: Outcome("rest"), resting=lambda ctx: [ctx.effect("post", Calls()), Outcome("again")][1]
        )
        if not thread.is_alive():
            thread.start()
        program = driver.drive
        timer = threading.Timer(0.05, driver.interrupt)
        timer.start()
        assert program(each.run_id).status in ("closed", "interrupted")
        timer.join()
    stop.set()
    thread.join()
    assert requested


def test_a_deadline_counts_the_time_that_was_worked(journal: Journal) -> None:
    workshop = Workshop(journal, {"timeout": timedelta(seconds=2.5)})
    left: list[timedelta] = []

    def work(ctx: Context) -> None:
        remaining = ctx.remaining()
        assert remaining is not None
        left.append(remaining)
        ctx.stop.wait(timedelta(seconds=0.5))
        ctx.effect("post", Calls())
        ctx.stop.check()
        if ctx.epoch == 1:
            raise Death
        ctx.stop.wait(timedelta(seconds=20))
        ctx.stop.check()

    begun = time.monotonic()
    workshop.die(work)
    worked = timedelta(seconds=time.monotonic() - begun)
    time.sleep(1.2)
    second = time.monotonic()
    run = workshop.drive(work)
    assert (run.state, run.stop_reason) == ("failed", "deadline")
    assert left[1] <= left[0] - timedelta(seconds=0.5), "worked time counts"
    slack = timedelta(seconds=time.monotonic() - second) - left[1]
    assert left[1] >= left[0] - worked - slack, "dead time does not"


def test_a_moment_is_a_deadline_whether_worked_or_not(journal: Journal) -> None:
    at = datetime.now(UTC) + timedelta(seconds=2)
    workshop = Workshop(journal, {"deadline_at": at})
    workshop.die(Calls([Death]))
    time.sleep(max(0.0, (at - datetime.now(UTC)).total_seconds() + 0.05))
    do = Calls()
    run = workshop.drive(lambda ctx: ctx.effect("post", do))
    assert (run.state, run.stop_reason, do.count) == ("failed", "deadline", 0)
    assert at.isoformat() in run.data["error"]


def test_a_state_that_does_not_listen_to_deadlines_has_none(journal: Journal) -> None:
    workshop = Workshop(journal, {"timeout": timedelta(0)})
    workshop.journal.request_cancel(workshop.run_id)
    assert workshop.drive(lambda ctx: ctx.effect("post", Calls())).state in ("failed", "cancelled")
    other = Workshop(journal, {"subject": "x", "timeout": timedelta(hours=1)})
    run = other.drive(
        lambda ctx: Outcome("rest", {"left": ctx.remaining() is not None}), resting=lambda ctx: ctx.remaining()
    )
    assert (run.data["left"], run.data["result"]) == (True, None)


# --- versions of the lifecycle ---


def second_version(**older: str) -> Lifecycle:
    return Lifecycle(
        name="workshop",
        version=2,
        initial="working",
        states=[State("working"), State("resting"), State("done", terminal=True), State("failed", terminal=True)],
        transitions=[
            Transition("finish", "working", "done"),
            Transition("rest", "working", "resting"),
            Transition("again", "resting", "working"),
            Transition("error", "resting", "failed"),
        ],
        older={1: older} if older else {},
    )


def test_a_newer_program_resumes_an_older_run_under_the_new_names(journal: Journal) -> None:
    first = Lifecycle(
        name="workshop",
        version=1,
        initial="toiling",
        states=[State("toiling"), State("napping"), State("done", terminal=True)],
        transitions=[
            Transition("nap", "toiling", "napping"),
            Transition("on", "napping", "toiling"),
            Transition("finish", "toiling", "done"),
        ],
    )
    run = journal.create(first, subject="s", data={})
    do = Calls()

    def toil(ctx: Context) -> Outcome:
        ctx.effect("post", do)
        if ctx.visit:
            raise Death
        return Outcome("nap")

    with pytest.raises(Death):
        Driver(journal, Program(first, {"toiling": toil, "napping": lambda _: Outcome("on")})).drive(run.run_id)
    workshop = Workshop(journal, run_id=run.run_id)
    seen: list[Any] = []

    def work(ctx: Context) -> Any:
        seen.append((ctx.state, ctx.effect("post", do), [r.result for r in ctx.history("working")]))

    ended = workshop.drive(work, table=second_version(toiling="working", napping="resting"))
    assert (ended.version, ended.state) == (2, "done")
    assert seen == [("working", "done 2", ["done 1"])], "what the older one recorded is not done again"
    claimed = workshop.payloads("lease", "claimed")
    assert [payload.get("version") for payload in claimed] == [None, 2]


def test_a_program_refuses_a_run_that_it_cannot_continue_and_leaves_it_alone(workshop: Workshop) -> None:
    before = workshop.entries
    with pytest.raises(LifecycleError, match=r"made by version 1 .* drives version 2"):
        workshop.drive(lambda _: None, table=second_version())
    other = Lifecycle(
        name="other",
        version=1,
        initial="working",
        states=[State("working"), State("resting"), State("done", terminal=True)],
        transitions=[Transition("rest", "working", "resting"), Transition("finish", "resting", "done")],
    )
    with pytest.raises(LifecycleError, match="belongs to the lifecycle 'workshop', not 'other'"):
        workshop.drive(lambda _: None, table=other)
    assert workshop.entries == before
    assert workshop.journal.holder(workshop.run_id) is None


# --- observers ---


def test_an_observer_is_told_every_entry_once_it_is_on_disk(workshop: Workshop) -> None:
    told: list[Any] = []

    def observe(entry: Any, payload: Mapping[str, Any]) -> None:
        assert entry in workshop.entries
        assert payload == workshop.journal.payload(entry)
        told.append(entry)

    def work(ctx: Context) -> Any:
        ctx.now()
        return ctx.effect("post", lambda _: "x" * 5000)

    workshop.drive(work, observer=observe)
    assert told == workshop.entries[1:]


def test_an_observer_that_fails_harms_nobody(workshop: Workshop, caplog: pytest.LogCaptureFixture) -> None:
    def observe(*_: object) -> None:
        raise ZeroDivisionError

    do = Calls()
    assert workshop.drive(lambda ctx: ctx.effect("post", do), observer=observe).state == "done"
    assert do.count == 1
    assert "an observer of run" in caplog.text


# --- the journal itself ---


def test_a_journal_that_cannot_be_written_ends_the_drive_and_leaves_the_run_resumable(workshop: Workshop) -> None:
    writer = workshop.journal.writer._connection
    do = Calls([lambda _: writer.execute("PRAGMA query_only = 1") and None])
    with pytest.raises(JournalUnavailable, match="read-only"):
        workshop.drive(lambda ctx: ctx.effect("post", do))
    writer.execute("PRAGMA query_only = 0")
    assert workshop.run.status == "live"
    assert workshop.drive(lambda ctx: ctx.effect("post", do)).state == "done", "by the same process, too"
    assert do.count == 2


def test_a_schema_that_moved_on_refuses_the_append_itself(workshop: Workshop) -> None:
    def upgrade(_: Any) -> None:
        with workshop.journal.database.write() as connection:
            connection.exec_driver_sql("UPDATE alembic_version SET version_num = 'j9999'")

    with pytest.raises(JournalTooNew, match="j9999"):
        workshop.drive(lambda ctx: ctx.effect("post", upgrade))
    assert workshop.told() == ["created workshop", "intent post"]


def test_keyboard_interrupt_leaves_the_run_resumable(workshop: Workshop) -> None:
    def press(_: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)

    with pytest.raises(KeyboardInterrupt):
        workshop.drive(lambda ctx: ctx.effect("post", press))
    assert workshop.journal.holder(workshop.run_id) is None
    assert workshop.drive(lambda ctx: ctx.effect("post", Calls())).state == "done"
