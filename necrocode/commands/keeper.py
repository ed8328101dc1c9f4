"""The keeper: owns one command from its claim to its result. Standard library only: the supervisor forks it.

Signals to a keeper: SIGUSR1 asks for ``stopped``; SIGTERM, SIGINT and SIGHUP (the machine goes down) for
``interrupted``.

A command's folder holds ``request.json`` (from the runner), ``claim`` (who may decide about the command; its keeper
holds a lock on it while it lives), ``started`` (pid and start time of the command), ``output``, ``result.json`` (the
space for these three is set aside before the claim: a disk that is full later loses neither the command's output nor
how it ended), ``stop`` (asks for the end from another PID namespace), ``error`` (what a keeper died of), ``whole`` (the
output, if more came than ``output`` may hold).
"""

from __future__ import annotations

# pathlib would double the start-up of the supervisor
# ruff: noqa: PTH110, PTH123
import json
import os
import select
import signal
import time
from contextlib import ExitStack

from necrocode.commands.budget import DiskBudget
from necrocode.commands.child import PIPE_BYTES, Child
from necrocode.commands.egress import Egress
from necrocode.commands.files import VERSION, Capture, Reserved, take_claim
from necrocode.commands.gate import Gate
from necrocode.commands.gitguard import GitGuard
from necrocode.commands.processes import (
    KILL_SECONDS,
    PR_SET_CHILD_SUBREAPER,
    WakePipe,
    descendants,
    kill_all,
    only_wake,
    own_identity,
    prctl,
)

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing costs a tenth of the start-up
    from types import FrameType
    from typing import Any

#: How often a keeper looks for a ``stop`` file, and at the disk.
TICK_SECONDS = 0.25
RESULT_BYTES = 4096
STARTED_BYTES = 64
ENDING_SECONDS = 0.002
"""What ends by itself may take as long, before it is looked for and killed."""
PROBLEM_CHARACTERS = 500
"""Of what could not be executed and why: it fits into the result, however JSON writes it."""


