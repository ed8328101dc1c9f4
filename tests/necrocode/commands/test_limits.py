"""What a command may take of the machine: each limit holds, and the next command has it anew."""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from necrocode.commands import SupervisedCommands
from necrocode.commands.limits import CommandLimits
from necrocode.commands.sandbox import SandboxMode
from necrocode.engine.stop import StopToken
from necrocode.states.ports import CommandResult
from tests.necrocode.commands.conftest import Mode, Sandbox
from tests.necrocode.commands.driving import spec


@pytest.fixture(autouse=True)
def interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some commands here are written in Python."""
    monkeypatch.setenv("PATH", f"{sys.base_prefix}/bin:{os.environ['PATH']}")


def limited(commands_dir: Path, mode: SandboxMode, slot: Path, command: str, limits: CommandLimits) -> CommandResult:
    with SupervisedCommands(commands_dir, sandbox=mode, limits=limits) as commands:
        return commands.run(spec(slot, command), StopToken())


def test_memory(commands_dir: Path, mode: Mode, slot: Path) -> None:
    hungry = "python3 -c 'x = bytearray(300 * 2**20)'"
    assert limited(commands_dir, mode, slot, hungry, CommandLimits()).exit_code == 0
    starved = limited(commands_dir, mode, slot, hungry, CommandLimits(memory_mb=200))
    assert (starved.exit_code, "MemoryError" in starved.output) == (1, True)


def test_cpus(commands_dir: Path, mode: Mode, slot: Path) -> None:
    output = limited(commands_dir, mode, slot, "nproc", CommandLimits(cpu_percent=50)).output
    assert output == "1\n"
    if mode == "landlock" and len(os.sched_getaffinity(0)) > 1:
        back = "python3 -c 'import os; os.sched_setaffinity(0, range(64))'"
        assert limited(commands_dir, mode, slot, back, CommandLimits(cpu_percent=50)).exit_code == 1


def test_a_file_that_grows_too_large_ends_its_writer(commands_dir: Path, mode: Mode, slot: Path) -> None:
    result = limited(commands_dir, mode, slot, "head -c 3000000 /dev/zero > f", CommandLimits(file_size_mb=1))
    assert result.exit_code not in (0, None)
    assert (slot / "f").stat().st_size == 1024 * 1024


def test_a_command_that_takes_too_much_of_the_disk_is_killed_and_says_so(
    commands_dir: Path, mode: Mode, slot: Path
) -> None:
    fill = "i=0; while [ $i -lt 500 ]; do head -c 900000 /dev/zero > f$i; sync f$i; i=$((i+1)); done"
    result = limited(commands_dir, mode, slot, fill, CommandLimits(disk_mb=2))
    assert (result.status, result.exit_code) == ("exited", 137)
    assert result.output.startswith("the command was killed: 2 MB of the disk were taken while it ran (max_disk_mb)")


def test_processes_that_ended_do_not_count(commands_dir: Path, sandbox: Sandbox, slot: Path) -> None:
    loop = "i=0; while [ $i -lt 150 ]; do /bin/true || exit 9; i=$((i+1)); done; echo done"
    assert limited(commands_dir, sandbox, slot, loop, CommandLimits(processes=40)).output == "done\n"


def test_no_core_is_dumped(commands_dir: Path, mode: Mode, slot: Path) -> None:
    assert limited(commands_dir, mode, slot, "ulimit -c; ulimit -Hc", CommandLimits()).output == "0\n0\n"


def test_the_processor_time_grows_with_the_timeout() -> None:
    request = CommandLimits().to_request(timedelta(seconds=10))
    assert request["cpu_seconds"] == 10 * (os.cpu_count() or 1) + 60
