"""What dead runners leave behind is gone after ``doctor --fix``, also when nobody ever resumes their runs."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import Any

import pytest

from necrocode.demo.stage import git
from tests.crash import processes
from tests.crash.paused import paused
from tests.e2e.conftest import Play
from tests.e2e.stage import BRANCH, SOLVE, Stage, calls
from tests.necrocode.commands.driving import processes_of, runner_process, spec

UNBORN = ".new-unborn"
DAEMON = "(setsid sleep 301 >/dev/null 2>&1 &); echo x >> effects.txt; sleep 302"


@pytest.fixture(autouse=True)
def unconfined(stage: Stage) -> None:
    """A sandbox would end the daemon by itself."""
    stage.environment["NECROCODE_SANDBOX"] = "off"


def kill_in_command(stage: Stage) -> str:
    """Begin a run, kill its process and everything that watches over its command; returns the command's id."""
    process = stage.start("run", stage.task())

    def naps() -> bool:
        return sum(any(name in p.line for name in ("sleep 301", "sleep 302")) for p in of_run(stage)) >= 2

    stage.wait_until(naps, process)
    (command_id,) = {mark for p in of_run(stage) for mark in p.environment if mark.startswith("NECROCODE_COMMAND_ID=")}
    supervisors, keepers = processes.keepers(stage.home)
    process.kill()
    processes.kill([*supervisors, *keepers])
    process.communicate()
    return command_id.partition("=")[2]


def of_run(stage: Stage) -> list[processes.Process]:
    return processes.commands([run.run_id for run in stage.runs()])


def test_what_a_killed_run_left_running_is_ended_although_nobody_resumes_it(stage: Stage, play: Play) -> None:
    model = play(calls(("bash", {"command": DAEMON})), *SOLVE)
    command_id = kill_in_command(stage)
    run_id = stage.only_run.run_id
    assert processes_of(command_id), "the daemon lives"
    looked = stage.necrocode("doctor")
    assert looked.code == 3
    assert f"TO DO commands of run {run_id}" in looked.out
    assert processes_of(command_id), "it was only looked"

    mended = stage.necrocode("doctor", "--fix")
    assert f"fixed commands of run {run_id}" in mended.out
    assert processes_of(command_id) == []
    again = stage.necrocode("doctor")
    assert "commands of" not in again.out
    assert f"TO DO run {run_id}: died" in again.out, "that is for a person to decide"

    assert stage.necrocode("resume", "--all").code == 0
    assert "interrupted" in str(model.requests[-1].body["messages"])
    assert "effects.txt" not in git(stage.remote, "ls-tree", "--name-only", BRANCH)
    assert stage.necrocode("doctor").code == 0


def test_after_a_reboot_the_command_is_interrupted_and_the_run_goes_on(stage: Stage, play: Play) -> None:
    model = play(calls(("bash", {"command": DAEMON})), *SOLVE)
    command_id = kill_in_command(stage)
    processes.kill(of_run(stage))
    age(stage, command_id)
    looked = stage.necrocode("doctor")
    assert f"TO DO run {stage.only_run.run_id}: died" in looked.out

    assert stage.necrocode("resume", "--all").code == 0
    assert "interrupted" in str(model.requests[-1].body["messages"])
    assert "effects.txt" not in git(stage.remote, "ls-tree", "--name-only", BRANCH)
    assert model.answered == [0, 1, 2]
    assert stage.branch_updates(BRANCH) == 1
    assert stage.necrocode("doctor").code == 0


def age(stage: Stage, command_id: str) -> None:
    """Make everything that was recorded of processes look as if it came from an earlier boot; this process's pid
    lives, and is another's now.
    """

    def earlier(holder: dict[str, Any]) -> dict[str, Any]:
        return {**holder, "boot_id": "00000000-0000-0000-0000-000000000000", "pid": os.getpid()}

    claim = stage.home / "commands" / command_id / "claim"
    content = json.loads(claim.read_text())
    claim.write_text(json.dumps({**content, "process": earlier(content["process"])}))
    for name, table in (("journal.db", "leases"), ("services.db", "slots")):
        with closing(sqlite3.connect(stage.home / name)) as connection, connection:
            (holder,) = connection.execute(f"SELECT holder FROM {table}").fetchone()
            text = json.dumps(earlier(json.loads(holder)), sort_keys=True, separators=(",", ":"))
            connection.execute(f"UPDATE {table} SET holder = ?", (text,))


