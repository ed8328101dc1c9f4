"""The REST client of a repo pool, against a small pool of one slot on loopback."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from necrocode.engine.errors import EnvironmentFault, Interrupted, Transient
from necrocode.engine.stop import StopToken
from necrocode.pool.rest import RepoPoolClient
from necrocode.states.ports import SlotAllocation
from tests.necrocode.loopback import Loopback, Request, Response, serve

URL = "https://git.example/x.git"


@dataclass
class OneSlot:
    """A pool of one slot that behaves as ours does."""

    path: Path
    generation: int = 0
    key: str | None = None
    run_id: str | None = None
    renewed: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, request: Request) -> Response:
        with self.lock:
            if request.path == ("slots", "allocate"):
                return self._allocate(request)
            if request.path == ("health",):
                return Response()
            if request.path[1] != "slot 1":
                return Response(404)
            if request.method == "GET":
                status = "lent" if self.run_id else "free"
                holder = {"run_id": self.run_id} if self.run_id else None
                return Response(body={"status": status, "generation": self.generation, "holder": holder})
            ours = request.json().get("run_id") == self.run_id and request.json()["generation"] == self.generation
            if request.path[2] == "renew":
                self.renewed += ours
                return Response(200 if ours else 409)
            if not ours:
                return Response(409)
            self.run_id = self.key = None
            return Response(204)

    def _allocate(self, request: Request) -> Response:
        body = request.json()
        assert set(body) == {"repo_url", "required_by", "timeout_seconds"}
        key = request.headers["idempotency-key"]
        if self.run_id is not None and self.key != key:
            return Response(409, {"detail": "every slot is lent"})
        if self.key != key:
            self.generation += 1
            self.key, self.run_id = key, body["required_by"]
        slot: dict[str, Any] = {"slot_id": "slot 1", "slot_path": str(self.path), "generation": self.generation}
        return Response(body=slot)


@dataclass
class Subject:
    client: RepoPoolClient
    pool: OneSlot
    server: Loopback


@pytest.fixture
def subject(tmp_path: Path) -> Iterator[Subject]:
    pool = OneSlot(tmp_path)
    with serve(pool) as server:
        client = RepoPoolClient(server.url, "a-pool-token", epoch=lambda: 3)
        yield Subject(client, pool, server)
        client.close()


def allocate(client: RepoPoolClient, run: str = "run-1", *, key: str = "key-1", seconds: float = 0) -> SlotAllocation:
    return client.allocate(URL, run_id=run, key=key, timeout=timedelta(seconds=seconds), stop=StopToken())


def test_a_slot_is_lent_to_one_run_at_a_time(subject: Subject, tmp_path: Path) -> None:
    loan = allocate(subject.client)
    assert loan == SlotAllocation("slot 1", tmp_path, 1, "pool")
    with pytest.raises(Transient, match="none became free within 0 s") as caught:
        allocate(subject.client, "run-2", key="key-2")
    assert caught.value.stop_reason == "no_slot"
    subject.client.release(loan, run_id="run-1", key="r")
    assert allocate(subject.client, "run-2", key="key-2").generation == 2


def test_the_same_key_gets_the_same_loan(subject: Subject) -> None:
    assert allocate(subject.client) == allocate(subject.client)
    assert subject.pool.generation == 1


def test_writes_carry_key_and_epoch(subject: Subject) -> None:
    loan = allocate(subject.client)
    subject.client.release(loan, run_id="run-1", key="key-r")
    first, last = subject.server.requests
    assert (first.headers["idempotency-key"], last.headers["idempotency-key"]) == ("key-1", "key-r")
    assert first.headers["x-necrocode-epoch"] == last.headers["x-necrocode-epoch"] == "3"
    assert last.json() == {"run_id": "run-1", "generation": 1}


def test_a_slot_that_becomes_free_is_waited_for(subject: Subject) -> None:
    loan = allocate(subject.client)
    timer = threading.Timer(0.2, subject.client.release, args=(loan,), kwargs={"run_id": "run-1", "key": "r"})
    timer.start()
    found = allocate(subject.client, "run-2", key="key-2", seconds=20)
    timer.join()
    assert found.generation == 2


def test_waiting_ends_at_once_when_the_work_is_to_stop(subject: Subject) -> None:
    allocate(subject.client)
    stop = StopToken()
    timer = threading.Timer(0.1, stop.stop, args=(Interrupted(),))
    timer.start()
    began = time.monotonic()
    with pytest.raises(Interrupted):
        subject.client.allocate(URL, run_id="run-2", key="key-2", timeout=timedelta(minutes=10), stop=stop)
    assert time.monotonic() - began < 5
    timer.join()


def test_releasing_an_ended_loan_does_nothing(subject: Subject) -> None:
    old = allocate(subject.client)
    subject.client.release(old, run_id="run-1", key="r")
    new = allocate(subject.client, "run-2", key="key-2")
    subject.client.release(old, run_id="run-1", key="r2")
    subject.client.release(SlotAllocation("gone", old.slot_path, 1), run_id="run-1", key="r3")
    assert subject.client.holds(new, run_id="run-2")


def test_a_loan_is_held_until_it_ends_or_another_run_has_the_slot(subject: Subject) -> None:
    old = allocate(subject.client)
    assert subject.client.holds(old, run_id="run-1")
    assert not subject.client.holds(old, run_id="run-2")
    subject.client.release(old, run_id="run-1", key="r")
    assert not subject.client.holds(old, run_id="run-1")
    allocate(subject.client, "run-1", key="key-2")
    assert not subject.client.holds(old, run_id="run-1")
    assert not subject.client.holds(SlotAllocation("gone", old.slot_path), run_id="run-1")


def test_a_renewal_says_if_the_loan_is_lost(subject: Subject) -> None:
    loan = allocate(subject.client)
    subject.client.renew(loan, run_id="run-1")
    assert subject.pool.renewed == 1
    subject.client.release(loan, run_id="run-1", key="r")
    with pytest.raises(EnvironmentFault, match="no longer lent") as caught:
        subject.client.renew(loan, run_id="run-1")
    assert caught.value.stop_reason == "slot_lost"


def test_a_superseded_run_has_lost_nothing() -> None:
    words = {"error": {"code": "superseded", "message": "a newer epoch was seen"}}
    with serve(lambda _: Response(409, words)) as server:
        client = RepoPoolClient(server.url, epoch=lambda: 1)
        loan = SlotAllocation("slot 1", Path("/"), 1, "pool")
        for call in (
            lambda: client.renew(loan, run_id="run-1"),
            lambda: client.release(loan, run_id="run-1", key="r"),
            lambda: allocate(client),
        ):
            with pytest.raises(EnvironmentFault, match=r"repo pool: .* answered 409: a newer epoch was seen") as caught:
                call()
            assert caught.value.stop_reason == "superseded"
        client.close()


def test_a_foreign_pool_without_generation_holder_or_renewal_will_do(tmp_path: Path) -> None:
    def foreign(request: Request) -> Response:
        if request.path[-1] == "allocate":
            return Response(201, {"slot_id": 7, "slot_path": str(tmp_path)} if wrong else slot)
        return Response(405) if request.path[-1] == "renew" else Response(body={"slot_id": "7"})

    wrong, slot = False, {"slot_id": "7", "slot_path": str(tmp_path), "anything": "else"}
    with serve(foreign) as server:
        client = RepoPoolClient(server.url)
        loan = allocate(client)
        assert loan == SlotAllocation("7", tmp_path, None, "pool")
        client.renew(loan, run_id="run-1")
        assert client.holds(loan, run_id="run-1")
        client.release(loan, run_id="run-1", key="r")
        wrong = True
        with pytest.raises(
            EnvironmentFault, match="repo pool: allocate a slot: field 'slot_id' of the answer must be text"
        ):
            allocate(client)
        client.close()
    assert "x-necrocode-epoch" not in server.requests[0].headers


@pytest.mark.parametrize(
    ("slot", "problem"),
    [
        ({"slot_id": "s"}, "field 'slot_path' of the answer must be text, not missing"),
        ({"slot_id": "s", "slot_path": "relative"}, "must be an absolute path, not 'relative'"),
        ({"slot_id": "s", "slot_path": "/a/../etc"}, "must be an absolute path"),
        ({"slot_id": "s", "slot_path": "/no/such/folder/here"}, "no such folder on this machine"),
        ({"slot_id": "s", "slot_path": "/", "generation": "1"}, "field 'generation' of the answer"),
    ],
)
def test_a_slot_that_cannot_be_used_is_given_back(slot: dict[str, object], problem: str) -> None:
    with serve(lambda request: Response(body=slot if request.path[-1] == "allocate" else {})) as server:
        client = RepoPoolClient(server.url)
        with pytest.raises(EnvironmentFault, match=f"repo pool: allocate a slot: .*{problem}"):
            allocate(client)
        client.close()
    assert [request.path for request in server.requests] == [("slots", "allocate"), ("slots", "s", "release")]
