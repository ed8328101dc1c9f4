"""What must hold when the runner is killed: side effects once, answers paid once, a real output, nothing left."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import pytest

from necrocode.demo.stage import git
from necrocode.scripted.server import ScriptedServer
from tests.crash import processes
from tests.crash.nursery import nursery
from tests.crash.plans import Death, Plan
from tests.crash.scenarios import SUCCESS
from tests.crash.trial import attempt
from tests.e2e.commands import Command
from tests.e2e.conftest import Play
from tests.e2e.stage import EDIT, FINISH, SOLVE, Stage, calls

BRANCH = "feature/task-greeting-1"
LONG = calls(("bash", {"command": "echo x >> effects.txt; sleep 4; echo done"}))


def command_runs(stage: Stage) -> bool:
    """Whether the model's command has had its side effect, and sleeps."""
    return any(path.stat().st_size for path in (stage.home / "repos").glob("*/slots/*/work/effects.txt"))


def kill(process: Command) -> None:
    process.kill()
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL


def told(server: ScriptedServer) -> list[Any]:
    """The tools' results in the last request to the model."""
    return [message["content"] for message in server.requests[-1].body["messages"] if message["role"] == "tool"]


@pytest.mark.parametrize("sandbox", ["auto", "off"])
def test_a_command_of_a_killed_runner_is_adopted(stage: Stage, play: Play, sandbox: str) -> None:
    stage.environment["NECROCODE_SANDBOX"] = sandbox
    server = play(LONG, *SOLVE)
    process = stage.start("run", stage.task())
    stage.wait_until(lambda: command_runs(stage), process)
    began = time.monotonic()
    kill(process)

    assert stage.necrocode("resume", "--all").code == 0

    assert time.monotonic() - began < 30
    assert git(stage.remote, "show", f"{BRANCH}:effects.txt") == "x\n", "the side effect stands once"
    assert told(server)[0] == "exit code 0\ndone", "the model gets the command's real output"
    assert server.answered == [0, 1, 2], "no answer was paid for twice"
    assert stage.branch_updates(BRANCH) == 1


def test_a_command_outlives_two_runners(stage: Stage, play: Play) -> None:
    server = play(LONG, *SOLVE)
    first = stage.start("run", stage.task())
    stage.wait_until(lambda: command_runs(stage), first)
    kill(first)
    second = stage.start("resume", "--all")
    stage.wait_until(lambda: stage.only_run.epoch == 2, second)
    time.sleep(0.5)
    kill(second)

    assert stage.necrocode("resume", "--all").code == 0

    assert git(stage.remote, "show", f"{BRANCH}:effects.txt") == "x\n"
    assert told(server)[0] == "exit code 0\ndone"
    assert server.answered == [0, 1, 2]


def test_running_the_same_task_again_goes_on_with_the_killed_run(stage: Stage, play: Play) -> None:
    server = play(LONG, *SOLVE)
    task = stage.task()
    process = stage.start("run", task)
    stage.wait_until(lambda: command_runs(stage), process)
    kill(process)

    assert stage.necrocode("run", task).code == 0

    assert len(stage.runs()) == 1
    assert git(stage.remote, "show", f"{BRANCH}:effects.txt") == "x\n"
    assert server.answered == [0, 1, 2]


def test_an_answer_that_was_under_way_is_asked_for_once_more(stage: Stage, play: Play) -> None:
    server = play({**EDIT, "delay_seconds": 1.5}, FINISH)
    process = stage.start("run", stage.task())
    stage.wait_until(lambda: len(server.requests) == 1, process)
    kill(process)

    assert stage.necrocode("resume", "--all").code == 0

    assert [request.position for request in server.requests] == [0, 0, 1]
    first, second, _ = server.requests
    assert first.body == second.body
    assert first.idempotency_key == second.idempotency_key


def test_a_runner_killed_with_everything_it_started_tells_the_model_so(stage: Stage, play: Play) -> None:
    server = play(LONG, *SOLVE)
    process = stage.start("run", stage.task())
    stage.wait_until(lambda: command_runs(stage), process)
    supervisors, keepers = processes.keepers(stage.home)
    commands = processes.commands([stage.only_run.run_id])
    kill(process)
    assert supervisors and keepers and commands
    processes.kill([*supervisors, *keepers, *commands])

    assert stage.necrocode("resume", "--all").code == 0

    assert "interrupted" in told(server)[0]
    assert "effects.txt" not in git(stage.remote, "ls-tree", "--name-only", BRANCH), "its files were put back"
    assert server.answered == [0, 1, 2]


@pytest.mark.parametrize("seconds", [0.35, 0.6, 0.85, 1.1])
def test_killed_at_some_moment_and_resumed(tmp_path: Path, seconds: float) -> None:
    """A few of those that the crash campaign tries by the hundred."""
    result = attempt(Plan(SUCCESS, (Death("moment", seconds),)), tmp_path, nursery().start)
    assert not result.violations, (result.violations, result.said)


def two_tasks(stage: Stage, **fields: Any) -> tuple[Path, Path]:
    """Two tasks of one repository, which the model tells apart by their titles."""
    return (
        stage.task("one.json", task_id="one", title="Task number one", **fields),
        stage.task("two.json", task_id="two", title="Task number two", **fields),
    )


def test_two_runs_of_one_killed_process_are_both_resumed(stage: Stage, play: Play) -> None:
    answers = [calls(("bash", {"command": "echo x >> effects.txt; sleep 1; echo done"})), *SOLVE]
    talks = [{"when": f"Task number {name}", "answers": answers} for name in ("one", "two")]
    server = play(conversations=talks)
    process = stage.start("run", *two_tasks(stage), "--jobs", "2")
    stage.wait_until(lambda: len(list((stage.home / "repos").glob("*/slots/*/work/effects.txt"))) == 2, process)
    kill(process)

    assert stage.necrocode("resume", "--all", "--jobs", "2").code == 0

    for name in ("one", "two"):
        branch = f"feature/task-greeting-{name}"
        assert git(stage.remote, "show", f"{branch}:effects.txt") == "x\n"
        assert stage.branch_updates(branch) == 1
    asked = sorted((request.conversation, request.position) for request in server.requests)
    assert asked == [(talk, position) for talk in (0, 1) for position in (0, 1, 2)]


def test_a_killed_run_whose_slot_went_to_another_is_restored_in_a_new_one(stage: Stage, play: Play) -> None:
    stage.environment["NECROCODE_POOL_SIZE"] = "1"
    talks = [
        {"when": "Task number one", "answers": [EDIT, LONG, FINISH]},
        {"when": "Task number two", "answers": SOLVE},
    ]
    server = play(conversations=talks)
    one, two = two_tasks(stage, setup_commands=["echo ready > made.log"], test_commands=["grep -q ready made.log"])
    process = stage.start("run", one)
    stage.wait_until(lambda: command_runs(stage), process)
    kill(process)
    assert stage.necrocode("run", two).code == 0

    assert stage.necrocode("resume", "--all").code == 0

    names = git(stage.remote, "ls-tree", "--name-only", "feature/task-greeting-one").splitlines()
    assert "effects.txt" not in names, "what the lost command did is not in the new slot"
    assert "{name}" in git(stage.remote, "show", "feature/task-greeting-one:greet.py"), "what was recorded is"
    assert "interrupted" in told(server)[1]
    assert [request.position for request in server.requests if request.conversation == 0] == [0, 1, 2]
    assert [run.state for run in stage.runs()] == ["completed", "completed"]
