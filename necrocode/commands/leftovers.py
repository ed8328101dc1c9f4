"""Processes that a command left behind after the keeper that should have killed them was itself killed."""

from __future__ import annotations

import os
import time
from pathlib import Path

from necrocode.commands.environment import COMMAND_VARIABLE, RUN_VARIABLE, SCOPE_VARIABLE
from necrocode.commands.processes import KILL_SECONDS, descendants, kill_all, process_start


def kill_command(command_id: str, scope: str, started: tuple[int, int] | None) -> int:
    """SIGKILL to every process of a command until none is left, daemons included; returns how many were seen.

    They are found by the mark in their environment and, if it is known, below ``started``: pid and start time of the
    command's first process.
    """
    wanted = {COMMAND_VARIABLE: command_id, SCOPE_VARIABLE: scope}

    def find() -> set[int]:
        found = {pid for pid, marks in _marked() if wanted.items() <= marks.items()}
        if started is not None and process_start(started[0]) == started[1]:
            found.add(started[0])
        return found

    seen: set[int] = set()
    until = time.monotonic() + KILL_SECONDS
    while (found := find()) and time.monotonic() < until:
        for pid in list(found):
            found.update(descendants(pid))
        found.discard(os.getpid())
        seen |= found
        kill_all(sorted(found))
        time.sleep(0.002)
    return len(seen)


def commands_with_processes(scope: str) -> dict[str, str]:
    """The run id of each command that still has a process, by command id, whatever became of their folders."""
    return {marks[COMMAND_VARIABLE]: marks[RUN_VARIABLE] for _, marks in _marked() if marks[SCOPE_VARIABLE] == scope}


def _marked() -> list[tuple[int, dict[str, str]]]:
    """Every living process that carries a command's marks. A zombie's environment is empty, so it isn't here."""
    names = (COMMAND_VARIABLE, RUN_VARIABLE, SCOPE_VARIABLE)
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            content = (entry / "environ").read_bytes()
        except OSError:  # gone meanwhile, or another user's
            continue
        if COMMAND_VARIABLE.encode() not in content:
            continue
        pairs = (os.fsdecode(item).partition("=") for item in content.split(b"\0"))
        marks = {name: value for name, _, value in pairs if name in names}
        if len(marks) == len(names):
            found.append((int(entry.name), marks))
    return found
