"""Runs whose process is dead: picked up when asked, held to their limits, their reports delivered exactly once."""

from __future__ import annotations

import os
import signal
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from necrocode.embedded.database import open_services
from necrocode.pool import loans
from tests.e2e.conftest import Play
from tests.e2e.stage import EDIT, FINISH, GATE, SOLVE, Stage
from tests.e2e.test_services_down import closed_port
from tests.necrocode.loopback import Request, Response, serve


def loans_of(stage: Stage, run_id: str) -> list[str | None]:
    """How each of the run's loans ended."""
    with closing(open_services(stage.home)) as services, services.read() as connection:
        every = [loan for slot in loans.all_slots(connection) for loan in loans.loans_of(connection, slot.slot_id)]
    return [loan.ended_by for loan in sorted(every, key=lambda loan: loan.lent_at) if loan.run_id == run_id]


def test_run_recover_takes_up_what_died_and_what_parked_and_then_its_own_task(stage: Stage, play: Play) -> None:
    play(*SOLVE)
    # the key is wrong when the second answer is to be paid for
    parked = stage.task("parked.json", task_id="parked")
    assert stage.necrocode("run", parked, LLM_API_KEY="a-wrong-key-this-is").code == 3
    process = stage.start_gated("run", stage.task("died.json", task_id="died", test_commands=[GATE]))
    os.kill(process.pid, signal.SIGKILL)
    stage.finish(process)
    of_parked, of_died = stage.runs()
    assert loans_of(stage, of_parked.run_id) == ["released"], "a parked run holds nothing"
    stage.open_gate(of_died.run_id)

    done = stage.necrocode("run", "--recover", stage.task("new.json", task_id="new"))
    assert done.code == 0, done.err
    assert [run.state for run in stage.runs()] == ["completed"] * 3
    for task_id in ("parked", "died", "new"):
        assert stage.branch_updates(f"feature/task-greeting-{task_id}") == 1
        assert stage.events().count((task_id, "TaskCompleted")) == 1
    assert loans_of(stage, of_parked.run_id) == ["released", "released"], "it went on in a fresh loan"
    assert loans_of(stage, of_died.run_id) == ["released"], "it went on in its own"
    assert stage.necrocode("doctor").code == 0


@pytest.mark.parametrize("limit", ["deadline", "tokens"])
def test_a_limit_that_is_over_ends_a_dead_run_when_it_is_taken_up(stage: Stage, play: Play, limit: str) -> None:
    model = play(EDIT, {**FINISH, "delay_seconds": 120})
    ends_at = datetime.now(UTC) + timedelta(seconds=30)
    process = stage.start("run", stage.task(deadline_at=ends_at.isoformat() if limit == "deadline" else None))
    stage.wait_until(lambda: len(model.requests) == 2 or datetime.now(UTC) > ends_at)
    process.kill()
    process.communicate()
    assert stage.only_run.status == "live"
    env: dict[str, str] = {}
    if limit == "deadline":
        stage.wait_until(lambda: datetime.now(UTC) > ends_at)
    else:
        env["NECROCODE_MAX_TOTAL_TOKENS"] = "1000"
    asked = len(model.requests)

    resumed = stage.necrocode("resume", "--all", **env)
    assert resumed.code == 6, resumed.err
    run = stage.only_run
    assert (run.state, run.stop_reason) == ("failed", "deadline" if limit == "deadline" else "budget")
    assert len(model.requests) == asked, "nothing more was bought"
    assert stage.events() == [("1", "RunnerStarted"), ("1", "TaskFailed")]
    assert stage.lent_slots() == {}
    assert stage.necrocode("doctor").code == 0


def test_time_dead_does_not_count_against_a_timeout(stage: Stage, play: Play) -> None:
    play(*SOLVE)
    process = stage.start_gated("run", stage.task(timeout_seconds=25, test_commands=[GATE]))
    os.kill(process.pid, signal.SIGKILL)
    stage.finish(process)
    begun = stage.only_run.created_at
    stage.open_gate()
    stage.wait_until(lambda: datetime.now(UTC) > begun + timedelta(seconds=25))
    assert stage.necrocode("resume", "--all").code == 0


def test_a_deliverer_that_is_killed_in_the_middle_delivers_nothing_twice_and_loses_nothing(
    stage: Stage, play: Play
) -> None:
    play(*SOLVE)
    env = {"TASK_REGISTRY_URL": closed_port(), "NECROCODE_NETWORK_RETRY_COUNT": "0"}
    assert stage.necrocode("run", stage.task(), **env).code == 0
    came: list[tuple[str, str, Any]] = []
    deliverers: list[int] = []

    def answer(request: Request) -> Response:
        came.append((request.headers["idempotency-key"], request.path, request.json()))
        if len(came) == 3:
            # it has arrived, and the deliverer dies before it hears so
            os.kill(deliverers[0], signal.SIGKILL)
        return Response(200, {})

    with serve(answer) as registry:
        env["TASK_REGISTRY_URL"] = registry.url
        first = stage.start("doctor", "--fix", **env)
        deliverers.append(first.pid)
        assert stage.finish(first).code == -signal.SIGKILL
        looked = stage.necrocode("doctor", **env)
        assert looked.code == 3
        assert looked.out.count("TO DO outbox") == 5
        mended = stage.necrocode("doctor", "--fix", **env)
        assert mended.code == 0, mended.out
        assert "5 delivered" in mended.out
        assert stage.necrocode("doctor", "--fix", **env).code == 0
    assert len(came) == 8
    assert came[2] == came[3], "the one in doubt came again, the same under the same key"
    in_order = list(dict.fromkeys(key for key, _, _ in came))
    assert len(in_order) == 7
    said = [body.get("status") or body.get("event_type") or body["type"] for _, _, body in came[:2] + came[3:]]
    assert said == ["running", "RunnerStarted", "diff", "test", "log", "done", "TaskCompleted"]
