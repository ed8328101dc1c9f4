"""The runner's end of its supervisor: starts it, names folders to it, hears which commands are done."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from necrocode.engine.errors import EnvironmentFault

_LINE_BYTES = 32_768
"""What a pipe takes at once, whoever reads it when."""
_SCRIPT = Path(__file__).resolve().with_name("launch.py")


class SupervisorLink:
    """One supervisor process, started when first needed and again if it was killed. Safe between threads."""

    def __init__(self, commands_dir: Path) -> None:
        self._commands_dir = commands_dir
        self._lock = threading.Lock()
        self._input = -1
        self._owner = 0
        self._waiting: dict[str, list[threading.Event]] = {}
        self._reader: threading.Thread | None = None
        self._ready = threading.Event()
        self._pid: int | None = None

    def start(self) -> None:
        """Start the supervisor unless it runs; it gets ready in the background.

        :class:`EnvironmentFault` ``supervisor``: it could not be started.
        """
        with self._lock:
            self._start()

    def submit(self, name: str) -> threading.Event:
        """Have the command in the folder ``name`` run. Errors as :meth:`start`.

        The event is set when nothing more will happen there, be it because the supervisor was lost.
        """
        done = threading.Event()
        line = b"run " + os.fsencode(name) + b"\n"
        with self._lock:
            self._start()
            self._waiting.setdefault(name, []).append(done)
            try:
                os.write(self._input, line)
            except BrokenPipeError:
                # killed since: what it had not begun is handed to a new one by whoever waits for it
                self._forget_supervisor()
                self._start()
                self._waiting.setdefault(name, []).append(done)
                os.write(self._input, line)
        return done

    def set_up_ahead(self, start: Mapping[str, Any]) -> None:
        """Have the sandbox for a command that is to be started like this set up now. Nothing, if that is not to be."""
        self._tell_it(b"ahead " + json.dumps(start).encode() + b"\n")

    def remove(self, name: str) -> bool:
        """Have the folder ``name``, in which are only files, removed while nobody waits for it; False if that is not to
        be.
        """
        return self._tell_it(b"remove " + os.fsencode(name) + b"\n")

    def _tell_it(self, line: bytes) -> bool:
        """Tell the supervisor, if there is one, what it may as well not hear."""
        with self._lock, suppress(BrokenPipeError):
            if self._input >= 0 and self._owner == os.getpid() and len(line) <= _LINE_BYTES:
                return os.write(self._input, line) > 0
        return False

    def pid(self, timeout_seconds: float = 10.0) -> int | None:
        """The supervisor's pid, None if none was started or it did not get ready in time."""
        if self._reader is None or not self._ready.wait(timeout_seconds):
            return None
        return self._pid

    def close(self) -> None:
        """Let the supervisor go: it ends with its last command. Waits a moment if it has none."""
        with self._lock:
            reader = self._reader
            idle = not self._waiting
            self._forget_supervisor()
        if reader is not None and idle:
            reader.join(timeout=2.0)

    def _start(self) -> None:
        # after a fork without exec the pipe is the parent's: its lines are not for us to write
        if self._input >= 0 and self._owner == os.getpid():
            return
        if self._input >= 0:
            self._forget_supervisor()
        input_reader, input_writer = os.pipe2(os.O_CLOEXEC)
        output_reader, output_writer = os.pipe2(os.O_CLOEXEC)
        # nothing is written there: its end says that the supervisor is gone, while keepers still hold the output
        alive_reader, alive_writer = os.pipe2(os.O_CLOEXEC)
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_SCRIPT), str(self._commands_dir)],
                stdin=input_reader,
                stdout=output_writer,
                stderr=alive_writer,
                cwd="/",
                env={"LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"},
                start_new_session=True,
            )
        except OSError as error:
            for descriptor in (input_writer, output_reader, alive_reader):
                os.close(descriptor)
            raise EnvironmentFault(
                f"the supervisor of commands cannot be started with {sys.executable}: {error}", stop_reason="supervisor"
            ) from error
        finally:
            for descriptor in (input_reader, output_writer, alive_writer):
                os.close(descriptor)
        self._input, self._owner, self._waiting = input_writer, os.getpid(), {}
        self._ready, self._pid = threading.Event(), None
        self._reader = threading.Thread(
            target=self._read,
            args=(process, output_reader, alive_reader, self._waiting, self._ready),
            name="necrocode-commands",
            daemon=True,
        )
        self._reader.start()

    def _read(
        self,
        process: subprocess.Popen[bytes],
        output: int,
        alive: int,
        waiting: dict[str, list[threading.Event]],
        ready: threading.Event,
    ) -> None:
        process.wait()  # only the launcher: the supervisor itself is no child of ours
        try:
            for line in _lines(output, alive):
                word, _, rest = os.fsdecode(line).partition(" ")
                if word == "ready":
                    self._pid = int(rest)
                    ready.set()
                elif word == "done":
                    self._tell(waiting, [rest])
        finally:
            os.close(output)
            os.close(alive)
            with self._lock:
                if self._waiting is waiting:
                    self._forget_supervisor()
            # whoever waits looks on the disk what became of its command
            self._tell(waiting, list(waiting))

    def _tell(self, waiting: dict[str, list[threading.Event]], names: list[str]) -> None:
        with self._lock:
            events = [event for name in names for event in waiting.pop(name, [])]
        for event in events:
            event.set()

    def _forget_supervisor(self) -> None:
        if self._input >= 0:
            os.close(self._input)
        self._input = -1
        self._reader = None


def _lines(output: int, alive: int) -> Iterator[bytes]:
    """The lines that come from ``output`` until ``alive`` ends."""
    poller = select.poll()
    poller.register(output, select.POLLIN)
    poller.register(alive, select.POLLIN)
    pending = b""
    while True:
        ready = {descriptor for descriptor, _ in poller.poll()}
        if output in ready:
            data = os.read(output, 65536)
            *lines, pending = (pending + data).split(b"\n")
            yield from lines
            if data:
                continue
        if alive in ready or output in ready:
            return
