"""What runs for a stage, as /proc tells it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Process:
    """A living process."""

    pid: int
    parent: int
    line: str
    environment: tuple[str, ...]
    folder: Path


def living() -> list[Process]:
    """Every process that can be looked at, zombies left out."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            environment = (entry / "environ").read_bytes().decode("utf-8", "replace").split("\0")
            folder = (entry / "cwd").readlink()
        except OSError:
            continue
        if fields[0] not in (b"Z", b"X"):
            found.append(Process(int(entry.name), int(fields[1]), line, tuple(environment), folder))
    return found


def commands(run_ids: Collection[str]) -> list[Process]:
    """Processes of commands that were started for one of these runs."""
    wanted = {f"NECROCODE_RUN_ID={run_id}" for run_id in run_ids}
    return [process for process in living() if not wanted.isdisjoint(process.environment)]


def keepers(home: Path) -> tuple[list[Process], list[Process]]:
    """The supervisors of a home, and the keepers that they forked."""
    ours = [p for p in living() if "launch.py" in p.line and str(home / "commands") in p.line]
    pids = {process.pid for process in ours}
    return [p for p in ours if p.parent not in pids], [p for p in ours if p.parent in pids]


def about(root: Path) -> list[Process]:
    """Processes whose command line or environment names the stage's folder, or that work below it."""
    name = str(root)
    return [
        each
        for each in living()
        if each.pid != os.getpid()
        and (name in each.line or any(name in e for e in each.environment) or each.folder.is_relative_to(root))
    ]


def kill(processes: Collection[Process]) -> int:
    """SIGKILL to each; returns how many were still there."""
    hit = 0
    for process in processes:
        try:
            os.kill(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
        hit += 1
    return hit


def gone(find: Callable[[], Collection[Process]], seconds: float) -> Collection[Process]:
    """Wait until nothing is found any more, up to ``seconds``; returns what is left."""
    until = time.monotonic() + seconds
    while (left := find()) and time.monotonic() < until:
        time.sleep(0.05)
    return left
