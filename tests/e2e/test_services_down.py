"""Services that are down or slow: before the push a run waits or parks, after it nothing can fail it."""

from __future__ import annotations

import socket
import threading

from tests.e2e.conftest import Play
from tests.e2e.stage import BRANCH, PATIENCE, SOLVE, Stage
from tests.necrocode.loopback import Request, Response, serve


def closed_port() -> str:
    """The address of a service that is not there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def test_an_artifact_store_that_is_down_is_a_warning(stage: Stage, play: Play) -> None:
    play(*SOLVE)
    done = stage.necrocode("run", stage.task(), ARTIFACT_STORE_URL=closed_port(), NECROCODE_NETWORK_RETRY_COUNT="0")
    assert done.code == 0, done.err
    assert done.err.count("warning: artifact_not_kept") == 3
    assert stage.only_run.data["artifacts"] == []
    assert stage.events()[-1] == ("1", "TaskCompleted")


def test_a_registry_that_is_down_from_the_start_does_not_hold_the_run_up(stage: Stage, play: Play) -> None:
    play(*SOLVE)
    env = {"TASK_REGISTRY_URL": closed_port(), "NECROCODE_NETWORK_RETRY_COUNT": "0"}
    done = stage.necrocode("run", stage.task(), **env)
    assert done.code == 0, done.err
    assert BRANCH in stage.branches()
    # status and event at the start, three artifacts, status and event at the end
    assert "7 reports to be delivered" in done.err
    heard: list[str] = []

    def answer(request: Request) -> Response:
        body = request.json()
        heard.append(body.get("status") or body.get("event_type") or body["type"])
        return Response(200, {})

    with serve(answer) as registry:
        mended = stage.necrocode("doctor", "--fix", **{**env, "TASK_REGISTRY_URL": registry.url})
    assert mended.code == 0, mended.out
    assert heard == ["running", "RunnerStarted", "diff", "test", "log", "done", "TaskCompleted"]


def test_a_pool_that_is_down_parks_the_run(stage: Stage, play: Play) -> None:
    model = play(*SOLVE)
    done = stage.necrocode("run", stage.task(), REPO_POOL_URL=closed_port(), NECROCODE_NETWORK_RETRY_COUNT="0")
    assert done.code == 3, done.err
    assert (stage.only_run.state, stage.only_run.status) == ("allocating", "parked")
    assert model.requests == []
    assert stage.necrocode("run", stage.task(), REPO_POOL_URL="").code in (0, 3)
    assert stage.necrocode("cancel", stage.only_run.run_id).code == 0


def test_a_cancel_after_the_push_comes_too_late(stage: Stage, play: Play) -> None:
    play(*SOLVE)
    go_on = threading.Event()

    def answer(request: Request) -> Response:
        if request.path[-1] == "events" and request.json()["event_type"] == "TaskCompleted":
            go_on.wait(PATIENCE)
        return Response(200, {})

    with serve(answer) as registry:
        process = stage.start("run", stage.task(), TASK_REGISTRY_URL=registry.url)
        stage.wait_until(lambda: [run.state for run in stage.runs()] == ["reporting"], process)
        cancel = stage.start("cancel", stage.only_run.run_id)
        with stage.journal() as journal:
            stage.wait_until(lambda: journal.cancel_requested(stage.only_run.run_id), cancel)
        go_on.set()
        driver, cancelled = stage.finish(process), stage.finish(cancel)
        sent = [request.json()["event_type"] for request in registry.requests if request.path[-1] == "events"]
    assert driver.code == 0, driver.err
    assert cancelled.code == 0
    assert "too late" in cancelled.err
    assert (stage.only_run.state, stage.only_run.stop_reason) == ("completed", None)
    assert sent == ["RunnerStarted", "TaskCompleted"]
    assert stage.branch_updates(BRANCH) == 1
