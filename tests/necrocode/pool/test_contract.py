"""What every repo pool must do: one suite over the embedded one, and the REST client with `serve` behind it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from necrocode.engine.errors import EnvironmentFault, Interrupted, Transient
from necrocode.engine.stop import StopToken
from necrocode.pool.embedded import EmbeddedPool
from necrocode.pool.rest import RepoPoolClient
from necrocode.states.ports import RepoPool, SlotAllocation
from tests.necrocode.serve.serving import listening, stores

URL = "https://git.example/x.git"


@pytest.fixture(params=["embedded", "rest"])
def pool(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RepoPool]:
    with stores(tmp_path / "home", slots=1) as services:
        if request.param == "embedded":
            yield EmbeddedPool(
                services.database, tmp_path / "home", limit=1, run_is_over=lambda _: False, quiesce=lambda _: None
            )
            return
        with listening(services, parts=["pool"]) as url:
            client = RepoPoolClient(url, "a-pool-token", epoch=lambda: 3)
            yield client
            client.close()


def allocate(pool: RepoPool, run: str = "run-1", *, key: str = "key-1", seconds: float = 0) -> SlotAllocation:
    return pool.allocate(URL, run_id=run, key=key, timeout=timedelta(seconds=seconds), stop=StopToken())


def test_a_slot_is_lent_to_one_run_at_a_time(pool: RepoPool) -> None:
    loan = allocate(pool)
    assert (loan.generation, loan.kind, loan.slot_path.is_dir()) == (1, "pool", True)
    with pytest.raises(Transient) as caught:
        allocate(pool, "run-2", key="key-2")
    assert caught.value.stop_reason == "no_slot"
    pool.release(loan, run_id="run-1", key="r")
    assert allocate(pool, "run-2", key="key-2").generation == 2


def test_nothing_of_a_former_run_is_left(pool: RepoPool) -> None:
    loan = allocate(pool)
    (loan.slot_path / "left").write_text("behind")
    pool.release(loan, run_id="run-1", key="r")
    assert list(allocate(pool, "run-2", key="key-2").slot_path.iterdir()) == []


def test_the_same_key_gets_the_same_loan_until_it_ends(pool: RepoPool) -> None:
    loan = allocate(pool)
    assert allocate(pool) == loan
    pool.release(loan, run_id="run-1", key="r")
    again = allocate(pool)
    assert (again.slot_id, again.generation) == (loan.slot_id, 2)
    pool.release(again, run_id="run-1", key="r")
    assert not pool.holds(again, run_id="run-1")


def test_a_key_of_another_run_is_refused(pool: RepoPool) -> None:
    allocate(pool)
    with pytest.raises(EnvironmentFault, match="came with another request before") as caught:
        allocate(pool, "run-2", seconds=20)
    assert not isinstance(caught.value, Transient)


def test_an_older_epoch_of_the_run_is_told_apart_from_a_lost_slot(tmp_path: Path) -> None:
    with stores(tmp_path / "home", slots=1) as services, listening(services, parts=["pool"]) as url:
        epochs = {1: RepoPoolClient(url, epoch=lambda: 1), 2: RepoPoolClient(url, epoch=lambda: 2)}
        loan = allocate(epochs[1])
        epochs[2].renew(loan, run_id="run-1")
        with pytest.raises(EnvironmentFault, match="a newer epoch than 1") as caught:
            epochs[1].renew(loan, run_id="run-1")
        assert caught.value.stop_reason == "superseded"
        with pytest.raises(EnvironmentFault, match="a newer epoch than 1") as caught:
            epochs[1].release(loan, run_id="run-1", key="r")
        assert caught.value.stop_reason == "superseded"
        epochs[2].release(loan, run_id="run-1", key="r")
        with pytest.raises(EnvironmentFault, match="no longer lent") as caught:
            epochs[2].renew(loan, run_id="run-1")
        assert caught.value.stop_reason == "slot_lost"
        for client in epochs.values():
            client.close()


def test_a_slot_that_becomes_free_is_waited_for(pool: RepoPool) -> None:
    loan = allocate(pool)
    timer = threading.Timer(0.2, pool.release, args=(loan,), kwargs={"run_id": "run-1", "key": "r"})
    timer.start()
    found = allocate(pool, "run-2", key="key-2", seconds=60)
    timer.join()
    assert found.generation == 2


def test_waiting_ends_when_the_work_is_to_stop(pool: RepoPool) -> None:
    allocate(pool)
    stop = StopToken()
    timer = threading.Timer(0.1, stop.stop, args=(Interrupted(),))
    timer.start()
    with pytest.raises(Interrupted):
        pool.allocate(URL, run_id="run-2", key="key-2", timeout=timedelta(days=1), stop=stop)
    timer.join()


def test_a_release_counts_once_and_only_of_the_loan_it_names(pool: RepoPool) -> None:
    old = allocate(pool)
    pool.release(old, run_id="run-2", key="r0")
    assert pool.holds(old, run_id="run-1")
    pool.release(old, run_id="run-1", key="r")
    new = allocate(pool, "run-2", key="key-2")
    pool.release(old, run_id="run-1", key="r2")
    pool.release(SlotAllocation("gone", old.slot_path, 1), run_id="run-1", key="r3")
    assert pool.holds(new, run_id="run-2")


def test_a_loan_is_held_until_it_ends_or_another_run_has_the_slot(pool: RepoPool) -> None:
    old = allocate(pool)
    pool.renew(old, run_id="run-1")
    assert pool.holds(old, run_id="run-1")
    assert not pool.holds(old, run_id="run-2")
    pool.release(old, run_id="run-1", key="r")
    assert not pool.holds(old, run_id="run-1")
    allocate(pool, "run-1", key="key-2")
    assert not pool.holds(old, run_id="run-1")
    assert not pool.holds(SlotAllocation("gone", old.slot_path, 1), run_id="run-1")
