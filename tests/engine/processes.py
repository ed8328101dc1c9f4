"""Real processes for tests: forked from a server that has the engine loaded, since importing takes longest."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.engine.errands", "tests.engine.victims", "alembic.command"])


def start(target: Callable[..., Any], *args: Any) -> ForkServerProcess:
    """A process that calls ``target``."""
    process = _CONTEXT.Process(target=target, args=args, daemon=True)
    process.start()
    return process


def outcome(process: ForkServerProcess) -> int:
    """Wait for its end: the exit code, or minus the signal."""
    process.join(60)
    assert process.exitcode is not None, "it hangs"
    code = process.exitcode
    process.close()
    return code


@contextmanager
def running(target: Callable[..., Any], *args: Any) -> Iterator[ForkServerProcess]:
    """A process that is killed at the end of the block, if it still lives."""
    process = start(target, *args)
    try:
        yield process
    finally:
        if process.is_alive():
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)
        process.join(60)
        process.close()


def wait_for(path: Path, seconds: float = 30) -> str:
    """The content of a file that another process is about to write whole."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if path.exists() and path.read_text().endswith("\n"):
            return path.read_text().strip()
        time.sleep(0.01)
    raise AssertionError(f"{path.name} never came")
