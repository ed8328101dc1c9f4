"""After a death the state's handler runs again from its start, and is told what it was told before."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum, IntEnum
from typing import Any

import pytest

from necrocode.engine import outbox
from necrocode.engine.context import Context
from necrocode.engine.driver import Outcome
from necrocode.engine.errors import EnvironmentFault, TaskError
from necrocode.engine.journal import Journal
from necrocode.engine.testing import Death
from tests.engine.workshop import Calls, OpenJournal, Work, Workshop, die


def replayed(workshop: Workshop, work: Work, **options: Any) -> tuple[Any, Any]:
    """What ``work`` returned before a death, and what it returned after it. Its last step must be recorded."""
    seen: list[Any] = []

    def once_more(ctx: Context) -> None:
        seen.append(work(ctx))
        ctx.effect("anchor", lambda _: None)
        if len(seen) == 1:
            raise Death

    workshop.die(once_more, **options)
    assert workshop.drive(once_more, **options).state == "done"
    return seen[0], seen[1]


# --- what comes from outside ---


def test_the_clock_stands_still(workshop: Workshop) -> None:
    before = datetime.now(UTC)
    first, second = replayed(workshop, lambda ctx: [ctx.now(), ctx.now()])
    assert first == second
    assert before <= first[0] <= first[1] <= datetime.now(UTC)
    assert first[0].tzinfo is UTC


def test_chance_falls_the_same_way(workshop: Workshop) -> None:
    first, second = replayed(workshop, lambda ctx: [ctx.random() for _ in range(5)])
    assert first == second
    assert len(set(first)) == 5
    assert all(0 <= draw < 1 for draw in first)


def test_the_head_is_the_one_it_was(workshop: Workshop) -> None:
    first, second = replayed(workshop, lambda ctx: [ctx.head(), ctx.effect("post", lambda _: 1), ctx.head()])
    assert first == second
    hashes = [entry.hash for entry in workshop.entries]
    assert hashes.index(first[0]) < hashes.index(first[2])


def test_what_was_looked_at_is_not_looked_at_again(workshop: Workshop) -> None:
    looks: list[int] = []

    def look() -> int:
        looks.append(1)
        return len(looks)

    assert replayed(workshop, lambda ctx: ctx.observe("look", look)) == (1, 1)


def test_a_look_that_a_death_lost_is_taken_again(workshop: Workshop) -> None:
    looks: list[int] = []

    def look() -> int:
        looks.append(1)
        return len(looks)

    def look_and_die(ctx: Context) -> int:
        seen = ctx.observe("look", look)
        if len(looks) == 1:
            raise Death
        return int(seen)

    workshop.die(look_and_die)
    assert workshop.drive(look_and_die).data["result"] == 2


def test_a_look_that_fails_for_the_tasks_sake_fails_again(workshop: Workshop) -> None:
    def missing() -> None:
        raise TaskError("gone", stop_reason="gone")

    def caught(ctx: Context) -> str:
        try:
            ctx.observe("look", missing)
        except TaskError as error:
            return f"{error} {error.stop_reason}"
        return "not raised"

    assert replayed(workshop, caught) == ("gone gone", "gone gone")


# --- what is told is what was told ---


class Colour(Enum):
    RED = "red"


class Size(IntEnum):
    BIG = 3


class Word(str, Enum):  # noqa: UP042 - its str() is not its value
    YES = "yes"


@pytest.mark.parametrize("how", ["effect", "observe"])
@pytest.mark.parametrize(
    ("value", "told"),
    [
        pytest.param({"b": 1, "a": {"d": 2, "c": 3}}, {"a": {"c": 3, "d": 2}, "b": 1}, id="keys in order"),
        pytest.param((1, (2, 3)), [1, [2, 3]], id="tuples"),
        pytest.param([float("nan"), float("inf"), 1.5, -0.0], [None, None, 1.5, -0.0], id="not finite"),
        pytest.param("a\0b\ud800c\udfffd", "a\ufffdb\ufffdc\ufffdd", id="not storable"),
        pytest.param("emoji 😀 and é", "emoji 😀 and é", id="any script"),
        pytest.param({"k": Size.BIG, "w": Word.YES}, {"k": 3, "w": "yes"}, id="members"),
        pytest.param([True, False, None, 0, 1, 2**70], [True, False, None, 0, 1, 2**70], id="plain"),
        pytest.param({"$blob": "abc"}, {"$blob": "abc"}, id="looks like a blob"),
        pytest.param("x" * 10_000, "x" * 10_000, id="large"),
        pytest.param({"$blob": "y" * 10_000}, {"$blob": "y" * 10_000}, id="large and looks like a blob"),
        pytest.param(None, None, id="nothing"),
    ],
)
def test_a_result_is_at_once_what_a_replay_will_read(workshop: Workshop, how: str, value: Any, told: Any) -> None:
    def ask(ctx: Context) -> Any:
        return ctx.effect("post", lambda _: value) if how == "effect" else ctx.observe("look", lambda: value)

    first, second = replayed(workshop, ask)
    assert first == second == told
    assert repr(first) == repr(second) == repr(told), "types and the order of keys too"


@pytest.mark.parametrize("value", [Colour.RED, {1: 2}, b"bytes", {1, 2}, object()])
def test_what_json_cannot_hold_is_refused_at_once(workshop: Workshop, value: Any) -> None:
    run = workshop.drive(lambda ctx: ctx.observe("look", lambda: value))
    assert (run.status, run.stop_reason) == ("parked", "internal_error")
    assert "is not JSON" in run.data["error"]


def test_changing_what_one_was_told_changes_nothing_that_is_recorded(workshop: Workshop) -> None:
    def meddle(ctx: Context) -> list[Any]:
        seen = ctx.observe("look", lambda: ["as it was"])
        done = ctx.effect("post", lambda _: ["as it was"])
        ctx.data["list"].append("meddled")
        told = [list(seen), list(done)]
        seen.append("meddled")
        done.append("meddled")
        return told

    workshop = Workshop(workshop.journal, {"subject": "other", "data": {"list": []}})
    first, second = replayed(workshop, meddle)
    assert first == second == [["as it was"], ["as it was"]]
    assert workshop.run.data["list"] == []


def test_data_come_in_the_same_order_before_and_after_a_death(workshop: Workshop) -> None:
    def go_round(ctx: Context) -> Any:
        return Outcome("rest", {"zebra": 1, "ant": 2}) if not ctx.visit else list(ctx.data)

    first: list[str] = []

    def look_then_die(ctx: Context) -> Any:
        if ctx.visit:
            first.extend(ctx.data)
            raise Death
        return go_round(ctx)

    workshop.die(look_then_die, resting=lambda _: Outcome("again"))
    assert workshop.drive(go_round).data["result"] == first == ["ant", "task", "zebra"]


def test_amended_data_are_seen_and_not_recorded(workshop: Workshop) -> None:
    def amend(ctx: Context) -> Any:
        ctx.amend({"task": "amended"})
        return ctx.data["task"]

    run = workshop.drive(amend)
    assert (run.data["result"], run.data["task"]) == ("amended", "t")


# --- secrets ---


def masked(text: str) -> str:
    return text.replace("hunter22", "*****")


def test_a_secret_is_masked_before_anybody_uses_it(open_journal: OpenJournal) -> None:
    journal = open_journal(mask=masked)
    workshop = Workshop(journal, {"data": {"task": "use hunter22"}, "settings": {"token": "hunter22"}})
    do = Calls([{"hunter22": ["it is hunter22"]}])

    def use(ctx: Context) -> list[Any]:
        ctx.warn("leak", {"line": "hunter22"})
        ctx.post("sink", "call hunter22", {"body": "hunter22"})
        return [
            ctx.data["task"],
            ctx.settings["token"],
            ctx.effect("run", do, key="echo hunter22", note="hunter22"),
            ctx.observe("look", lambda: "hunter22"),
        ]

    first, second = replayed(workshop, use)
    assert first == second == ["use *****", "*****", {"*****": ["it is *****"]}, "*****"]
    workshop.drive(lambda _: None)
    journal.close()
    assert b"hunter22" not in journal.path.read_bytes()


def test_a_secret_in_an_error_is_masked_in_what_is_kept_of_it(open_journal: OpenJournal) -> None:
    journal = open_journal(mask=masked)
    workshop = Workshop(journal)
    run = workshop.drive(lambda ctx: ctx.effect("post", Calls([EnvironmentFault("refused hunter22")])))
    assert run.data["error"] == "refused *****"
    assert run.data["error"] == workshop.run.data["error"]
    workshop.drive(lambda ctx: ctx.effect("post", Calls([TaskError("no hunter22", stop_reason="bad")])))
    assert workshop.run.data["error"] == "no *****"
    journal.close()
    assert b"hunter22" not in journal.path.read_bytes()


# --- another order ---


@pytest.mark.parametrize(
    ("then", "words"),
    [
        (lambda ctx: [ctx.effect("b", Calls()), ctx.effect("a", Calls())], "'a' .*asks for 'b'"),
        (lambda ctx: ctx.effect("a", Calls(), key="other"), "'a' .*'k'.*asks for 'a' .*'other'"),
        (lambda ctx: ctx.observe("b", lambda: 1), "asks for 'b'"),
        (lambda ctx: ctx.effect("a", Calls(), key="k"), "'b' .*ended without asking for it"),
        (lambda _: None, "ended without asking"),
    ],
)
def test_a_handler_that_asks_for_something_else_is_parked(workshop: Workshop, then: Work, words: str) -> None:
    def before(ctx: Context) -> None:
        ctx.effect("a", Calls(), key="k")
        ctx.effect("b", Calls())
        raise Death

    workshop.die(before)
    run = workshop.drive(then)
    assert (run.status, run.stop_reason, run.state) == ("parked", "nondeterminism", "working")
    assert re.search(words, run.data["error"])


def test_a_parked_handler_goes_on_once_it_is_put_right(workshop: Workshop) -> None:
    do = Calls()

    def before(ctx: Context) -> Any:
        ctx.effect("a", do)
        raise Death

    workshop.die(before)
    assert workshop.drive(lambda ctx: ctx.effect("b", do)).status == "parked"
    assert workshop.drive(lambda ctx: ctx.effect("a", do)).data["result"] == "done 1"
    assert do.count == 1


def test_arguments_are_no_part_of_what_an_effect_is(workshop: Workshop) -> None:
    workshop.die(lambda ctx: [ctx.effect("a", Calls(["old"]), note={"argument": 1}), die()])
    assert workshop.drive(lambda ctx: ctx.effect("a", Calls(["new"]), note={"argument": 2})).data["result"] == "old"


def test_new_code_passes_over_old_journals_by_asking_which_it_is(workshop: Workshop) -> None:
    def old(ctx: Context) -> Any:
        ctx.effect("first", Calls())
        ctx.effect("second", Calls())
        raise Death

    def new(ctx: Context) -> list[bool]:
        answers = [ctx.version("greet")]
        if answers[0]:
            ctx.effect("greeting", Calls())
        ctx.effect("first", Calls())
        ctx.effect("second", Calls())
        answers.append(ctx.version("greet"))
        return answers

    workshop.die(old)
    assert workshop.drive(new).data["result"] == [False, False], "the same all through a visit"
    fresh = Workshop(workshop.journal, {"subject": "another"})
    assert replayed(fresh, new) == ([True, True], [True, True])
    assert "intent greeting" in fresh.told()


# --- what is known already ---


def test_a_state_sees_the_outcomes_of_earlier_visits_in_order(workshop: Workshop) -> None:
    def round_of(ctx: Context) -> Any:
        seen = [(r.visit, r.name, r.key, r.result) for r in ctx.history("working")]
        if ctx.visit == 4:
            return seen
        ctx.effect("post", lambda _: ctx.visit, key="k")
        ctx.observe("look", lambda: "x" * 5000)
        return Outcome("rest")

    run = workshop.drive(round_of, resting=lambda _: Outcome("again"))
    assert run.data["result"] == [
        entry for visit in (0, 2) for entry in ([visit, "post", "k", visit], [visit, "look", "", "x" * 5000])
    ]


def test_the_present_visit_is_no_part_of_its_own_history(workshop: Workshop) -> None:
    def ask(ctx: Context) -> Any:
        return [len(ctx.history("working")), ctx.effect("post", lambda _: 1), len(ctx.history("working"))]

    assert replayed(workshop, ask) == ([0, 1, 0], [0, 1, 0])


def test_the_last_value_of_a_field_is_the_one_that_was_last_then(workshop: Workshop) -> None:
    def ask(ctx: Context) -> list[Any]:
        return [
            ctx.last_recorded("tree"),
            ctx.effect("one", lambda _: {"tree": "first"})["tree"],
            ctx.last_recorded("tree"),
            ctx.observe("two", lambda: {"tree": "second"})["tree"],
            ctx.last_recorded("tree"),
            ctx.effect("three", lambda _: {"other": 1})["other"],
            ctx.last_recorded("tree"),
        ]

    seen: list[Any] = []

    def and_later(ctx: Context) -> Any:
        seen.append(ask(ctx))
        ctx.effect("four", lambda _: {"tree": "later"})
        if len(seen) == 1:
            raise Death
        return Outcome("finish")

    def recover(ctx: Context) -> Mapping[str, Any]:
        ctx.effect("restore", lambda _: {"tree": "restored"})
        return {}

    workshop.die(and_later, recover=recover)
    assert workshop.drive(and_later, recover=recover).state == "done"
    assert seen[0] == seen[1] == [None, "first", "first", "second", "second", 1, "second"]


def test_recovery_sees_the_last_value_of_all(workshop: Workshop) -> None:
    seen: list[Any] = []
    workshop.die(lambda ctx: [ctx.effect("one", lambda _: {"tree": "t1"}), die()])

    def recover(ctx: Context) -> Mapping[str, Any]:
        seen.append(ctx.last_recorded("tree"))
        return {}

    workshop.drive(lambda ctx: ctx.effect("one", Calls()), recover=recover)
    assert seen == ["t1"]


def test_recovery_sees_what_is_in_doubt_with_its_whole_note(workshop: Workshop) -> None:
    seen: list[Any] = []
    note = {"command": "echo " + "x" * 5000}
    do = Calls([Death])

    def work(ctx: Context) -> Any:
        ctx.effect("settled", lambda _: None)
        return ctx.effect("command", do, key="k", note=note)

    def recover(ctx: Context) -> Mapping[str, Any]:
        seen.extend(ctx.in_doubt())
        return {}

    workshop.die(work, recover=recover)
    workshop.drive(work, recover=recover)
    (doubtful,) = seen
    assert (doubtful.name, doubtful.key, doubtful.visit, doubtful.ordinal) == ("command", "k", 0, 1)
    assert doubtful.note == note
    assert doubtful.idempotency_key == do.attempts[0].idempotency_key


# --- warnings and the outbox ---


def test_a_warning_is_recorded_once(workshop: Workshop) -> None:
    replayed(workshop, lambda ctx: ctx.warn("odd", {"message": "look at this"}))
    assert workshop.payloads("warning") == [{"visit": 0, "ordinal": 0, "message": "look at this"}]


@pytest.mark.parametrize("name", ["visit", "ordinal", "scope"])
def test_a_warning_may_not_say_that_it_stands_elsewhere(workshop: Workshop, name: str) -> None:
    run = workshop.drive(lambda ctx: ctx.warn("odd", {name: 7}))
    assert (run.status, run.stop_reason) == ("parked", "internal_error")
    assert f"may not use the names ['{name}']" in run.data["error"]


def test_a_warning_called_like_one_of_the_engines_own_is_not_taken_for_it(workshop: Workshop) -> None:
    def warn(ctx: Context) -> None:
        ctx.warn("settings_changed", {"settings": {"a": 2}})
        ctx.effect("anchor", Calls())
        raise Death

    workshop.die(warn)
    assert workshop.journal.settings(workshop.run_id) == {}


@pytest.mark.parametrize("lost", ["park", "interrupt", "task error", "no transition", "bug"])
def test_what_waits_to_be_committed_is_not_lost_when_the_handler_ends_otherwise(workshop: Workshop, lost: str) -> None:
    def work(ctx: Context) -> Any:
        ctx.warn("odd", {})
        match lost:
            case "park":
                raise EnvironmentFault("broken")
            case "interrupt":
                driver.interrupt()
                assert ctx.stop.wait(timedelta(seconds=20))
                ctx.stop.check()
            case "task error":
                raise TaskError("no", stop_reason="no")
            case "no transition":
                return Outcome("nowhere")
        raise ZeroDivisionError

    driver = workshop.driver(work)
    driver.drive(workshop.run_id)
    assert len(workshop.payloads("warning", "odd")) == 1
    if workshop.run.status != "closed":
        workshop.drive(lambda ctx: ctx.warn("odd", {}))
        assert len(workshop.payloads("warning", "odd")) == 1, "and comes no second time"


def test_what_is_posted_stands_in_the_outbox_once(workshop: Workshop) -> None:
    first, second = replayed(workshop, lambda ctx: ctx.post("registry", "event", {"b": 1, "a": [2]}))
    assert first == second
    (parcel,) = outbox.waiting(workshop.journal)
    assert (parcel.item_id, parcel.sink, parcel.call, parcel.payload) == (
        first,
        "registry",
        "event",
        {"a": [2], "b": 1},
    )
    assert (parcel.run_id, parcel.attempts) == (workshop.run_id, 0)
    # What it was posted under is over: a sink that has seen the resumed run would refuse it.
    assert parcel.epoch == workshop.run.epoch > 1


def test_what_is_posted_twice_under_one_id_stands_there_once(workshop: Workshop) -> None:
    def post(ctx: Context) -> Any:
        return [ctx.post("pool", "release", {"n": n}, item_id="the-one") for n in (1, 2)]

    assert workshop.drive(post).data["result"] == ["the-one", "the-one"]
    (parcel,) = outbox.waiting(workshop.journal)
    assert parcel.payload == {"n": 1}


def test_settings_are_frozen_and_a_change_is_an_entry_of_its_own(journal: Journal) -> None:
    workshop = Workshop(journal, {"settings": {"retries": 3, "names": ("a", "b")}})
    seen: list[Any] = []

    def look(ctx: Context) -> Any:
        seen.append(ctx.settings)
        raise Death

    workshop.die(look)
    workshop.die(look, settings={"names": ("a", "b"), "retries": 3})
    assert not workshop.told("warning"), "the same settings are no change"
    workshop.die(look, settings={"retries": 4, "names": []})
    workshop.die(look)
    workshop.die(look, settings={"retries": 4, "names": []})
    assert [s["retries"] for s in seen] == [3, 3, 4, 4, 4]
    assert workshop.payloads("warning") == [{"settings": {"names": [], "retries": 4}}]
    assert journal.settings(workshop.run_id) == {"names": [], "retries": 4}
