"""The keeper: owns one command from its claim to its result. Standard library only: the supervisor forks it.

Signals to a keeper: SIGUSR1 asks for ``stopped``; SIGTERM, SIGINT and SIGHUP (the machine goes down) for
``interrupted``.

A command's folder holds ``request.json`` (from the runner), ``claim`` (who may decide about the command: a keeper, with
pid and start time of the command's first process, holds a lock on it while it lives), ``output`` (its space is set
aside before the claim: a disk that is full later loses neither the command's output nor how it ended), which is called
``result`` once it says how the command ended, ``stop`` (asks for the end from another PID namespace), ``error`` (what a
keeper died of), ``whole`` (the output, if more came than ``output`` may hold).
"""

from __future__ import annotations

# pathlib would double the start-up of the supervisor
# ruff: noqa: PTH104, PTH110, PTH123
import json
import os
import select
import signal
import time
from contextlib import ExitStack

from necrocode.commands.budget import DiskBudget
from necrocode.commands.child import PIPE_BYTES, Child
from necrocode.commands.egress import Egress
from necrocode.commands.files import ENDING_BYTES, VERSION, Capture, Reserved, take_claim
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
    from collections.abc import Sequence
    from types import FrameType
    from typing import Any

#: How often a keeper looks for a ``stop`` file, and at the disk.
TICK_SECONDS = 0.25
ENDING_SECONDS = 0.002
"""What ends by itself may take as long, before it is looked for and killed."""
PROBLEM_CHARACTERS = 500
"""Of what could not be executed and why: it fits into the result, however JSON writes it."""


