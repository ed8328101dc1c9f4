"""What was decided once: DESIGN.md's table, where no other module here has the row."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Play
from tests.e2e.stage import BRANCH, EDIT, FINISH, GATE, SOLVE, Stage, calls, conversation_of
from tests.necrocode.loopback import Loopback, Request, Response, serve


def test_run_of_a_task_with_a_parked_run_goes_on_with_it(stage: Stage, play: Play) -> None:
    # where the file is there already, the model ends without a change
    play(calls(("write_file", {"path": "new.txt", "content": "new\n"})), FINISH, FINISH)
    task = stage.task(test_commands=["test -e new.txt"])
    assert stage.necrocode("run", task, LLM_API_KEY="a-wrong-key-this-is").code == 3
    refused = stage.necrocode("run", "--new", task)
    assert refused.code == 2, refused.err
    assert stage.only_run.run_id in refused.err
    done = stage.necrocode("run", task)
    assert done.code == 0, done.err
    assert f"resuming {stage.only_run.run_id}" in done.err
    # once it has ended, both begin another one
    assert stage.necrocode("run", "--new", task).code == 1
    assert stage.necrocode("run", task).code == 1
    assert [run.stop_reason for run in stage.runs()] == [None, "no_change", "no_change"]


def test_new_begins_all_of_the_tasks_or_none(stage: Stage, play: Play) -> None:
    play(*SOLVE)
    parked = stage.task()
    assert stage.necrocode("run", parked, LLM_API_KEY="a-wrong-key-this-is").code == 3
    refused = stage.necrocode("run", "--new", stage.task("other.json", task_id="2"), parked)
    assert refused.code == 2, refused.err
    assert len(stage.runs()) == 1


def test_a_task_that_is_named_twice_is_driven_once(stage: Stage, play: Play) -> None:
    model = play(*SOLVE)
    task = stage.task()
    done = stage.necrocode("run", "--jobs", "2", task, task)
    assert done.code == 0, done.err
    assert model.answered == [0, 1]


def test_run_of_a_task_whose_process_died_goes_on_with_it(stage: Stage, play: Play) -> None:
    model = play(*SOLVE)
    task = stage.task(test_commands=[GATE])
    process = stage.start_gated("run", task)
    os.kill(process.pid, signal.SIGKILL)
    stage.finish(process)
    stage.open_gate()
    done = stage.necrocode("run", task)
    assert done.code == 0, done.err
    assert stage.only_run.state == "completed"
    assert model.answered == [0, 1]
    assert stage.branch_updates(BRANCH) == 1


@pytest.mark.parametrize("taken", ["resume --all", "run --recover"])
def test_run_says_that_there_are_orphans_and_touches_none(stage: Stage, play: Play, taken: str) -> None:
    play(*SOLVE)
    process = stage.start_gated("run", stage.task(test_commands=[GATE]))
    os.kill(process.pid, signal.SIGKILL)
    stage.finish(process)
    orphan = stage.only_run
    done = stage.necrocode("run", stage.task("second.json", task_id="2"))
    assert done.code == 0, done.err
    assert "unfinished: 1 other run;" in done.err and "necrocode resume --all" in done.err
    assert stage.runs()[0].head_hash == orphan.head_hash
    stage.open_gate(orphan.run_id)
    third = [] if taken == "resume --all" else [stage.task("third.json", task_id="3")]
    done = stage.necrocode(*taken.split(), *third)
    assert done.code == 0, done.err
    assert [run.state for run in stage.runs()] == ["completed"] * (2 + len(third))


def test_poison_parks_the_run_until_it_is_forced(stage: Stage, play: Play) -> None:
    model = play({**EDIT, "delay_seconds": 60}, FINISH)
    task = stage.task()
    for death in range(3):
        process = stage.start("run", task)
        stage.wait_until(lambda seen=death: len(model.requests) > seen, process)  # type: ignore[misc]
        os.kill(process.pid, signal.SIGKILL)
        stage.finish(process)
    play(*SOLVE)
    parked = stage.necrocode("run", task)
    assert parked.code == 3, parked.err
    run = stage.only_run
    assert (run.status, run.stop_reason) == ("parked", "poison")
    assert f"necrocode resume {run.run_id} --force" in parked.err
    assert stage.lent_slots() == {}
    for command in (["run", task], ["resume", run.run_id]):
        refused = stage.necrocode(*command)
        assert refused.code == 3, refused.err
        assert "--force" in refused.err
    everything = stage.necrocode("resume", "--all")
    assert "poison" in everything.err
    assert stage.only_run.status == "parked"
    forced = stage.necrocode("resume", run.run_id, "--force")
    assert forced.code == 0, forced.err
    assert stage.branch_updates(BRANCH) == 1


def test_several_tasks_with_mixed_results_end_with_the_worst_exit_code(stage: Stage, play: Play) -> None:
    key = {"status": 401, "body": {"error": {"message": "no"}}}
    play(
        conversations=[
            conversation_of("good", *SOLVE),
            conversation_of("lazy", FINISH, FINISH),
            conversation_of("stuck", *[calls(("no_such_tool", {}))] * 3),
            conversation_of("parked", {**EDIT, "faults": [key]}, FINISH),
        ]
    )

    def task(name: str) -> Path:
        return stage.task(f"{name}.json", task_id=name, title=f"Task {name}.")

    done = stage.necrocode("run", "--jobs", "3", "--json", *map(task, ("good", "lazy", "stuck")))
    assert done.code == 1, done.err
    results = done.json["results"]
    assert [result["run"]["task_id"] for result in results] == ["good", "lazy", "stuck"]
    assert [result["run"]["stop_reason"] for result in results] == [None, "no_change", "stuck"]
    assert "feature/task-greeting-good" in stage.branches()
    # in order with one job, and a broken environment is the worst
    done = stage.necrocode("run", *map(task, ("stuck", "parked", "lazy")))
    assert done.code == 3, done.err
    # what is over gets a new run, what is parked goes on
    done = stage.necrocode("run", "--jobs", "3", *map(task, ("stuck", "parked")))
    assert done.code == 7, done.err
    assert "feature/task-greeting-parked" in stage.branches()


def test_a_list_of_tasks_in_yaml_is_run_and_so_is_one_on_stdin(stage: Stage, play: Play) -> None:
    play(*SOLVE)
    path = stage.root / "tasks.yaml"
    fields = f"spec_name: s, title: t, description: d, repo_url: {stage.remote}, test_commands: [sh check.sh]"
    path.write_text(f"- {{task_id: a, {fields}}}\n- {{task_id: b, {fields}}}\n", encoding="utf-8")
    done = stage.necrocode("run", "--jobs", "2", path)
    assert done.code == 0, done.err
    assert {"feature/task-s-a", "feature/task-s-b"} <= set(stage.branches())


def test_an_event_in_doubt_when_the_registry_goes_down_keeps_its_id(stage: Stage, play: Play) -> None:
    play(*SOLVE)
    down = False

    def answer(request: Request) -> Response:
        nonlocal down
        if request.path[-1] == "events" and request.json()["event_type"] == "TaskCompleted" and not down:
            # it was received; the answer is lost, and then the service is gone
            down = True
            return Response(200, {"ok": True}, cut=100)
        return Response(503, {}) if down else Response(200, {})

    with serve(answer) as registry:
        env = {"TASK_REGISTRY_URL": registry.url, "NECROCODE_NETWORK_RETRY_COUNT": "1"}
        done = stage.necrocode("run", stage.task(), **env)
        assert done.code == 0, done.err
        assert "1 report to be delivered" in done.err
        looked = stage.necrocode("doctor", **env)
        assert looked.code == 3
        assert "event for the registry" in looked.out
        assert stage.necrocode("doctor", "--fix", **env).code == 3
        down = False
        seen = len(registry.requests)

        def up(_: Request) -> Response:
            return Response(200, {})

        with serve(up) as later:
            mended = stage.necrocode("doctor", "--fix", **{**env, "TASK_REGISTRY_URL": later.url})
            assert mended.code == 0, mended.out
            assert "1 delivered" in mended.out
            again = _completions(later)
        keys = {request.headers["idempotency-key"] for request in _completions(registry) + again}
        assert len(keys) == 1
        assert len(_completions(registry)) >= 2
        assert len(again) == 1
        assert len(registry.requests) == seen
    # the embedded registry never heard of it
    assert stage.events() == []


def _completions(server: Loopback) -> list[Request]:
    def kind(request: Request) -> Any:
        return request.json().get("event_type")

    return [request for request in server.requests if request.path[-1] == "events" and kind(request) == "TaskCompleted"]
