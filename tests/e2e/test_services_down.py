"""Services that are down or slow: before the push a run waits or parks, after it nothing can fail it."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

from necrocode.demo.stage import git
from necrocode.registry.files import FileRegistry
from tests.crash.scene import rows_of
from tests.e2e.conftest import Play
from tests.e2e.stage import BRANCH, GATE, PATIENCE, SOLVE, Stage
from tests.necrocode.loopback import Request, Response, closed_port, serve


def test_what_an_artifact_store_that_is_down_does_not_take_is_kept_here_and_uploaded_later(
    stage: Stage, play: Play
) -> None:
    play(*SOLVE)
    store = closed_port()
    done = stage.necrocode("run", stage.task(), ARTIFACT_STORE_URL=store, NECROCODE_NETWORK_RETRY_COUNT="0")
    assert done.code == 0, done.err
    assert done.err.count("warning: artifact_not_kept") == 3
    kept = stage.only_run.data["artifacts"]
    assert [artifact["uri"].partition(":")[0] for artifact in kept] == ["file"] * 3
    assert stage.events()[-1] == ("1", "TaskCompleted")
    assert stage.necrocode("doctor").code == 3, "three uploads wait"

    def take(request: Request) -> Response:
        return Response(200, {"uri": f"https://example.invalid/{len(request.content)}"})

    with serve(take, port=int(store.rpartition(":")[2])) as back:
        # it needs no telling where the run's store is: that was recorded
        mended = stage.necrocode("doctor", "--fix")
        assert mended.code == 0, mended.out
        uploaded = len(back.requests)
    assert uploaded == 3
    assert stage.necrocode("doctor").code == 0
    uris = [row["uri"] for row in rows_of(stage.home / "services.db", "SELECT uri FROM task_artifacts")]
    assert len([uri for uri in uris if uri.startswith("https://example.invalid/")]) == 3


def test_the_tasks_own_folder_takes_the_place_of_a_pool_that_is_down(stage: Stage, play: Play, tmp_path: Path) -> None:
    play(*SOLVE)
    folder = tmp_path / "mine"
    git(tmp_path, "clone", "--quiet", str(stage.remote), str(folder))
    done = stage.necrocode("run", stage.task(slot_path=str(folder)), REPO_POOL_URL=closed_port())
    assert done.code == 0, done.err
    assert done.err.count("warning: pool_fallback") == 1
    assert BRANCH in stage.branches()
    assert stage.only_run.data["last_slot"]["kind"] == "folder"
    assert git(folder, "status", "--porcelain") == ""


ONE_TRY = {"NECROCODE_NETWORK_RETRY_COUNT": "0"}
WHOLE = [("1", "RunnerStarted"), ("1", "TaskCompleted")]


def told(request: Request) -> str:
    body = request.json()
    return str(body.get("status") or body.get("event_type") or body["type"])


def in_files(folder: Path) -> list[tuple[str, str]]:
    return [("1", event.event_type) for event in FileRegistry(folder).list_events("1", "greeting")]


def test_a_registry_that_is_down_from_the_start_gives_way_to_the_embedded_one(stage: Stage, play: Play) -> None:
    play(*SOLVE)
    done = stage.necrocode("run", stage.task(), TASK_REGISTRY_URL=closed_port(), NECROCODE_NETWORK_RETRY_COUNT="1")
    assert done.code == 0, done.err
    assert BRANCH in stage.branches()
    assert done.err.count("warning: registry_fallback") == 1
    assert "to be delivered" not in done.err
    assert stage.events() == WHOLE
    assert stage.only_run.data["registry_sink"] == "registry_embedded"


def test_a_run_that_began_in_files_reports_there_to_its_end_whoever_is_back(
    stage: Stage, play: Play, tmp_path: Path
) -> None:
    play(*SOLVE)
    folder = tmp_path / "registry"
    env = {"TASK_REGISTRY_URL": closed_port(), "NECROCODE_TASK_REGISTRY_DIR": str(folder), **ONE_TRY}
    task = stage.task(test_commands=[GATE])
    process = stage.start_gated("run", task, **env)
    process.kill()
    process.communicate()
    assert FileRegistry(folder).get_task("1").status == "running"
    stage.open_gate()
    with serve(lambda _: Response(200, {})) as registry:
        done = stage.necrocode("run", task, **{**env, "TASK_REGISTRY_URL": registry.url})
        assert registry.requests == []
    assert done.code == 0, done.err
    assert FileRegistry(folder).get_task("1").status == "done"
    assert in_files(folder) == WHOLE
    assert stage.events() == []


def test_without_a_url_the_files_are_the_registry(stage: Stage, play: Play, tmp_path: Path) -> None:
    play(*SOLVE)
    folder = tmp_path / "registry"
    done = stage.necrocode("run", stage.task(), NECROCODE_TASK_REGISTRY_DIR=str(folder))
    assert done.code == 0, done.err
    assert in_files(folder) == WHOLE
    assert [artifact.type for artifact in FileRegistry(folder).list_artifacts("1", "greeting")] == [
        "diff",
        "test",
        "log",
    ]
    assert stage.events() == []


def test_a_damaged_task_set_holds_no_run_up_and_is_not_written_over(stage: Stage, play: Play, tmp_path: Path) -> None:
    play(*SOLVE)
    folder = tmp_path / "registry"
    path = folder / "tasksets" / "greeting" / "taskset.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"tasks": [')
    env = {"NECROCODE_TASK_REGISTRY_DIR": str(folder)}
    done = stage.necrocode("run", stage.task(), **env)
    assert done.code == 0, done.err
    assert "7 reports to be delivered" in done.err
    assert path.read_text() == '{"tasks": ['
    found = stage.necrocode("doctor")
    assert found.code == 3
    assert "taskset.json is not JSON" in found.out
    path.write_text('{"tasks": []}')
    # it needs no telling where the run's registry is: that was recorded
    assert stage.necrocode("doctor", "--fix").code == 0
    assert in_files(folder) == WHOLE
    assert FileRegistry(folder).get_task("1").status == "done"


def hang_up_once(listener: socket.socket) -> None:
    """Take one request and answer nothing; nobody listens there after that."""
    connection, _ = listener.accept()
    with connection:
        connection.recv(65_536)
        listener.close()


def test_a_report_in_doubt_waits_for_the_registry_that_may_have_it(stage: Stage, play: Play) -> None:
    play(*SOLVE)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        once = threading.Thread(target=hang_up_once, args=[listener])
        once.start()
        env = {"TASK_REGISTRY_URL": url, "NECROCODE_NETWORK_RETRY_COUNT": "1"}
        done = stage.necrocode("run", stage.task(), **env)
        once.join()
    assert done.code == 0, done.err
    assert BRANCH in stage.branches()
    # status and event at the start, three artifacts, status and event at the end
    assert "7 reports to be delivered" in done.err
    assert "registry_fallback" not in done.err
    assert stage.events() == []
    with serve(lambda _: Response(200, {})) as registry:
        mended = stage.necrocode("doctor", "--fix", **{**env, "TASK_REGISTRY_URL": registry.url})
        heard = [told(request) for request in registry.requests]
        sent = [request.headers["idempotency-key"] for request in registry.requests]
    assert mended.code == 0, mended.out
    assert heard == ["running", "RunnerStarted", "diff", "test", "log", "done", "TaskCompleted"]
    meant = [
        payload["note"]["report_id"]
        for entry, payload in stage.entries()
        if entry.name.startswith("registry.") and entry.kind == "intent"
    ]
    assert sent == meant


def test_a_report_that_a_death_left_in_doubt_waits_for_the_registry_that_may_have_it(stage: Stage, play: Play) -> None:
    play(*SOLVE)
    task = stage.task()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        env = {"TASK_REGISTRY_URL": f"http://127.0.0.1:{listener.getsockname()[1]}", **ONE_TRY}
        process = stage.start("run", task, **env)
        listener.settimeout(PATIENCE)
        connection, _ = listener.accept()
        with connection:
            assert connection.recv(65_536).startswith(b"PUT /tasks/1/status")
            process.kill()
            process.communicate()
    done = stage.necrocode("run", task, **env)
    assert done.code == 0, done.err
    assert "7 reports to be delivered" in done.err
    assert stage.events() == []


def test_a_registry_that_goes_away_later_is_waited_for(stage: Stage, play: Play) -> None:
    play(*SOLVE)
    with serve(lambda _: Response(200, {}, {"Connection": "close"})) as registry:
        process = stage.start_gated("run", stage.task(test_commands=[GATE]), TASK_REGISTRY_URL=registry.url, **ONE_TRY)
        assert [told(request) for request in registry.requests] == ["running", "RunnerStarted"]
    stage.open_gate()
    done = stage.finish(process)
    assert done.code == 0, done.err
    assert "5 reports to be delivered" in done.err
    assert stage.events() == []
    # without the URL in the environment, too, they are for that registry
    still = stage.necrocode("doctor", "--fix")
    assert still.code == 3
    assert stage.events() == []


def test_a_pool_that_is_down_parks_the_run(stage: Stage, play: Play) -> None:
    model = play(*SOLVE)
    done = stage.necrocode("run", stage.task(), REPO_POOL_URL=closed_port(), NECROCODE_NETWORK_RETRY_COUNT="0")
    assert done.code == 3, done.err
    assert (stage.only_run.state, stage.only_run.status) == ("allocating", "parked")
    assert model.requests == []
    assert stage.necrocode("run", stage.task(), REPO_POOL_URL="").code in (0, 3)
    assert stage.necrocode("cancel", stage.only_run.run_id).code == 0


def test_a_pool_that_is_away_for_a_moment_is_waited_for(stage: Stage, play: Play) -> None:
    play(*SOLVE)
    slot = stage.root / "slot"
    slot.mkdir()
    asked: list[str] = []

    def pool(request: Request) -> Response:
        if request.path[-1] == "allocate":
            asked.append(request.headers["idempotency-key"])
            if len(asked) < 3:
                return Response(503, {"detail": "starting"}, {"Retry-After": "0"})
        return Response(200, {"slot_id": "1", "slot_path": str(slot)})

    with serve(pool) as foreign:
        done = stage.necrocode("run", stage.task(), REPO_POOL_URL=foreign.url)
    assert done.code == 0, done.err
    assert len(asked) == 3
    assert len(set(asked)) == 1, "always the same loan"


def test_a_pool_without_a_free_slot_was_waited_for_long_enough(stage: Stage, play: Play) -> None:
    play(*SOLVE)
    with serve(lambda _: Response(409, {"error": {"code": "no_slot", "message": "every slot is lent"}})) as full:
        done = stage.necrocode("run", stage.task(), REPO_POOL_URL=full.url, NECROCODE_SLOT_TIMEOUT_SECONDS="0.01")
        asked = [request for request in full.requests if request.path[-1] == "allocate"]
    assert done.code == 3, done.err
    assert stage.only_run.stop_reason == "no_slot"
    # once at once, once after that time, and once to call back what it may have lent all the same
    assert len(asked) <= 3


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
