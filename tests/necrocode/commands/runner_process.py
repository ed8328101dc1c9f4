"""A runner of its own: runs one command and prints the result; the tests kill it in the middle."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

from necrocode.commands import SupervisedCommands
from necrocode.commands.sandbox import SandboxMode
from necrocode.engine.stop import StopToken
from necrocode.states.ports import CommandSpec


def main(commands_dir: str, sandbox: str, command_id: str, run_id: str, slot: str, command: str, *hosts: str) -> None:
    """Run it; ``hosts``: what it may reach."""
    modes: dict[str, SandboxMode] = {"off": "off", "bubblewrap": "bubblewrap", "landlock": "landlock"}
    with SupervisedCommands(Path(commands_dir), sandbox=modes[sandbox]) as runner:
        result = runner.run(
            CommandSpec(
                command_id=command_id,
                run_id=run_id,
                command=command,
                slot_path=Path(slot),
                timeout=timedelta(seconds=60),
                network=hosts,
            ),
            StopToken(),
        )
        sys.stdout.write(f"{result}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
