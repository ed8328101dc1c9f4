"""The pool's leases and waits, over HTTP as a plain client sees them."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sized
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from necrocode.serve.application import Services
from tests.necrocode.serve.serving import eventually, listening, stores

ASK = {"repo_url": "https://git.example/x.git", "required_by": "run-1"}


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    with stores(tmp_path / "home", slots=1) as made:
        yield made


@pytest.fixture
def pool(services: Services) -> Iterator[httpx.Client]:
    with listening(services) as url, httpx.Client(base_url=url, timeout=90) as client:
        yield client


def ask(pool: httpx.Client, run: str = "run-1", *, seconds: float = 0, **headers: str) -> httpx.Response:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return pool.post("/slots/allocate", json={**ASK, "required_by": run, "timeout_seconds": seconds}, headers=names)


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def test_a_slot_is_told_with_its_generation_holder_and_lease(pool: httpx.Client) -> None:
    lent = ask(pool).json()
    assert Path(lent["slot_path"]).is_dir()
    assert (lent["generation"], lent["holder"], lent["status"]) == (1, {"run_id": "run-1"}, "lent")
    assert lent["lease_seconds"] == 600
    seen = pool.get(f"/slots/{lent['slot_id']}").json()
    assert seen == lent
    assert pool.get("/slots").json()["slots"] == [seen]


def test_a_plain_client_needs_neither_key_nor_generation(pool: httpx.Client) -> None:
    slot = ask(pool).json()["slot_id"]
    assert pool.post(f"/slots/{slot}/renew").status_code == 200
    assert pool.post(f"/slots/{slot}/release").status_code == 204
    assert pool.get(f"/slots/{slot}").json()["holder"] is None
    assert pool.post(f"/slots/{slot}/release").status_code == 204
    assert code(pool.post(f"/slots/{slot}/renew")) == (409, "slot_lost")
    assert code(pool.post("/slots/nobody/release")) == (404, "not_found")


def test_a_release_that_comes_again_does_not_end_the_next_loan(pool: httpx.Client) -> None:
    slot = ask(pool).json()["slot_id"]
    release = {"Idempotency-Key": "r"}
    assert pool.post(f"/slots/{slot}/release", headers=release).status_code == 204
    ask(pool, "run-2")
    assert pool.post(f"/slots/{slot}/release", headers=release).status_code == 204
    assert pool.get(f"/slots/{slot}").json()["holder"] == {"run_id": "run-2"}


def test_a_key_counts_once_whatever_time_is_left_and_never_for_another_run(pool: httpx.Client) -> None:
    first = ask(pool, Idempotency_Key="k", seconds=3).json()
    again = ask(pool, Idempotency_Key="k", seconds=1).json()
    assert (again["slot_id"], again["generation"]) == (first["slot_id"], first["generation"])
    assert code(ask(pool, "run-2", Idempotency_Key="k")) == (409, "key_reused")


def test_while_one_waits_others_are_answered_and_the_first_slot_back_is_its(pool: httpx.Client) -> None:
    slot = ask(pool).json()["slot_id"]
    answers: list[httpx.Response] = []
    # more than the server has threads: a waiting request holds none
    waiting = [
        threading.Thread(target=lambda run=f"w{number}": answers.append(ask(pool, run, seconds=60)))
        for number in range(50)
    ]
    limits = httpx.Limits(max_connections=None)
    with httpx.Client(base_url=pool.base_url, timeout=90, limits=limits) as pool:
        for thread in waiting:
            thread.start()
        assert pool.get("/health").status_code == 200
        for _ in waiting:
            before = len(answers)
            assert pool.post(f"/slots/{slot}/release").status_code == 204
            eventually(partial(_more, answers, before))
        for thread in waiting:
            thread.join()
    assert [answer.status_code for answer in answers] == [200] * 50
    assert sorted(answer.json()["generation"] for answer in answers) == list(range(2, 52))


def _more(found: Sized, before: int) -> bool:
    return len(found) > before


def test_none_is_free_is_said_when_the_wait_is_over(pool: httpx.Client) -> None:
    ask(pool)
    assert code(ask(pool, "run-2", seconds=0.3)) == (409, "no_slot")


def test_an_old_epoch_of_a_run_is_refused(pool: httpx.Client) -> None:
    slot = ask(pool, X_Necrocode_Epoch="3").json()["slot_id"]
    for call in ("renew", "release"):
        answer = pool.post(f"/slots/{slot}/{call}", headers={"X-Necrocode-Epoch": "2"})
        assert code(answer) == (409, "superseded")
    assert code(ask(pool, X_Necrocode_Epoch="2")) == (409, "superseded")
    assert pool.get(f"/slots/{slot}").json()["holder"] == {"run_id": "run-1"}


def test_a_slot_that_is_not_renewed_is_taken_back_and_one_that_is_stays(tmp_path: Path) -> None:
    with (
        stores(tmp_path / "home", lease=timedelta(seconds=1.5), slots=2) as services,
        listening(services) as url,
        httpx.Client(base_url=url, timeout=90) as pool,
    ):
        gone, kept = ask(pool, "gone").json(), ask(pool, "kept").json()

        def renewed_until_the_other_is_taken() -> bool:
            assert pool.post(f"/slots/{kept['slot_id']}/renew", json={"generation": 1}).status_code == 200
            return bool(pool.get(f"/slots/{gone['slot_id']}").json()["holder"] is None)

        eventually(renewed_until_the_other_is_taken)
        late = pool.post(f"/slots/{gone['slot_id']}/renew", json={"run_id": "gone", "generation": 1})
        assert code(late) == (409, "slot_lost")
        # one that waits gets it by itself, too
        assert ask(pool, "next", seconds=30).json()["slot_id"] == gone["slot_id"]
        history = services.pool.history(gone["slot_id"])
        assert [(loan.run_id, loan.ended_by) for loan in history] == [("gone", "reclaimed"), ("next", None)]


@pytest.mark.parametrize("url", ["-x", "https://", "  ", "~nobody-of-this-name/x"])
def test_what_is_no_repository_is_refused(pool: httpx.Client, url: str) -> None:
    body: dict[str, Any] = {**ASK, "repo_url": url}
    assert pool.post("/slots/allocate", json=body).status_code in (404, 422)
    assert pool.get("/slots").json()["slots"] == []
