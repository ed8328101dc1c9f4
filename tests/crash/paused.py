"""A run whose process is stopped with SIGSTOP at a chosen point, and commands from another PID namespace."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path

from tests.e2e.commands import Command, Forked
from tests.e2e.stage import Finished, Stage


@contextmanager
def paused(stage: Stage, point: str, *arguments: str | Path, **env: str) -> Iterator[Command]:
    """The command, stopped at ``point`` (``ENTRY/SEAM``, see :mod:`tests.crash.mortal`); it is killed in the end."""
    (stage.root / "user").mkdir(exist_ok=True)
    note = stage.root / "pause.json"
    stopping = [str(note), "stop", point, *map(str, arguments)]
    process = Forked(stopping, stage.env(**env), stage.root, mortal=True)
    try:
        stage.wait_until(lambda: is_stopped(process), process)
        yield process
    finally:
        process.kill()
        process.communicate()


def is_stopped(process: Command) -> bool:
    """Whether it has been stopped by a signal."""
    return Path(f"/proc/{process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] == "T"


def stop(stage: Stage, process: Command) -> None:
    """Stop it wherever it is, but not in the middle of a transaction, which would keep everybody from writing."""
    while True:
        os.kill(process.pid, signal.SIGSTOP)
        stage.wait_until(lambda: is_stopped(process), process)
        try:
            with closing(sqlite3.connect(stage.home / "journal.db", timeout=0, isolation_level=None)) as connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("ROLLBACK")
            return
        except sqlite3.OperationalError:
            os.kill(process.pid, signal.SIGCONT)


def wake(stage: Stage, process: Command) -> Finished:
    """Let it go on, to its end."""
    os.kill(process.pid, signal.SIGCONT)
    return stage.finish(process)


@cache
def unshare() -> tuple[str, ...]:
    """What starts a command in a PID namespace of its own, with a ``/proc`` of its own."""
    user = () if os.geteuid() == 0 else ("--user", "--map-current-user")
    # A shell stays as the namespace's first process: that one ignores signals and inherits every orphan.
    return "unshare", *user, "--pid", "--fork", "--mount-proc", "sh", "-c", '"$@"; exit $?', "sh"


@cache
def why_not_elsewhere() -> str | None:
    """Why this machine makes no PID namespace; ``None`` if it does."""
    try:
        tried = subprocess.run([*unshare(), "true"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "there is no unshare command"
    return None if tried.returncode == 0 else f"no PID namespace can be made here: {tried.stderr.strip()}"


def start_elsewhere(stage: Stage, *arguments: str | Path, **env: str) -> subprocess.Popen[str]:
    """Start the real command in another PID namespace, where it sees no process of this one."""
    return subprocess.Popen(
        [*unshare(), sys.executable, "-m", "necrocode", *map(str, arguments)],
        cwd=stage.root,
        env=stage.env(**env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def elsewhere(stage: Stage, *arguments: str | Path, **env: str) -> Finished:
    """Run the real command in another PID namespace to its end."""
    return stage.finish(start_elsewhere(stage, *arguments, **env))
