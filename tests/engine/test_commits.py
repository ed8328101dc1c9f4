"""One commit, and so one sync, a step; what is stored grows with what happened and not with its square."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from necrocode.engine.claim import Addition, claim
from necrocode.engine.context import Context
from necrocode.engine.driver import Outcome
from necrocode.engine.errors import EffectFailed, EnvironmentFault, Superseded, Transient
from necrocode.engine.journal import Journal
from necrocode.engine.retry import RetryPolicy
from tests.engine.wal import commits
from tests.engine.workshop import Calls, Workshop, always


def cost(workshop: Workshop, work: Any, **options: Any) -> int:
    """Commits of a whole drive, without its claim and its last step."""
    before = commits(workshop.journal.path)
    workshop.drive(work, **options)
    return commits(workshop.journal.path) - before - 2


def test_the_counter_counts_commits(journal: Journal) -> None:
    before = commits(journal.path)
    for n in range(7):
        journal.request_cancel(Workshop(journal, {"subject": str(n)}).run_id)
    assert commits(journal.path) == before + 14


def test_a_transition_is_one_commit(workshop: Workshop) -> None:
    def work(ctx: Context) -> Any:
        return Outcome("rest", {"n": ctx.visit}) if ctx.visit < 60 else Outcome("finish")

    assert cost(workshop, work, resting=lambda _: Outcome("again")) == 60
    assert len(workshop.told("transition")) == 61


def test_what_was_looked_at_is_committed_with_the_step_that_follows(workshop: Workshop) -> None:
    def work(ctx: Context) -> None:
        ctx.now()
        ctx.random()
        ctx.warn("odd", {})
        ctx.observe("look", lambda: "x" * 10_000)

    assert cost(workshop, work) == 0
    assert workshop.told("outcome", "warning", "transition") == [
        "outcome clock",
        "outcome random",
        "warning odd",
        "outcome look",
        "transition finish",
    ]


def test_an_effect_is_an_intent_and_an_outcome(workshop: Workshop) -> None:
    assert cost(workshop, lambda ctx: [ctx.effect("post", lambda _: "x" * 10_000) for _ in range(20)]) == 40


def test_a_failed_attempt_is_a_commit_of_its_own_and_a_last_tolerated_one_goes_with_the_outcome(
    workshop: Workshop,
) -> None:
    def work(ctx: Context) -> None:
        with pytest.raises(EffectFailed):
            ctx.effect("post", Calls([Transient] * 3), retry=RetryPolicy(3, timedelta(0)), tolerate=True)

    assert cost(workshop, work) == 1 + 2 + 1
    assert workshop.told("attempt", "outcome") == ["attempt post"] * 3 + ["outcome post"]


def test_a_post_is_one_commit_with_its_entry(workshop: Workshop) -> None:
    assert cost(workshop, lambda ctx: [ctx.post("sink", "call", {"n": n}) for n in range(10)]) == 10


def test_parking_and_ending_are_one_commit_each_the_lease_included(workshop: Workshop) -> None:
    assert cost(workshop, Calls([EnvironmentFault])) == 0
    assert workshop.journal.holder(workshop.run_id) is None
    assert cost(workshop, lambda _: None) == 1, "recovery"
    assert workshop.told()[-2:] == ["transition finish", "closed done"]


# --- growth ---


def bytes_of(journal: Journal) -> int:
    with journal.database.read() as connection:
        return int(
            connection.exec_driver_sql(
                "SELECT (SELECT sum(length(payload) + length(name) + length(key) + 200) FROM entries)"
                " + (SELECT coalesce(sum(length(data) + 100), 0) FROM blobs)"
                " + (SELECT sum(length(data)) FROM runs)"
            ).scalar_one()
        )


def test_twice_the_turns_are_twice_the_bytes(journal: Journal) -> None:
    def talk(turns: int) -> Any:
        def work(ctx: Context) -> None:
            for turn in range(turns):
                ctx.effect("ask", always({"text": f"{turn:04} " * 300}))
                ctx.observe("read", always(f"file {turn:04} " * 400))

        return work

    sizes: list[int] = []
    for turns in (100, 200, 400):
        before = bytes_of(journal) if sizes else 0
        Workshop(journal, {"subject": str(turns)}).drive(talk(turns))
        sizes.append(bytes_of(journal) - before)
    assert sizes[1] < 2.1 * sizes[0]
    assert sizes[2] < 2.1 * sizes[1]


def blobs(journal: Journal) -> list[tuple[str, int, int]]:
    with journal.database.read() as connection:
        rows = connection.exec_driver_sql("SELECT run_id, size, length(data) FROM blobs").fetchall()
    return [(row[0], row[1], row[2]) for row in rows]


def test_a_large_value_is_stored_once_and_compressed(workshop: Workshop) -> None:
    large = "the same long text, again and again. " * 2_000

    def work(ctx: Context) -> Any:
        for n in range(20):
            assert ctx.effect("post", lambda _: large) == large
            ctx.observe("look", always({"n": n, "text": "small"}))
        return Outcome("rest", {"large": large})

    workshop.drive(work, resting=lambda ctx: ctx.data["large"] == large)
    sizes = [(size, stored) for _, size, stored in blobs(workshop.journal)]
    assert len(sizes) == 2, "the result, and the patch that holds it"
    assert all(stored < size / 50 for size, stored in sizes)
    assert workshop.run.data["result"] is True
    assert max(len(entry.payload) for entry in workshop.entries) < 200


def test_a_blob_belongs_to_its_run(journal: Journal) -> None:
    for subject in "ab":
        Workshop(journal, {"subject": subject}).drive(lambda ctx: ctx.effect("post", lambda _: "z" * 5000))
    assert len({run_id for run_id, _, _ in blobs(journal)}) == 2


def test_a_refused_append_leaves_no_blob_behind(workshop: Workshop) -> None:
    old = claim(workshop.journal, workshop.run_id)
    old.abandon()
    new = claim(workshop.journal, workshop.run_id)
    with pytest.raises(Superseded):
        old.append([Addition("outcome", "post", {"result": "z" * 5000})])
    assert not blobs(workshop.journal)
    new.abandon()
