"""Runs whose process is dead: picked up when asked, held to their limits, their reports delivered exactly once."""

from __future__ import annotations

import os
import signal
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from necrocode.demo.stage import git
from necrocode.embedded.database import open_services
from necrocode.pool import loans
from necrocode.scripted.server import ScriptedServer
from tests.crash.nursery import nursery
from tests.crash.trial import CrashStage
from tests.e2e.conftest import Play
from tests.e2e.stage import EDIT, FINISH, GATE, KEY, PATIENCE, SOLVE, Finished, Stage, script
from tests.necrocode.loopback import Request, Response, serve


def loans_of(stage: Stage, run_id: str) -> list[str | None]:
    """How each of the run's loans ended."""
    with closing(open_services(stage.home)) as services, services.read() as connection:
        every = [loan for slot in loans.all_slots(connection) for loan in loans.loans_of(connection, slot.slot_id)]
    return [loan.ended_by for loan in sorted(every, key=lambda loan: loan.lent_at) if loan.run_id == run_id]


def test_run_recover_takes_up_what_died_and_what_parked_and_then_its_own_task(stage: Stage, play: Play) -> None:
    play(*SOLVE)
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


def test_a_deadline_that_passes_while_a_run_is_dead_ends_it_when_it_is_taken_up(stage: Stage, play: Play) -> None:
    model = play(*SOLVE)
    ends_at = datetime.now(UTC) + timedelta(seconds=20)
    process = stage.start("run", stage.task(deadline_at=ends_at.isoformat()))
    stage.wait_until(lambda: any(run.epoch for run in stage.runs()), process)
    process.kill()
    process.communicate()
    stage.wait_until(lambda: datetime.now(UTC) > ends_at)
    asked = len(model.requests)
    ended(stage, stage.necrocode("resume", "--all"), "deadline")
    assert len(model.requests) == asked, "nothing more was bought"


def test_a_budget_that_is_spent_ends_a_dead_run_when_it_is_taken_up(stage: Stage, play: Play) -> None:
    model = play(EDIT, {**FINISH, "delay_seconds": 120})
    process = stage.start("run", stage.task())
    stage.wait_until(lambda: len(model.requests) == 2, process)
    process.kill()
    process.communicate()
    ended(stage, stage.necrocode("resume", "--all", NECROCODE_MAX_TOTAL_TOKENS="1000"), "budget")
    assert len(model.requests) == 2, "nothing more was bought"


def ended(stage: Stage, resumed: Finished, stop_reason: str) -> None:
    """It failed for its limit, was reported, and has nothing left."""
    assert resumed.code == 6, resumed.err
    run = stage.only_run
    assert (run.state, run.stop_reason, run.epoch) == ("failed", stop_reason, 2)
    assert stage.events()[-1:] == [("1", "TaskFailed")]
    assert stage.lent_slots() == {}
    assert stage.necrocode("doctor").code == 0


def test_a_deliverer_that_is_killed_in_the_middle_delivers_nothing_twice_and_loses_nothing(
    stage: Stage, play: Play
) -> None:
    play(*SOLVE)
    env = {"NECROCODE_NETWORK_RETRY_COUNT": "0"}
    with serve(lambda _: Response(200, {}, {"Connection": "close"})) as registry:
        # it is there as the run begins, and then no more
        task = stage.task(test_commands=[GATE])
        process = stage.start_gated("run", task, TASK_REGISTRY_URL=registry.url, **env)
    stage.open_gate()
    assert stage.finish(process).code == 0
    came: list[tuple[str, tuple[str, ...], Any]] = []
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
        assert looked.out.count("TO DO outbox") == 3
        mended = stage.necrocode("doctor", "--fix", **env)
        assert mended.code == 0, mended.out
        assert "3 delivered" in mended.out
        assert stage.necrocode("doctor", "--fix", **env).code == 0
    assert len(came) == 6
    assert came[2] == came[3], "the one in doubt came again, the same under the same key"
    in_order = list(dict.fromkeys(key for key, _, _ in came))
    assert len(in_order) == 5
    said = [body.get("status") or body.get("event_type") or body["type"] for _, _, body in came[:2] + came[3:]]
    assert said == ["diff", "test", "log", "done", "TaskCompleted"]


SET_UP = {
    "setup_commands": ["mkdir -p made && echo x > made/by-set-up.log"],
    "test_commands": ["test -f made/by-set-up.log && sh check.sh"],
}


@pytest.mark.parametrize("own_folder", [False, True], ids=["a slot of the pool", "the user's own folder"])
def test_a_slot_that_was_being_given_back_at_a_death_is_not_worked_in_again(tmp_path: Path, own_folder: bool) -> None:
    """Cleaning it may have taken away what set-up made, or have put a user's own files back already."""
    stage = CrashStage(tmp_path, begin=nursery().start)
    stage.make_remote()
    task, checkout = dict[str, Any](SET_UP), tmp_path / "checkout"
    if own_folder:
        git(tmp_path, "clone", "--quiet", str(stage.remote), str(checkout))
        (checkout / "mine.log").write_text("the user's")
        task |= {"repo_url": None, "slot_path": str(checkout)}
    with ScriptedServer(script(*SOLVE, key="another-key-than-the-stage-has")) as server:
        stage.use(server)
        died = stage.start_until("intent implementing slot.release", "run", stage.task(**task))
        assert died.wait(PATIENCE) == -signal.SIGKILL, stage.output.read_text()
    slot = Path(stage.only_run.data["slot"]["path"])
    # what a cleaning that is cut off leaves
    (slot / "made" / "by-set-up.log").unlink()
    with ScriptedServer(script(*SOLVE, key=KEY)) as server:
        stage.use(server)
        done = stage.necrocode("resume", "--all")
    assert done.code == 0, done.err
    assert stage.only_run.data["tenure"] == 2
    assert not stage.lent_slots()
    assert stage.necrocode("doctor").code == 0
    if own_folder:
        assert git(checkout, "status", "--porcelain") == ""
        assert (checkout / "mine.log").read_text() == "the user's"