class Keeper:
    """Owns one command from its claim to its result."""

    def __init__(
        self, folder: str, request: dict[str, Any], identity: dict[str, Any], child: Child, *files: Reserved
    ) -> None:
        self._folder = folder
        self._result, self._started, output = files
        self._request = request
        self._identity = identity
        self._asked: str | None = None
        self._child = child
        self._code: int | None = None
        self._by_signal = False
        output.place()
        self._capture = Capture(
            output.descriptor, int(request["max_output_bytes"]), f"{folder}/whole", int(request["whole_output_bytes"])
        )
        self._gate: Gate | None = None
        self._disk = DiskBudget(request["disk"])
        self._guard = GitGuard(request["git_guard"], folder)
        self._wake = WakePipe(
            {
                signal.SIGCHLD: only_wake,
                signal.SIGUSR1: self._on_signal,
                signal.SIGTERM: self._on_signal,
                signal.SIGINT: self._on_signal,
                signal.SIGHUP: self._on_signal,
            }
        )

    def run(self) -> None:
        """Start the command, wait for its end, leave nothing behind, write the result."""
        began = time.monotonic()
        status = "not_started"
        try:
            self._guard.keep()
            problem = self._start()
            if problem is None:
                status = self._watch(began + float(self._request["timeout"]))
        finally:
            ended = time.monotonic()
            self._kill_tree()
            self._guard.put_back()
        if problem is None:
            self._drain_rest()
            if self._disk.spent:
                self._code, problem = 128 + signal.SIGKILL, self._disk.words
            elif status == "exited" and self._request["sandbox"] == "bubblewrap" and not self._really_ran():
                # a signal: somebody killed bubblewrap itself, perhaps long after the command began
                status = "interrupted" if self._by_signal else "not_started"
                problem = "bubblewrap was killed" if self._by_signal else "bubblewrap could not set the sandbox up"
        tail_bytes = self._capture.finish()
        result = {
            "version": VERSION,
            "boot_id": self._identity["boot_id"],
            "status": status,
            "exit_code": self._code if status == "exited" else None,
            "duration": ended - began,
            "head_bytes": self._capture.head_bytes,
            "tail_bytes": tail_bytes,
            "omitted_bytes": self._capture.omitted,
            "problem": problem and problem[:PROBLEM_CHARACTERS],
            "sandbox": self._request["sandbox"],
        }
        self._result.write(json.dumps(result).encode())

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self._asked is None:
            self._asked = "stopped" if number == signal.SIGUSR1 else "interrupted"

    def _start(self) -> str | None:
        """Have the child become the command; None, or why it could not be executed."""
        egress = Egress(self._request) if self._request.get("hosts") else None
        if egress:
            # the one that was forked ahead does not have its descriptors
            self._child.dismiss()
            self._child = Child(egress.passed)
        self._started.write(self._child.identity.encode())
        problem, gate = self._child.become(self._request)
        if gate >= 0:
            places = self._request["landlock_places"]
            tasks = int(self._request["limits"]["tasks"])
            self._gate = Gate(gate, max_tasks=tasks, places=places, proxy_port=egress.port if egress else 0)
        if not problem:
            return None
        os.waitpid(self._child.pid, 0)
        return problem

    def _watch(self, deadline: float) -> str:
        """Drain the output until the command ends, its time is over or its end is asked for; returns the status."""
        poller = select.poll()
        poller.register(self._child.output, select.POLLIN)
        poller.register(self._wake.descriptor, select.POLLIN)
        gate = -1
        if self._gate is not None:
            gate = self._gate.descriptor
            poller.register(gate, select.POLLIN)
        stop_file = f"{self._folder}/stop"
        next_tick = time.monotonic() + TICK_SECONDS
        while True:
            now = time.monotonic()
            if now >= next_tick:
                next_tick = now + TICK_SECONDS
                if os.path.exists(stop_file):
                    return "stopped"
                if self._disk.exceeded():
                    return "exited"
            if self._asked is not None:
                return self._asked
            if now >= deadline:
                return "timeout"
            for descriptor, event in poller.poll(max(0.0, min(deadline, next_tick) - now) * 1000 + 1):
                if descriptor == self._wake.descriptor:
                    self._wake.clear()
                elif self._gate is not None and descriptor == gate:
                    if event & select.POLLIN:
                        self._gate.answer()
                    else:
                        poller.unregister(descriptor)  # nobody is left to ask
                elif not self._drain():
                    poller.unregister(descriptor)
            # not only after a wake-up: the signal may have come before the first poll
            self._reap()
            if self._code is not None:
                return "exited"

    def _drain(self) -> bool:
        """Take one chunk of output; False at its end."""
        try:
            chunk = os.read(self._child.output, PIPE_BYTES)
        except BlockingIOError:
            return True
        self._capture.feed(chunk)
        return bool(chunk)

    def _drain_rest(self) -> None:
        """What is still in the pipe. Its writers are dead, unless one passed it out of the tree: hence the bound."""
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            try:
                chunk = os.read(self._child.output, PIPE_BYTES)
            except BlockingIOError:
                return
            if not chunk:
                return
            self._capture.feed(chunk)

    def _reap(self) -> bool:
        """Collect what has ended; False when no child is left: then a subreaper has no descendants either."""
        while True:
            try:
                pid, wait_status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self._child.pid and self._code is None:
                code = os.waitstatus_to_exitcode(wait_status)
                self._by_signal = code < 0
                self._code = code if code >= 0 else 128 - code

    def _kill_tree(self) -> None:
        until = time.monotonic() + KILL_SECONDS
        pause = 0.0005
        if self._reap():
            # bubblewrap tells the exit code before the last of its processes is gone, and looking for them takes longer
            select.select([self._wake.descriptor], [], [], ENDING_SECONDS)
        while self._reap():
            kill_all(descendants(os.getpid()))
            self._wake.clear()
            self._drain()
            if not self._reap() or time.monotonic() >= until:
                return
            select.select([self._wake.descriptor], [], [], pause)
            pause = min(pause * 2, 0.05)

    def _really_ran(self) -> bool:
        """Whether bubblewrap got as far as executing the command: only then it reports an exit code."""
        with open(self._child.status, "rb") as file:
            return b'"exit-code"' in file.read()


class Waiting:
    """A keeper that does not know its command yet, and has done what can be done before, in a process freshly forked by
    the supervisor.
    """

    def __init__(self) -> None:
        os.setsid()
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        self._identity = own_identity()
        try:
            self._child: Child | None = Child()
        except OSError:
            self._child = None  # tried again when it is needed

    def keep(self, folder: str) -> None:
        """The rest of its life."""
        child = self._child if self._child is not None and self._child.lives() else Child()
        with ExitStack() as held:
            try:
                with open(f"{folder}/request.json", "rb") as file:
                    request = json.load(file)
                # set aside before the claim: what finds no room was never begun
                sizes = {"result.json": RESULT_BYTES, "started": STARTED_BYTES}
                sizes["output"] = int(request["max_output_bytes"])
                files = [held.enter_context(Reserved(f"{folder}/{name}", size)) for name, size in sizes.items()]
                lock = take_claim(
                    folder,
                    {"version": VERSION, "by": "keeper", "run_id": request["run_id"]}
                    | {"command_id": request["command_id"], "process": self._identity},
                )
            except FileNotFoundError:
                return  # settled and forgotten meanwhile
            if lock is not None:
                Keeper(folder, request, self._identity, child, *files).run()
