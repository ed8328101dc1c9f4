"""What could not be delivered waits in the outbox, under one id for ever; what has ended may be pruned."""

from __future__ import annotations

from typing import Any

import pytest

from necrocode.engine import audit, outbox
from necrocode.engine.claim import claim
from necrocode.engine.context import Context
from necrocode.engine.errors import RunError, RunNotFound, TaskError, Transient
from necrocode.engine.journal import Journal
from necrocode.engine.outbox import Parcel
from necrocode.engine.pruning import prune
from necrocode.engine.testing import Death
from tests.engine.workshop import TABLE, Calls, OpenJournal, Workshop


class Sink:
    """A service that may be down."""

    def __init__(self, *failures: BaseException) -> None:
        self.failures = list(failures)
        self.got: list[str] = []

    def __call__(self, parcel: Parcel) -> None:
        self.got.append(f"{parcel.call} {parcel.payload['n']}")
        if self.failures:
            raise self.failures.pop(0)


def posting(*posts: tuple[str, str, int]) -> Any:
    def work(ctx: Context) -> None:
        for sink, call, n in posts:
            ctx.post(sink, call, {"n": n})

    return work


def test_parcels_go_out_in_order_each_once(workshop: Workshop) -> None:
    workshop.drive(posting(("registry", "status", 1), ("registry", "event", 2), ("pool", "release", 3)))
    registry, pool = Sink(), Sink()
    assert outbox.deliver(workshop.journal, {"registry": registry, "pool": pool}) == (3, [])
    assert (registry.got, pool.got) == (["status 1", "event 2"], ["release 3"])
    assert outbox.deliver(workshop.journal, {"registry": registry, "pool": pool}) == (0, [])
    assert outbox.waiting(workshop.journal) == []


def test_a_sink_that_is_down_keeps_its_parcels_in_order_and_holds_up_no_other(journal: Journal) -> None:
    one, two = Workshop(journal, {"subject": "1"}), Workshop(journal, {"subject": "2"})
    one.drive(posting(("registry", "status", 1), ("registry", "event", 2), ("pool", "release", 3)))
    two.drive(posting(("registry", "status", 4)))
    registry, pool = Sink(Transient("down for now")), Sink()
    delivered, still = outbox.deliver(journal, {"registry": registry, "pool": pool})
    assert registry.got == ["status 1", "status 4"], "what follows in its line waits, another run's does not"
    assert (delivered, pool.got) == (2, ["release 3"])
    assert [(p.payload["n"], p.attempts, p.last_error) for p in still] == [(1, 1, "down for now"), (2, 0, None)]
    assert outbox.deliver(journal, {"registry": registry}, one.run_id) == (2, [])


@pytest.mark.parametrize("error", [TaskError("refused", stop_reason="x"), KeyError("a bug in the sender")])
def test_a_parcel_that_fails_in_any_way_stays(workshop: Workshop, error: Exception) -> None:
    workshop.drive(posting(("registry", "status", 1), ("pool", "release", 2)))
    delivered, (still,) = outbox.deliver(workshop.journal, {"registry": Sink(error), "pool": Sink()})
    assert (delivered, still.sink, still.attempts) == (1, "registry", 1)


def test_a_parcel_for_a_sink_that_nobody_serves_waits(workshop: Workshop) -> None:
    workshop.drive(posting(("registry", "status", 1)))
    delivered, (still,) = outbox.deliver(workshop.journal, {})
    assert (delivered, still.attempts) == (0, 0)


def test_a_death_between_the_call_and_its_record_sends_it_again_under_the_same_id(workshop: Workshop) -> None:
    workshop.drive(posting(("registry", "status", 1)))
    ids: list[str] = []

    def die_first(parcel: Parcel) -> None:
        ids.append(parcel.item_id)
        if len(ids) == 1:
            raise Death

    with pytest.raises(Death):
        outbox.deliver(workshop.journal, {"registry": die_first})
    assert outbox.deliver(workshop.journal, {"registry": die_first}) == (1, [])
    assert ids[0] == ids[1]


def test_a_secret_in_a_senders_error_is_masked(open_journal: OpenJournal) -> None:
    journal = open_journal(mask=lambda text: text.replace("hunter22", "***"))
    Workshop(journal).drive(posting(("registry", "status", 1)))
    _, (still,) = outbox.deliver(journal, {"registry": Sink(Transient("wrong token hunter22"))})
    assert still.last_error == "wrong token ***"


# --- pruning ---


def test_a_pruned_run_leaves_a_signed_tombstone_and_a_chain_that_holds(journal: Journal) -> None:
    kept, gone = Workshop(journal, {"subject": "kept"}), Workshop(journal, {"subject": "gone"})
    for each in (kept, gone):
        each.drive(lambda ctx: ctx.effect("post", lambda _: "x" * 5000))
    head = gone.run.head_hash
    assert prune(journal, [gone.run_id], by="spring cleaning") == 1
    with pytest.raises(RunNotFound):
        journal.run(gone.run_id)
    assert gone.entries == []
    with journal.database.read() as connection:
        (tombstone,) = connection.exec_driver_sql("SELECT run_id, head_hash, pruned_by FROM tombstones").fetchall()
        blobs = connection.exec_driver_sql("SELECT DISTINCT run_id FROM blobs").fetchall()
    assert tuple(tombstone) == (gone.run_id, head, "spring cleaning")
    assert [row[0] for row in blobs] == [kept.run_id]
    assert audit.verify(journal, lifecycles={"workshop": TABLE}).problems == ()


def test_a_pruned_runs_id_cannot_be_used_again_unseen(journal: Journal) -> None:
    gone = Workshop(journal)
    gone.drive(lambda _: None)
    prune(journal, [gone.run_id], by="t")
    journal.create(TABLE, subject="again", data={}, run_id=gone.run_id)
    assert not audit.verify(journal).ok


@pytest.mark.parametrize("state", ["live", "driven", "parked", "unknown", "twice", "undelivered"])
def test_only_ended_runs_that_owe_nothing_are_pruned_and_all_or_none(journal: Journal, state: str) -> None:
    ended, other = Workshop(journal, {"subject": "1"}), Workshop(journal, {"subject": "2"})
    ended.drive(lambda _: None)
    held = claim(journal, other.run_id) if state == "driven" else None
    match state:
        case "parked":
            other.drive(Calls([Transient("down")]))
        case "undelivered":
            other.drive(posting(("registry", "status", 1)))
    asked = {"unknown": "no such run", "twice": ended.run_id}.get(state, other.run_id)
    with pytest.raises(RunError, match="reports to deliver" if state == "undelivered" else "has not ended"):
        prune(journal, [ended.run_id, asked], by="t")
    assert ended.entries
    assert audit.verify(journal).ok
    if held is not None:
        held.abandon()