@pytest.mark.parametrize("state", ["parked", "cancelled", "unknown"])
def test_commands_of_a_run_that_is_over_are_ended_and_forgotten(stage: Stage, play: Play, state: str) -> None:
    """As a process leaves them that was taken for dead and is not."""
    play(*SOLVE)
    run_id = "a-run-that-the-journal-knows-nothing-of"
    if state != "unknown":
        assert stage.necrocode("run", stage.task(), LLM_API_KEY="a-wrong-key-this-is").code == 3
        run_id = stage.only_run.run_id
    if state == "cancelled":
        assert stage.necrocode("cancel", run_id).code == 0
    slot = stage.root / "late"
    slot.mkdir()
    stage.home.mkdir(exist_ok=True)
    late = spec(slot, "touch begun; sleep 300", run_id=run_id)
    runner = runner_process(stage.home / "commands", "off", late)
    stage.wait_until((slot / "begun").exists)
    runner.kill()
    runner.communicate()

    looked = stage.necrocode("doctor")
    assert looked.code == 3
    assert f"TO DO commands of run {run_id}" in looked.out
    assert processes_of(late.command_id)
    mended = stage.necrocode("doctor", "--fix")
    assert f"fixed commands of run {run_id}" in mended.out
    assert processes_of(late.command_id) == []
    again = stage.necrocode("doctor")
    assert "commands of" not in again.out
    assert again.code == (3 if state == "parked" else 0), again.out


def test_what_belongs_to_no_run_is_removed_once_it_is_certainly_nobodys(stage: Stage) -> None:
    assert stage.necrocode("doctor").code == 0
    commands = stage.home / "commands"
    for name in (".trash-1", UNBORN, ".new-being-born"):
        (commands / name).mkdir()
    (commands / ".trash-1" / "output").write_text("x")
    (commands / UNBORN / "request.json").write_text("{")
    os.utime(commands / UNBORN, (0, 0))
    left = {".trash-1", UNBORN}

    looked = stage.necrocode("doctor")
    assert looked.code == 3
    assert all(name in looked.out for name in left) and ".new-being-born" not in looked.out
    assert left < {path.name for path in commands.iterdir()}
    assert stage.necrocode("doctor", "--fix").code == 0
    assert not left & {path.name for path in commands.iterdir()}
    assert (commands / ".new-being-born").is_dir()
    assert stage.necrocode("doctor").code == 0


def test_a_slot_of_a_run_that_the_journal_knows_nothing_of_is_taken_back(stage: Stage) -> None:
    assert stage.necrocode("doctor").code == 0
    script = """
import os, signal, sys
from datetime import timedelta
from pathlib import Path
from necrocode.embedded.database import open_services
from necrocode.engine.stop import StopToken
from necrocode.pool.embedded import EmbeddedPool
home = Path(sys.argv[1])
pool = EmbeddedPool(open_services(home), home, limit=9, run_is_over=lambda _: False, quiesce=lambda _: None)
pool.allocate(sys.argv[2], run_id="nobody", key="k", timeout=timedelta(0), stop=StopToken())
os.kill(os.getpid(), signal.SIGKILL)
"""
    arguments = [sys.executable, "-c", script, str(stage.home), str(stage.remote)]
    assert subprocess.run(arguments, check=False).returncode == -signal.SIGKILL
    looked = stage.necrocode("doctor")
    assert looked.code == 3
    assert "still lent to run nobody" in looked.out
    assert list(stage.lent_slots().values()) == ["nobody"]
    assert stage.necrocode("doctor", "--fix").code == 0
    assert stage.lent_slots() == {}
    assert stage.necrocode("doctor").code == 0


@pytest.mark.parametrize("seam", ["mkdir", "open", "rename"])
def test_a_command_that_was_being_made_leaves_nothing_of_a_run_that_is_cancelled(
    stage: Stage, play: Play, seam: str
) -> None:
    """Whose the folder is must be known from its first moment."""
    play(calls(("bash", {"command": "true"})), *SOLVE)
    with paused(stage, f"intent implementing tool.bash/{seam}", "run", stage.task()) as process:
        process.kill()
    assert stage.necrocode("cancel", stage.only_run.run_id).code == 0
    assert not [path.name for path in (stage.home / "commands").iterdir() if path.is_dir()]
    assert stage.necrocode("doctor").code == 0