class Keeper:
    """Owns one command from its claim to its result."""

    def __init__(
        self,
        folder: str,
        request: dict[str, Any],
        identity: dict[str, Any],
        sandbox: Sandbox,
        output: Reserved,
    ) -> None:
        self._folder = folder
        self._output = output
        self._request = request
        self._identity = identity
        self._asked: str | None = None
        self._sandbox = sandbox
        self._child = sandbox.child
        self._script = request["script"].encode("utf-8", "surrogateescape")
        self._code: int | None = None
        self._by_signal = False
        output.place()
        os.lseek(output.descriptor, ENDING_BYTES, os.SEEK_SET)
        self._capture = Capture(
            output.descriptor, int(request["max_output_bytes"]), f"{folder}/whole", int(request["whole_output_bytes"])
        )
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
        sandbox, status = self._request["start"]["sandbox"], "not_started"
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
            elif status == "exited" and sandbox == "bubblewrap" and not self._really_ran():
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
            "sandbox": sandbox,
        }
        os.pwrite(self._output.descriptor, json.dumps(result).ljust(ENDING_BYTES).encode(), 0)
        # readers see it whole or not at all; not synced: a result of an earlier boot is never believed
        os.rename(f"{self._folder}/output", f"{self._folder}/result")

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self._asked is None:
            self._asked = "stopped" if number == signal.SIGUSR1 else "interrupted"

    def _start(self) -> str | None:
        """Have the child become the command; None, or why it could not be executed."""
        problem = self._sandbox.set_up(self._request["start"], self._request["landlock_places"])
        if problem:
            os.waitpid(self._child.pid, 0)
            return problem
        self._tell_script()
        return None

    def _tell_script(self) -> None:
        """As much of it as can be told now. The shell does nothing before it has all of it."""
        try:
            while self._script:
                self._script = self._script[os.write(self._child.script, self._script) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._script = b""  # there is no shell: bubblewrap ends, and says why
        os.close(self._child.script)

    def _watch(self, deadline: float) -> str:
        """Drain the output until the command ends, its time is over or its end is asked for; returns the status."""
        poller = select.poll()
        poller.register(self._child.output, select.POLLIN)
        poller.register(self._wake.descriptor, select.POLLIN)
        gate = self._sandbox.gate
        if gate is not None:
            poller.register(gate.descriptor, select.POLLIN)
        if self._script:
            poller.register(self._child.script, select.POLLOUT)
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
                elif gate is not None and descriptor == gate.descriptor:
                    if event & select.POLLIN:
                        gate.answer()
                    else:
                        poller.unregister(descriptor)  # nobody is left to ask
                elif self._script and descriptor == self._child.script:
                    self._tell_script()
                    if not self._script:
                        poller.unregister(descriptor)
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
        self._wake.clear()
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


class Sandbox:
    """The process that becomes a command, and the gate of the sandbox that it is in by then."""

    def __init__(self, egress: Egress | None = None) -> None:
        self.child = Child(egress.passed if egress else ())
        self.gate: Gate | None = None
        self._proxy_port = egress.port if egress else 0

    def set_up(self, start: dict[str, Any], places: Sequence[str] = ()) -> str:
        """Have the child become what ``start`` says, unless it is that: why that could not be done, if it could not.

        Under bubblewrap that is a shell that waits for the command, else the command itself.
        """
        if self.child.start is not None:
            return ""
        problem = self.child.become(start)
        if self.child.gate >= 0:
            tasks = int(start["limits"]["tasks"])
            self.gate = Gate(self.child.gate, max_tasks=tasks, places=places, proxy_port=self._proxy_port)
        return problem

    def fits(self, start: dict[str, Any]) -> bool:
        """Whether a command that is to be started like this can have it."""
        return self.child.lives() and self.child.start in (None, start)


class Waiting:
    """A keeper that does not know its command yet, and has done what can be done before, in a process freshly forked by
    the supervisor.
    """

    def __init__(self) -> None:
        os.setsid()
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        self._identity = own_identity()
        try:
            self._sandbox: Sandbox | None = Sandbox()
        except OSError:
            self._sandbox = None  # tried again when it is needed

    def hear(self, descriptor: int) -> str:
        """The name of its command's folder, from the line ``run NAME``; empty if there will be none.

        At ``ahead START`` sets up what the next command is likely to start in.
        """
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        pending = b""
        while True:
            for ready, event in poller.poll():
                gate = self._sandbox.gate if self._sandbox is not None else None
                if ready != descriptor:
                    if gate is not None and event & select.POLLIN:
                        gate.answer()
                    else:
                        poller.unregister(ready)  # it has ended
                    continue
                data = os.read(descriptor, 65536)
                *lines, pending = (pending + data).split(b"\n")
                for line in lines:
                    word, _, rest = line.partition(b" ")
                    if word == b"run":
                        return os.fsdecode(rest)
                    gate = self._set_up(json.loads(rest))
                    if gate is not None:
                        poller.register(gate.descriptor, select.POLLIN)
                if not data:
                    return ""

    def _set_up(self, start: dict[str, Any]) -> Gate | None:
        """The gate, if there is a new one. What fails is tried again when it is needed, and said then."""
        if self._sandbox is None or self._sandbox.child.start is not None:
            return None
        self._sandbox.set_up(start)
        return self._sandbox.gate

    def keep(self, folder: str) -> None:
        """The rest of its life."""
        with ExitStack() as held:
            try:
                with open(f"{folder}/request.json", "rb") as file:
                    request = json.load(file)
                sandbox = self._sandbox_for(request)
                # set aside before the claim: what finds no room was never begun
                size = ENDING_BYTES + int(request["max_output_bytes"])
                output = held.enter_context(Reserved(f"{folder}/output", size))
                lock = take_claim(
                    folder,
                    {"version": VERSION, "by": "keeper", "run_id": request["run_id"]}
                    | {"command_id": request["command_id"], "process": self._identity}
                    | {"started": sandbox.child.started},
                )
            except FileNotFoundError:
                return  # settled and forgotten meanwhile
            if lock is not None:
                Keeper(folder, request, self._identity, sandbox, output).run()

    def _sandbox_for(self, request: dict[str, Any]) -> Sandbox:
        start = request["start"]
        if not start["hosts"] and self._sandbox is not None and self._sandbox.fits(start):
            return self._sandbox
        if self._sandbox is not None:
            self._sandbox.child.dismiss()
        # the proxy's descriptors must be there when the child is forked
        return Sandbox(Egress(request) if start["hosts"] else None)
