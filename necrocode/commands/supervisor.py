"""The supervisor: a detached process that runs the commands of one runner and outlives it. Standard library only.

A line ``run NAME`` on its standard input names a folder of the commands' directory whose command is to run; a line
``done NAME`` on its standard output says that nothing more will happen there. After ``ahead START`` the sandbox of the
next command is set up, as it will start if it starts like that; ``remove NAME`` removes a folder in which are only
files. Each command has a keeper, which was forked before its line came: the next one gets ready while this one's
command runs. At the end of the input (the runner closed it, or died) it lets running commands end, then exits.
``launch.py`` starts it.
"""

from __future__ import annotations

# pathlib would double the start-up of the supervisor
# ruff: noqa: PTH106, PTH108, PTH208
import json
import os
import select
import signal
import time
from contextlib import suppress

from necrocode.commands.confine import prepare
from necrocode.commands.files import write_file
from necrocode.commands.keeper import Waiting
from necrocode.commands.processes import (
    KILL_SECONDS,
    PR_SET_CHILD_SUBREAPER,
    WakePipe,
    descendants,
    kill_all,
    machine,
    only_wake,
    prctl,
)

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing costs a tenth of the start-up
    from types import FrameType
    from typing import NoReturn


class Supervisor:
    """Has a keeper per line of input."""

    def __init__(self, commands_dir: str) -> None:
        self._commands_dir = commands_dir
        #: Those that keep a command: its folder's name by pid.
        self._keepers: dict[int, str] = {}
        #: The one that waits for its command: pid, and where it hears of that.
        self._waiting: tuple[int, int] | None = None
        self._ending = False
        self._wake = WakePipe(
            {
                signal.SIGCHLD: only_wake,
                signal.SIGTERM: self._on_end,
                signal.SIGINT: signal.SIG_IGN,
                signal.SIGHUP: signal.SIG_IGN,
            }
        )

    def serve(self) -> None:
        """Until the end of the input (or SIGTERM) and of every command."""
        os.set_blocking(0, False)
        _send(1, f"ready {os.getpid()}\n")
        self._fork_keeper()
        poller = select.poll()
        poller.register(0, select.POLLIN)
        poller.register(self._wake.descriptor, select.POLLIN)
        pending = b""
        while self._keepers or not self._ending:
            for descriptor, _ in poller.poll():
                if descriptor != 0:
                    self._wake.clear()
                    continue
                data = os.read(0, 65536)
                if not data:
                    self._ending = True
                    poller.unregister(0)
                *lines, pending = (pending + data).split(b"\n")
                for line in lines:
                    if line.startswith(b"run "):
                        self._hand_over(os.fsdecode(line[4:]))
                    elif line.startswith(b"remove "):
                        self._remove(os.fsdecode(line[7:]))
                    else:
                        self._tell(line)
            self._reap()

    def _on_end(self, _number: int, _frame: FrameType | None) -> None:
        self._ending = True

    def _hand_over(self, name: str) -> None:
        """Let a keeper have the command in the folder ``name``, and have the next one get ready."""
        self._fork_keeper()
        if self._waiting is None:
            _say(1, name)  # the runner sees that nobody claimed the command
            return
        pid, tell = self._waiting
        self._keepers[pid], self._waiting = name, None
        # if it was killed meanwhile nothing is claimed either: the runner hands the command in again
        with suppress(BrokenPipeError):
            os.write(tell, b"run " + os.fsencode(name) + b"\n")
        os.close(tell)
        self._fork_keeper()

    def _remove(self, name: str) -> None:
        """What cannot be removed is left to the clearing up at the end of the run."""
        folder = f"{self._commands_dir}/{name}"
        with suppress(OSError):
            for inner in os.listdir(folder):
                os.unlink(f"{folder}/{inner}")
            os.rmdir(folder)

    def _tell(self, line: bytes) -> None:
        """Pass a line on to the keeper that waits, if there is one."""
        if self._waiting is not None:
            with suppress(BrokenPipeError):
                os.write(self._waiting[1], line + b"\n")

    def _fork_keeper(self) -> None:
        """Have one that waits, if another process can be had."""
        if self._waiting is not None:
            return
        hear, tell = os.pipe2(os.O_CLOEXEC)
        try:
            pid = os.fork()
        except OSError:
            os.close(tell)
        else:
            if pid == 0:
                os.close(tell)
                self._be_keeper(hear)
            self._waiting = pid, tell
        os.close(hear)

    def _be_keeper(self, hear: int) -> NoReturn:
        code = 1
        try:
            self._wake.close()
            notify = os.dup(1)
            null = os.open(os.devnull, os.O_RDWR)
            for descriptor in (0, 1, 2):
                os.dup2(null, descriptor)
            os.close(null)
            waiting = Waiting()
            name = waiting.hear(hear)
            if not name:
                os._exit(0)  # there will be no more commands
            folder = f"{self._commands_dir}/{name}"
            try:
                waiting.keep(folder)
                # said before the exit: tearing a process down takes longer than the runner should wait
                _say(notify, name)
                code = 0
            except Exception as error:  # noqa: BLE001 - a bug or a full disk: leave a word about it
                told = {"errno": getattr(error, "errno", None), "words": f"{type(error).__name__}: {error}"}
                write_file(f"{folder}/error", json.dumps(told).encode())
        finally:
            os._exit(code)

    def _reap(self) -> None:
        while True:
            try:
                pid, wait_status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if self._waiting is not None and pid == self._waiting[0]:
                os.close(self._waiting[1])
                self._waiting = None  # killed; the next line finds another
            name = self._keepers.pop(pid, None)
            if name is None:
                continue
            if wait_status != 0:
                self._kill_strays()
            _say(1, name)

    def _kill_strays(self) -> None:
        """A killed keeper's processes were handed to us, the next subreaper above it."""
        until = time.monotonic() + KILL_SECONDS
        while time.monotonic() < until:
            known = {*self._keepers, *(self._waiting or ())[:1]}
            strays = descendants(os.getpid(), without=known)
            if not strays:
                return
            kill_all(strays)
            for pid in strays:
                try:
                    os.waitpid(pid, os.WNOHANG)
                except ChildProcessError:
                    continue  # below another stray, whose end hands it to us
            time.sleep(0.001)


def _say(descriptor: int, name: str) -> None:
    _send(descriptor, f"done {name}\n")


def _send(descriptor: int, line: str) -> None:
    try:
        os.write(descriptor, os.fsencode(line))
    except (BrokenPipeError, BlockingIOError):
        return  # the runner is gone, or so far behind that it will look for itself


def main(commands_dir: str) -> None:
    """Detach (the caller's child exits at once), then serve."""
    if os.fork():
        os._exit(0)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    os.set_blocking(1, False)
    # once, for every keeper to come
    machine()
    prepare()
    Supervisor(commands_dir).serve()
