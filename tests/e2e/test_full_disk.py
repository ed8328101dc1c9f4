"""Disks that fill up or take no more writes in the middle of a run: exit 3, and it goes on once that is mended."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from necrocode.demo.stage import git
from tests.e2e.conftest import Play
from tests.e2e.disk import Disk, small_disk
from tests.e2e.stage import BRANCH, EDIT, FINISH, Finished, Stage, calls

OUTSIDE = {"NECROCODE_SANDBOX": "off"}
"""Commands write down outside of the slot, and of the disk, that they were started."""

LOUD = "head -c 20000 /dev/zero | tr '\\0' x"


def marked(stage: Stage, command: str, *, gate: bool = False) -> str:
    """``command``, noting its start in a ledger; with ``gate`` it waits there for :func:`open_gate`."""
    wait = f"until [ -e {stage.root}/gate ]; do sleep 0.05; done; " if gate else ""
    return f'echo "$NECROCODE_COMMAND_ID" >> {stage.root}/ledger; {wait}{command}'


def open_gate(stage: Stage) -> None:
    """Let the command go on."""
    (stage.root / "gate").touch()


def begun(stage: Stage) -> bool:
    """Whether a command has been started."""
    return (stage.root / "ledger").exists()


def sound(stage: Stage, disk: Disk) -> list[dict[str, Any]]:
    """Everything ended well, each command was started once, and nothing is left; returns the entries."""
    for command in (["verify", "--all"], ["doctor"]):
        done = stage.necrocode(*command)
        assert done.code == 0, done.out + done.err
    for repository in disk.inside(stage.home / "repos").glob("*/*.git"):
        where = stage.home / "repos" / repository.parent.name / repository.name
        fsck = [*disk.prefix, "git", f"--git-dir={where}", "fsck", "--full", "--no-dangling"]
        subprocess.run(fsck, check=True, capture_output=True)
    git(stage.remote, "fsck", "--full")
    started = (stage.root / "ledger").read_text().split()
    assert len(started) == len(set(started)), "a command was started twice"
    (run,) = stage.necrocode("runs", "--json").json["runs"]
    shown = stage.necrocode("show", "--json", run["id"]).json
    assert (shown["run"]["state"], stage.branch_updates(BRANCH)) == ("completed", 1)
    assert shown["run"]["slot_id"] is None
    assert {artifact["type"] for artifact in shown["run"]["artifacts"]} == {"diff", "test", "log"}
    entries: list[dict[str, Any]] = shown["entries"]
    return entries


def refused(done: Finished, *words: str) -> None:
    """It ended with exit code 3, and said so in plain words."""
    assert done.code == 3, done.err
    for text in (*words, "resume"):
        assert text in done.err, done.err


@pytest.mark.parametrize(
    ("part", "size", "file"),
    [
        (".", "8m", "journal.db"),
        ("repos", "6m", "snapshots.git"),
        ("artifacts", "1m", "artifacts"),
    ],
    ids=["the whole home", "snapshots and slots", "artifacts"],
)
def test_a_disk_that_fills_up_stops_the_run_and_nothing_is_lost(
    stage: Stage, play: Play, part: str, size: str, file: str
) -> None:
    command = marked(stage, f"{LOUD}; echo made > made.txt; exit 3", gate=True)
    model = play(calls(("bash", {"command": command})), EDIT, FINISH)
    task = stage.task(test_commands=[marked(stage, "sh check.sh")])
    with small_disk(stage.home / part, size=size) as disk:
        stage.namespaces = disk.namespaces
        process = stage.start("run", task, **OUTSIDE)
        stage.wait_until(lambda: begun(stage), process)
        disk.fill()
        open_gate(stage)
        refused(stage.finish(process), "no space left for", file)
        # as long as nothing has changed, nothing else happens
        refused(stage.necrocode("resume", "--all", **OUTSIDE), "no space left for")
        disk.free()
        done = stage.necrocode("resume", "--all", **OUTSIDE)
        assert done.code == 0, done.err
        sound(stage, disk)
    assert model.answered == [0, 1, 2], "an answer was bought twice"


def test_a_disk_that_fills_up_under_a_command_loses_neither_its_output_nor_its_end(stage: Stage, play: Play) -> None:
    command = marked(stage, f"{LOUD}; echo; echo the end; exit 3", gate=True)
    play(calls(("bash", {"command": command})), EDIT, FINISH)
    with small_disk(stage.home / "commands", size="4m") as disk:
        stage.namespaces = disk.namespaces
        process = stage.start("run", stage.task(test_commands=[marked(stage, "sh check.sh")]), **OUTSIDE)
        stage.wait_until(lambda: begun(stage), process)
        disk.fill()
        open_gate(stage)
        done = stage.finish(process)
        # what the first command gives back may be enough for the second, or not
        if done.code == 3:
            refused(done, "no space left for", "commands")
            disk.free()
            done = stage.necrocode("resume", "--all", **OUTSIDE)
        assert done.code == 0, done.err
        entries = sound(stage, disk)
    (told,) = [e["payload"]["result"] for e in entries if (e["kind"], e["name"]) == ("outcome", "tool.bash")]
    assert (told["status"], told["exit_code"]) == ("exited", 3)
    assert told["content"].endswith("xxxx\nthe end")
    assert len((stage.root / "ledger").read_text().split()) == 2


def test_a_command_that_finds_no_room_to_begin_is_not_begun_and_not_held_against_the_task(
    stage: Stage, play: Play
) -> None:
    play(EDIT, FINISH)
    with small_disk(stage.home / "commands", size="1m") as disk:
        stage.namespaces = disk.namespaces
        assert stage.necrocode("doctor").code == 0
        # enough for a request and a claim, not for an end
        for leave_bytes in (0, 12_288, 40_960, 0):
            disk.fill(leave_bytes=leave_bytes)
            done = stage.necrocode("run", stage.task(test_commands=[marked(stage, "sh check.sh")]), **OUTSIDE)
            refused(done, "no space left for", "commands")
            assert not begun(stage)
            disk.free()
        done = stage.necrocode("resume", "--all", **OUTSIDE)
        assert done.code == 0, done.err
        sound(stage, disk)
    assert len((stage.root / "ledger").read_text().split()) == 1


def test_a_log_that_cannot_be_written_is_said_and_stops_nothing(stage: Stage, play: Play) -> None:
    play(EDIT, FINISH)
    with small_disk(stage.home / "logs", size="1m") as disk:
        stage.namespaces = disk.namespaces
        disk.fill()
        done = stage.necrocode("run", stage.task(test_commands=[marked(stage, "sh check.sh")]), **OUTSIDE)
        assert done.code == 0, done.err
        assert "the log cannot be written" in done.err
        sound(stage, disk)


def test_slots_on_a_disk_that_became_read_only_park_the_run(stage: Stage, play: Play) -> None:
    play(calls(("bash", {"command": marked(stage, "true", gate=True)})), EDIT, FINISH)
    task = stage.task(test_commands=[marked(stage, "sh check.sh")])
    with small_disk(stage.home / "repos", size="6m") as disk:
        stage.namespaces = disk.namespaces
        process = stage.start("run", task, **OUTSIDE)
        stage.wait_until(lambda: begun(stage), process)
        disk.remount("ro")
        open_gate(stage)
        refused(stage.finish(process), "read-only file system")
        refused(stage.necrocode("resume", "--all", **OUTSIDE), "repos", "read-only file system")
        disk.remount("rw")
        done = stage.necrocode("resume", "--all", **OUTSIDE)
        assert done.code == 0, done.err
        sound(stage, disk)


def test_a_home_that_became_read_only_after_a_death_is_said_and_left_as_it_is(stage: Stage, play: Play) -> None:
    model = play({**EDIT, "delay_seconds": 60}, EDIT, FINISH)
    with small_disk(stage.home, size="8m") as disk:
        stage.namespaces = disk.namespaces
        process = stage.start("run", stage.task(test_commands=[marked(stage, "sh check.sh")]), **OUTSIDE)
        stage.wait_until(lambda: bool(model.requests), process)
        process.kill()
        stage.finish(process)
        stage.wait_until(lambda: not keepers(stage))
        disk.remount("ro")
        done = stage.necrocode("resume", "--all", **OUTSIDE)
        assert done.code == 3, done.err
        assert "read-only" in done.err.lower() and str(stage.home) in done.err
        disk.remount("rw")
        play(EDIT, FINISH)
        done = stage.necrocode("resume", "--all", **OUTSIDE)
        assert done.code == 0, done.err
        sound(stage, disk)


def keepers(stage: Stage) -> list[Path]:
    """Processes that have a file below the stage's home open for writing."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if str(stage.home).encode() in line:
            found.append(process)
    return found
