"""What the tests of commands share: specs, runner processes of their own, and a look at /proc."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from necrocode.commands.folder import CommandFolder, folder_name
from necrocode.states.ports import CommandSpec

ROOT = Path(__file__).resolve().parents[3]
UNTIL_TOLD = "until [ -e go ]; do sleep 0.02; done"
"""A part of a command that lasts until :func:`tell`."""


def spec(
    slot: Path,
    command: str,
    *,
    command_id: str | None = None,
    run_id: str = "run-1",
    timeout: float = 60,
    cwd: str = ".",
    env: Mapping[str, str] | None = None,
    pass_env: Sequence[str] = (),
    network: bool | tuple[str, ...] = False,
    max_output_bytes: int = 65_536,
) -> CommandSpec:
    """A spec with an id of its own unless one is given; ``timeout`` in seconds."""
    return CommandSpec(
        command_id=command_id or f"cmd-{uuid.uuid4().hex}",
        run_id=run_id,
        command=command,
        slot_path=slot,
        timeout=timedelta(seconds=timeout),
        cwd=cwd,
        env=env or {},
        pass_env=pass_env,
        network=network,
        max_output_bytes=max_output_bytes,
    )


def tell(slot: Path, *, seconds: float = 0) -> None:
    """Let a command that holds :data:`UNTIL_TOLD` go on, at once or while the test goes on."""
    if seconds:
        threading.Timer(seconds, tell, [slot]).start()
    else:
        (slot / "go").touch()


def runner_process(
    commands_dir: Path, sandbox: str, one: CommandSpec, *, own_group: bool = False
) -> subprocess.Popen[bytes]:
    """Another process that runs ``one``, to be killed."""
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "tests.necrocode.commands.runner_process"),
            *(str(commands_dir), sandbox, one.command_id, one.run_id, str(one.slot_path), one.command),
            *(() if isinstance(one.network, bool) else one.network),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        start_new_session=own_group,
    )


def folder(commands_dir: Path, command_id: str) -> CommandFolder:
    """The folder of a command, to look into."""
    return CommandFolder(commands_dir / folder_name(command_id), "unused")


def keeper_pid(commands_dir: Path, command_id: str) -> int:
    """The keeper of a command, once there is one."""
    place = folder(commands_dir, command_id)
    wait_until(lambda: place.claim() is not None)
    claim = place.claim()
    assert claim is not None
    return claim.process.pid


def processes_of(command_id: str) -> list[int]:
    """The living processes of a command, wherever they hang in the tree."""
    return _processes("environ", f"NECROCODE_COMMAND_ID={command_id}".encode())


def processes_called(text: str) -> list[int]:
    """The living processes with ``text`` in their command line."""
    return _processes("cmdline", text.encode())


def wait_until(true: Callable[[], object], seconds: float = 20) -> None:
    """Wait for a condition; fails the test if it does not come."""
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.01)


def _processes(file: str, text: bytes) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if text in (entry / file).read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found
