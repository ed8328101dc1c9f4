"""A slot beside something to protect, in which the escape suite's attacks run."""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from necrocode.commands import SupervisedCommands
from necrocode.commands.limits import CommandLimits
from necrocode.engine.stop import StopToken
from necrocode.states.ports import CommandResult
from tests.necrocode.commands import hostile_network
from tests.necrocode.commands.driving import spec

HOSTILE, HOSTILE_NETWORK = (Path(__file__).with_name(name) for name in ("hostile.py", "hostile_network.py"))
#: Without its site packages it starts five times as fast.
PYTHON = ("python3", "-I", "-S")
LIMITS = CommandLimits(file_size_mb=4, processes=64, disk_mb=48)

_DECOY = """
import ctypes, socket, sys, time
kept = ctypes.create_string_buffer(sys.stdin.readline().strip().encode())
end = socket.socket()
print(ctypes.addressof(kept), end.fileno(), flush=True)
time.sleep(60)
"""


@dataclass
class Scene:
    """A slot beside something to protect."""

    root: Path
    commands_dir: Path
    commands: SupervisedCommands
    network: bool | tuple[str, ...] = False

    def __post_init__(self) -> None:
        self.slot.mkdir(parents=True, exist_ok=True)

    @property
    def slot(self) -> Path:
        return self.root / "slot"

    @property
    def outside(self) -> Path:
        """A folder of the user's."""
        return self.root / "outside"

    def run(self, command: str, *, timeout: float = 20) -> CommandResult:
        """Run a command in the slot, and forget it: others of the same runner's are not for it to meet."""
        one = spec(self.slot, command, timeout=timeout, network=self.network)
        try:
            return self.commands.run(one, StopToken())
        finally:
            self.commands.forget(one.command_id)

    def hostile(self, attack: str, *arguments: object) -> bool:
        """Run an attack of ``hostile.py`` or ``hostile_network.py``.

        Whether it says that it got out.
        """
        shutil.copy(HOSTILE_NETWORK if attack in hostile_network.ATTACKS else HOSTILE, self.slot / "hostile.py")
        done = self.run(shlex.join([*PYTHON, "hostile.py", attack, *map(str, arguments)]))
        assert "SyntaxError" not in done.output and "No such file or directory: 'hostile" not in done.output
        return "ESCAPED" in done.output

    def changes_outside(self, command: str) -> bool:
        """Whether a command could change anything in the folder outside."""
        self.outside.mkdir()
        (self.outside / "file").write_text("treasure")
        (self.outside / "folder").mkdir()
        before = _look(self.outside)
        self.run(command)
        return _look(self.outside) != before

    @contextmanager
    def decoy(self, **env: str) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
        """A process like the runner, with a key in its memory: itself, the key's address, a descriptor of its."""
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _DECOY],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**env},
            text=True,
        )
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(f"decoy-key-{secrets.token_hex(16)}\n")
            process.stdin.flush()
            address, descriptor = process.stdout.readline().split()
            yield process, address, descriptor
        finally:
            process.kill()
            process.communicate()

    def hunt(self, attack: str) -> bool:
        """An attack on a decoy of which the pid is known."""
        with self.decoy(KEY=f"decoy-key-{secrets.token_hex(16)}") as (process, _, _):
            return self.hostile(attack, process.pid)


def _look(folder: Path) -> list[object]:
    found: list[object] = []
    if not folder.exists():
        return found
    for path in sorted([folder, *folder.rglob("*")]):
        about = path.lstat()
        text = path.read_bytes() if stat.S_ISREG(about.st_mode) else b""
        times = about.st_mtime_ns if path != folder else 0
        attributes = os.listxattr(path, follow_symlinks=False)
        found.append((path, about.st_mode, about.st_uid, about.st_gid, about.st_nlink, text, times, attributes))
    return found
