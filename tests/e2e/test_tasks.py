"""Task sets: imported, taken one after the other, gone on with after a death, ticked off."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from necrocode.registry.files import FileRegistry
from necrocode.scripted.server import ScriptedServer
from tests.e2e.conftest import Play
from tests.e2e.stage import GATE, KEY, SOLVE, Stage, calls, conversation_of

PLAN = """# Plan

- [ ] 1. Greetings
  - [ ] 1.1 Greet by name
    - It is polite.
    - _Requirements: 1.1_
  - [ ]* 1.2 Test it well
- [ ] 2. Say goodbye
"""

REQUIREMENTS = "### Requirement 1\n#### Acceptance Criteria\n1. WHEN greeted THEN the name SHALL be said\n"


@pytest.fixture
def plan(stage: Stage) -> Path:
    path = stage.root / "greeting" / "tasks.md"
    path.parent.mkdir()
    path.write_bytes(PLAN.replace("\n", "\r\n").encode())
    path.with_name("requirements.md").write_text(REQUIREMENTS)
    return path


def imported(stage: Stage, plan: Path, *more: str) -> None:
    done = stage.necrocode("tasks", "import", plan, "--repo", str(stage.remote), "--test", "sh check.sh", *more)
    assert done.code == 0, done.err
    assert "greeting: 4 tasks imported; now" in done.out


def states(stage: Stage, *arguments: str) -> dict[str, str]:
    listed = stage.necrocode("tasks", "list", "--json", *arguments)
    assert listed.code == 0, listed.err
    return {task["id"]: task["state"] for task in listed.json["tasks"]}


def test_a_task_list_is_worked_off_and_its_boxes_ticked(stage: Stage, play: Play, plan: Path) -> None:
    model = play(*SOLVE, calls(("write_file", {"path": "bye.py", "content": "bye = 1\n"})), SOLVE[-1])
    imported(stage, plan)
    assert states(stage) == {"1": "blocked", "1.1": "ready", "1.2": "blocked", "2": "blocked"}
    first = stage.necrocode("run", "--next")
    assert first.code == 0, first.err
    assert "next task: greeting/1.1: Greet by name" in first.err
    assert "1.1 WHEN greeted THEN the name SHALL be said" in str(model.requests[0])
    assert states(stage) == {"1": "done", "1.1": "done", "1.2": "ready", "2": "ready"}
    ticked = PLAN.replace("- [ ] 1. ", "- [x] 1. ").replace("- [ ] 1.1 ", "- [x] 1.1 ")
    assert plan.read_bytes() == ticked.replace("\n", "\r\n").encode()
    second = stage.necrocode("run", "--next", "--spec", "greeting", "--json")
    assert second.code == 0, second.err
    assert second.json["run"]["task_id"] == "2"
    none = stage.necrocode("run", "--next")
    assert (none.code, "no task is ready" in none.err) == (2, True)
    assert states(stage) == {"1": "done", "1.1": "done", "1.2": "ready", "2": "done"}
    assert set(stage.branches()) == {"main", "feature/task-greeting-1.1", "feature/task-greeting-2"}
    assert stage.events() == [], "what came out of the files is reported there"
    assert plan.read_bytes().count(b"[ ]") == 1


def test_a_killed_run_is_gone_on_with_before_the_next_task_is_taken(stage: Stage, play: Play, plan: Path) -> None:
    play(*SOLVE)
    imported(stage, plan, "--test", GATE)
    process = stage.start_gated("run", "--next")
    process.kill()
    process.communicate()
    assert states(stage)["1.1"] == "running"
    stage.open_gate()
    done = stage.necrocode("run", "--next")
    assert done.code == 0, done.err
    assert len(stage.runs()) == 1
    assert states(stage)["1.1"] == "done"


def test_a_run_that_a_user_stopped_is_left_alone(stage: Stage, play: Play, plan: Path) -> None:
    play(*SOLVE)
    imported(stage, plan, "--test", GATE)
    process = stage.start_gated("run", "--next")
    process.terminate()
    assert stage.finish(process).code == 130
    left = stage.necrocode("run", "--next")
    assert left.code == 2
    assert f"task 1.1 is left alone (stopped by a user): necrocode resume {stage.only_run.run_id}" in left.err
    assert stage.necrocode("cancel", stage.only_run.run_id).code == 0
    # the cancelled run needs no telling where its task came from
    assert states(stage)["1.1"] == "failed"
    assert stage.necrocode("tasks", "move", "greeting", "1.1", "ready").code == 0
    assert states(stage)["1.1"] == "ready"


@pytest.fixture
def greeters(stage: Stage) -> Iterator[ScriptedServer]:
    """A model that solves each of two tasks, whoever asks."""
    conversations: list[dict[str, Any]] = [conversation_of(task, *SOLVE) for task in ("1", "2")]
    with ScriptedServer({"model": "scripted", "key": KEY, "conversations": conversations}) as server:
        stage.use(server)
        yield server


def test_two_runners_never_take_the_same_task(stage: Stage, greeters: ScriptedServer) -> None:
    plan = stage.root / "pair" / "tasks.md"
    plan.parent.mkdir()
    plan.write_text("- [ ] 1. Task 1.\n")
    assert stage.necrocode("tasks", "import", plan, "--repo", str(stage.remote), "--test", GATE).code == 0
    folder = str(stage.home / "registry")
    process = stage.start_gated("run", "--next")
    other = stage.necrocode("run", "--next", "--home", stage.root / "home2", NECROCODE_TASK_REGISTRY_DIR=folder)
    assert (other.code, "no task is ready" in other.err) == (2, True)
    stage.open_gate()
    assert stage.finish(process).code == 0
    assert FileRegistry(Path(folder)).get_task("1", "pair").status == "done"
    assert greeters.requests


def test_an_import_checks_each_task_and_lands_whole_or_not_at_all(stage: Stage, plan: Path) -> None:
    refused = stage.necrocode("tasks", "import", plan)
    assert refused.code == 2
    assert "task 1.1 of greeting is not valid" in refused.err
    assert "repo_url" in refused.err
    assert states(stage) == {}
    imported(stage, plan)
    # what was said once needs no saying again
    plan.write_text(plan.read_text().replace("- [ ] 2. ", "- [x] 2. ") + "- [ ] 3. New\n")
    again = stage.necrocode("tasks", "import", plan, "--json")
    assert again.code == 0, again.err
    assert {task["id"]: task["state"] for task in again.json["tasks"]} == {
        "1": "blocked",
        "1.1": "ready",
        "1.2": "blocked",
        "2": "done",
        "3": "ready",
    }
    plan.write_text("- [ ] 1.1 Greet\n")
    shorter = stage.necrocode("tasks", "import", plan)
    assert f"no longer in {plan}, but kept: 1, 1.2, 2, 3" in shorter.err


def test_issues_come_from_standard_input_and_instances_say_what_is_missing(stage: Stage) -> None:
    issue = {"title": "T", "body": "B", "number": 4, "url": "https://127.0.0.1/me/calc/issues/4", "labels": []}
    path = stage.root / "issue.json"
    path.write_text(json.dumps(issue))
    assert stage.necrocode("tasks", "import", path).code == 0
    instance = {
        "instance_id": "a-1",
        "repo": "me/calc",
        "base_commit": "0" * 40,
        "problem_statement": "P",
        "FAIL_TO_PASS": "[]",
        "PASS_TO_PASS": "[]",
    }
    lines = stage.root / "lite.jsonl"
    lines.write_text(json.dumps(instance))
    done = stage.necrocode("tasks", "import", lines)
    assert (done.code, "begins on a branch, not on a commit" in done.err) == (0, True)
    listed = stage.necrocode("tasks", "list")
    assert [line.split()[:3] for line in listed.out.splitlines()[1:]] == [
        ["calc", "4", "ready"],
        ["lite", "a-1", "ready"],
    ]
    assert states(stage, "--spec", "calc") == {"4": "ready"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run"], "name tasks, or take the next one with --next"),
        (["run", "--next", "task.json"], "name tasks, or take the next one with --next"),
        (["run", "--spec", "x", "task.json"], "--spec and --optional go with --next"),
        (["run", "--next"], "no task is ready"),
        (["run", "--next", "--spec", "nosuch"], "there is no task set 'nosuch'"),
        (["tasks", "list", "--spec", "nosuch"], "there is no task set 'nosuch'"),
        (["tasks", "move", "nosuch", "1", "ready"], "there is no task set 'nosuch'"),
        (["tasks", "import", "tasks.txt"], "say what it is with --format kiro | github | swe-bench"),
        (["tasks", "import", "nosuch.md"], "the file does not exist"),
    ],
)
def test_bad_usage_is_told_and_starts_nothing(stage: Stage, arguments: list[str], words: str) -> None:
    done = stage.necrocode(*arguments)
    assert (done.code, words in done.err) == (2, True), done.err
    assert stage.runs() == []


def test_a_registry_at_a_url_that_cannot_be_reached_is_named(stage: Stage) -> None:
    for arguments in (["run", "--next"], ["tasks", "list"]):
        done = stage.necrocode(*arguments, TASK_REGISTRY_URL="http://127.0.0.1:9")
        assert done.code == 3
        assert "task registry: list the task sets: cannot reach http://127.0.0.1:9" in done.err


def test_a_damaged_task_set_is_told_by_file_line_and_field(stage: Stage) -> None:
    path = stage.home / "registry" / "tasksets" / "greeting" / "taskset.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"tasks": [\n{"id": "1", "state": "redy"}]}')
    for arguments in (["run", "--next"], ["tasks", "list"], ["doctor"]):
        done = stage.necrocode(*arguments)
        assert done.code == 3
        assert f"{path}, line 2: tasks[0].state: must be one of" in done.out + done.err
