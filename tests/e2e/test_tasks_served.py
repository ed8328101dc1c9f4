"""Task sets in a registry elsewhere: imported there, taken by one runner each, gone on with after a death."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import Play
from tests.e2e.stage import GATE, SOLVE, Stage, calls
from tests.necrocode.serve.serving import command

PLAN = "- [ ] 1. Greetings\n  - [ ] 1.1 Greet by name\n  - [ ]* 1.2 Test it\n- [ ] 2. Say goodbye\n"


@pytest.fixture
def registry(stage: Stage, tmp_path: Path) -> Iterator[httpx.Client]:
    with command(tmp_path / "served", environ={"PATH": os.environ["PATH"]}) as served:
        stage.environment["TASK_REGISTRY_URL"] = served.url
        with httpx.Client(base_url=served.url) as client:
            yield client


def states(registry: httpx.Client) -> dict[str, str]:
    return {task["task_id"]: task["status"] for task in registry.get("/tasks?spec_name=greeting").json()["tasks"]}


def imported(stage: Stage, plan: str = PLAN, *, test: str = "sh check.sh") -> None:
    path = stage.root / "greeting" / "tasks.md"
    path.parent.mkdir(exist_ok=True)
    path.write_text(plan)
    done = stage.necrocode("tasks", "import", path, "--repo", str(stage.remote), "--test", test)
    assert done.code == 0, done.err


def test_a_task_list_is_worked_off(stage: Stage, play: Play, registry: httpx.Client) -> None:
    play(*SOLVE, calls(("write_file", {"path": "bye.py", "content": "bye = 1\n"})), SOLVE[-1])
    imported(stage)
    assert states(registry) == {"1": "blocked", "1.1": "ready", "1.2": "blocked", "2": "blocked"}
    first = stage.necrocode("run", "--next")
    assert first.code == 0, first.err
    assert "next task: greeting/1.1: Greet by name" in first.err
    assert states(registry) == {"1": "done", "1.1": "done", "1.2": "ready", "2": "ready"}
    second = stage.necrocode("run", "--next", "--spec", "greeting")
    assert second.code == 0, second.err
    none = stage.necrocode("run", "--next")
    assert (none.code, "no task is ready" in none.err) == (2, True)
    assert states(registry) == {"1": "done", "1.1": "done", "1.2": "ready", "2": "done"}
    assert set(stage.branches()) == {"main", "feature/task-greeting-1.1", "feature/task-greeting-2"}
    events = [event["event_type"] for event in registry.get("/tasks/1.1/events").json()["events"]]
    assert events == ["RunnerStarted", "TaskCompleted"]


def test_imported_again_tasks_keep_their_states_and_new_ones_join(stage: Stage, registry: httpx.Client) -> None:
    imported(stage)
    assert stage.necrocode("tasks", "move", "greeting", "1.1", "done").code == 0
    again = PLAN.replace("[ ] 2.", "[x] 2.").replace("Greet by name", "Greet politely") + "- [ ] 3. Rest\n"
    imported(stage, again)
    assert states(registry) == {"1": "done", "1.1": "done", "1.2": "ready", "2": "done", "3": "ready"}
    listed = stage.necrocode("tasks", "list", "--json").json["tasks"]
    assert [(task["id"], task["title"]) for task in listed][1] == ("1.1", "Greet politely")
    refused = stage.necrocode("tasks", "move", "greeting", "1.1", "failed")
    assert refused.code == 2
    assert "task '1.1' is done and cannot become failed" in refused.err


def test_task_files_become_a_task_set_and_are_shown(stage: Stage, registry: httpx.Client) -> None:
    first, second = stage.task(), stage.task("second.json", task_id="2", dependencies=["1"], setup_commands=["true"])
    for path in (first, second):
        done = stage.necrocode("tasks", "import", "--format", "task", path)
        assert done.code == 0, done.err
    assert states(registry) == {"1": "ready", "2": "blocked"}
    shown = stage.necrocode("tasks", "show", "greeting", "2", "--json").json
    assert shown["task"]["setup_commands"] == ["true"]
    assert (shown["state"], shown["task"]["repo_url"]) == ("blocked", str(stage.remote))
    assert "after: 1 (ready)" in stage.necrocode("tasks", "show", "greeting", "2").out
    nobody = stage.necrocode("tasks", "show", "greeting", "3")
    assert (nobody.code, "has no task '3'" in nobody.err) == (2, True)


def test_a_task_is_one_runners_and_a_killed_one_is_gone_on_with(
    stage: Stage, play: Play, registry: httpx.Client
) -> None:
    play(*SOLVE)
    imported(stage, "- [ ] 1. Greet by name\n", test=GATE)
    process = stage.start_gated("run", "--next")
    other = stage.necrocode("run", "--next", "--home", stage.root / "home2")
    assert (other.code, "no task is ready" in other.err) == (2, True)
    (task,) = stage.necrocode("tasks", "list", "--json").json["tasks"]
    assert task["claimed_by"] is not None
    process.kill()
    process.communicate()
    assert states(registry) == {"1": "running"}
    stage.open_gate()
    done = stage.necrocode("run", "--next")
    assert done.code == 0, done.err
    assert len(stage.runs()) == 1
    assert states(registry) == {"1": "done"}


def test_a_registry_that_knows_no_task_sets_is_said_to_be_one(stage: Stage, registry: httpx.Client) -> None:
    stage.environment["TASK_REGISTRY_URL"] = f"{registry.base_url}/elsewhere"
    done = stage.necrocode("run", "--next")
    assert done.code == 3, done.err
    assert "task registry: list the task sets: answered 404" in done.err
