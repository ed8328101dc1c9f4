"""The sandbox that is set up ahead, while nobody waits for it: who gets it, and who does not."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from necrocode.commands import SupervisedCommands
from necrocode.commands.processes import descendants, process_start
from necrocode.commands.sandbox import probe
from necrocode.engine.stop import StopToken
from necrocode.states.ports import CommandSpec
from tests.necrocode.commands.driving import folder, processes_called, processes_of, spec, wait_until

pytestmark = pytest.mark.skipif(probe("bubblewrap").kind != "bubblewrap", reason="bubblewrap does not work here")


@pytest.fixture
def runner(commands_dir: Path) -> Iterator[SupervisedCommands]:
    with SupervisedCommands(commands_dir, sandbox="bubblewrap") as commands:
        yield commands


def set_up(runner: SupervisedCommands) -> int:
    """The first process of the sandbox that waits, once its shell does."""
    supervisor = runner.supervisor_pid()
    assert supervisor is not None

    def waiting() -> list[int]:
        found = descendants(supervisor)
        return found if any(_called(pid) == ["/bin/sh", "-c", ". /dev/stdin"] for pid in found) else []

    wait_until(waiting)
    return waiting()[1]


def used(runner: SupervisedCommands, commands_dir: Path, one: CommandSpec) -> tuple[int, str]:
    """Run ``one``: the first process of the sandbox that it had, and its output."""
    result = runner.run(one, StopToken())
    assert result.status == "exited", result
    claim = folder(commands_dir, one.command_id).claim()
    assert claim is not None and claim.started is not None
    return claim.started[0], result.output


def test_the_next_command_gets_it_and_it_is_as_new(runner: SupervisedCommands, slot: Path, commands_dir: Path) -> None:
    look = "ls -d /tmp/x ~/x 2>/dev/null; touch /tmp/x ~/x; echo $$ $PPID; pwd; set -- /proc/[0-9]*; echo $*; read x"
    look += "; echo $?"
    _, first = used(runner, commands_dir, spec(slot, look))
    for _ in range(2):
        ahead = set_up(runner)
        process, output = used(runner, commands_dir, spec(slot, look))
        assert (process, output) == (ahead, first)


@pytest.mark.parametrize("other", ["timeout", "network"])
def test_a_command_that_starts_otherwise_gets_one_of_its_own(
    runner: SupervisedCommands, slot: Path, commands_dir: Path, other: str
) -> None:
    used(runner, commands_dir, spec(slot, "true"))
    ahead = set_up(runner)
    given = {"timeout": 50.0} if other == "timeout" else {"network": True}
    process, output = used(runner, commands_dir, spec(slot, "echo ran", **given))
    assert process != ahead and output == "ran\n"
    wait_until(lambda: process_start(ahead) is None)


def test_a_slot_that_was_made_anew_meanwhile_is_the_one_that_is_worked_in(
    runner: SupervisedCommands, slot: Path, commands_dir: Path
) -> None:
    used(runner, commands_dir, spec(slot, "touch before"))
    ahead = set_up(runner)
    shutil.rmtree(slot)
    slot.mkdir()
    (slot / "after").touch()
    process, output = used(runner, commands_dir, spec(slot, "ls; touch made"))
    assert process != ahead and output == "after\n"
    assert (slot / "made").exists()


@pytest.mark.parametrize(
    "odd", [{}, {"ODD-NAME": "1"}, {"UID": "7", "OLDPWD": "/tmp"}], ids=["plain", "odd", "shells'"]
)
def test_environment_folder_and_arguments_arrive_as_they_are(
    runner: SupervisedCommands, slot: Path, commands_dir: Path, odd: dict[str, str]
) -> None:
    (slot / 'it\'s a "folder"; exit').mkdir()
    env = {"PLAIN": "1", "QUOTES": "'\"$HOME`id`\\\n'", "LONG": "x" * 100_000, "LONGER": "y" * 120_000} | odd
    show = f"import json, os; print(json.dumps([{{n: os.environ[n] for n in {list(env)}}}, os.getcwd()]))"
    (slot / "show.py").write_text(show)
    one = spec(
        slot,
        f"{shutil.which('python3', path=os.environ['PATH'])} ../show.py",
        env=env,
        cwd='it\'s a "folder"; exit',
        max_output_bytes=1 << 20,
    )
    for _ in range(2):
        _, output = used(runner, commands_dir, one)
        assert json.loads(output) == [env, str(slot / one.cwd)]
        one = replace(one, command_id=f"{one.command_id}-2")
        set_up(runner)


def test_it_belongs_to_no_command_and_ends_with_the_runner(
    runner: SupervisedCommands, slot: Path, commands_dir: Path
) -> None:
    one = spec(slot, "true")
    used(runner, commands_dir, one)
    ahead = set_up(runner)
    assert processes_of(one.command_id) == []
    assert runner.strays() == {}
    runner.forget(one.command_id)
    wait_until(
        lambda: [path.name for path in commands_dir.iterdir() if path.name[0] != "." or "trash" in path.name] == []
    )
    runner.reap(one.run_id)
    assert runner.runs() == []
    assert process_start(ahead) is not None
    runner.close()
    wait_until(lambda: not processes_called(str(commands_dir)) and process_start(ahead) is None)


def _called(pid: int) -> list[str]:
    try:
        content = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return []
    return os.fsdecode(content).rstrip("\0").split("\0")
