"""Where mortal processes are started: afresh, or as forks of one that has imported everything already."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, TypeAlias

MORTAL = Path(__file__).with_name("mortal.py")


class Process(Protocol):
    """What a trial needs of a process that it started; a :class:`subprocess.Popen` is one."""

    @property
    def pid(self) -> int: ...

    def poll(self) -> int | None:
        """The exit code (minus the signal that killed it) if it has ended."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end. Raises :class:`subprocess.TimeoutExpired` after ``timeout`` seconds."""

    def kill(self) -> None:
        """SIGKILL."""


@dataclass(frozen=True)
class Birth:
    """How a process begins: a session of its own, stdin empty, output appended to files."""

    #: Of ``mortal.py``, or of the command itself.
    arguments: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    out: Path
    err: Path
    mortal: bool = True
    #: Of other processes (``/proc/PID/ns/…``), which it enters in this order.
    namespaces: Sequence[str] = ()


Start: TypeAlias = Callable[[Birth], Process]
"""A way to start a process: :func:`afresh`, or :meth:`Nursery.start`."""


def afresh(birth: Birth) -> Process:
    """Start a new interpreter."""
    return _interpreter((MORTAL,), birth)


def altered(*script: str | Path) -> Start:
    """Starts a new interpreter with another script: what is broken in it, or where it believes to be, is its own."""
    return lambda birth: _interpreter(script, birth)


def _interpreter(script: Sequence[str | Path], birth: Birth) -> Process:
    with birth.out.open("ab") as out, birth.err.open("ab") as err:
        return subprocess.Popen(
            [sys.executable, *map(str, script), *birth.arguments],
            cwd=birth.folder,
            env=dict(birth.environment),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            # a process group to be killed as a whole
            start_new_session=True,
        )


class Nursery:
    """Forks processes; a context manager. What still lives at its end is killed. Safe between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR", "PYTHONPATH") if name in os.environ}
        self._process = subprocess.Popen(
            [sys.executable, str(MORTAL), "--nursery"],
            # libgit2 looks for the user's settings when it is imported: there are none
            env={**kept, "HOME": os.devnull},
            # it outlives the test that needs it first, and is not to be found in that one's folder
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> Nursery:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self, birth: Birth) -> Process:
        """Fork a process."""
        asked = {
            "mortal": birth.mortal,
            "arguments": list(birth.arguments),
            "environment": dict(birth.environment),
            "folder": str(birth.folder),
            "out": str(birth.out),
            "err": str(birth.err),
            "namespaces": list(birth.namespaces),
        }
        return _Forked(self, self.ask(asked)["pid"])

    def ask(self, words: Mapping[str, Any]) -> dict[str, Any]:
        """One line, and the answer to it. Raises ``RuntimeError`` if the nursery has ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps(words) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the nursery ended with exit code {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End it, and whatever it has started."""
        self._process.communicate()


@cache
def nursery() -> Nursery:
    """This process's own, there until it ends."""
    kept = Nursery()
    atexit.register(kept.close)
    return kept


class _Forked:
    """A process that a nursery forked. Until it is reaped its pid is nobody else's."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self._nursery = nursery
        self._code: int | None = None
        self.pid = pid

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self._code

    def wait(self, timeout: float | None = None) -> int:
        if self._code is None:
            descriptor = os.pidfd_open(self.pid)
            try:
                if not select.select([descriptor], [], [], timeout)[0]:
                    raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
            finally:
                os.close(descriptor)
            self._code = int(self._nursery.ask({"reap": self.pid})["code"])
        return self._code

    def kill(self) -> None:
        if self._code is None:
            os.kill(self.pid, signal.SIGKILL)
