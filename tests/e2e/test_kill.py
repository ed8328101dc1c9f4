"""What must hold when the runner is killed: side effects once, answers paid once, a real output, nothing left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from necrocode.demo.stage import git
from necrocode.scripted.server import ScriptedServer
from tests.crash import processes
from tests.crash.scenarios import SUCCESS
from tests.crash.trial import Death, Plan, attempt
from tests.e2e.conftest import Play
from tests.e2e.stage import EDIT, FINISH, SOLVE, Stage, calls

BRANCH = "feature/task-greeting-1"
LONG = calls(("bash", {"command": "echo x >> effects.txt; sleep 4; echo done"}))


def command_runs(stage: Stage) -> bool:
    """Whether the model's command has had its side effect, and sleeps."""
    return any(path.stat().st_size for path in (stage.home / "repos").glob("*/slots/*/work/effects.txt"))


def kill(process: subprocess.Popen[str]) -> None:
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
    result = attempt(Plan(SUCCESS, (Death("moment", seconds),)), tmp_path)
    assert not result.violations, (result.violations, result.said)


def test_the_demo_ends_well(tmp_path: Path) -> None:
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "PYTHONPATH") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-m", "necrocode", "demo"],
        cwd=tmp_path,
        env={**kept, "HOME": str(tmp_path), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "killed, resumed, pushed once." in done.stdout
    assert "slots still lent: 0" in done.stdout
    assert "started 1 time(s)" in done.stdout
