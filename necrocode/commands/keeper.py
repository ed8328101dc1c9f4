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
import fcntl
import json
import os
import select
import signal
import time
from contextlib import ExitStack, suppress

from necrocode.commands import seccomp
from necrocode.commands.budget import DiskBudget
from necrocode.commands.confine import confine, gate_channel, receive_gate
from necrocode.commands.egress import Egress
from necrocode.commands.files import VERSION, Capture, Reserved, take_claim
from necrocode.commands.gate import Gate
from necrocode.commands.gitguard import GitGuard
from necrocode.commands.processes import (
    KILL_SECONDS,
    PR_SET_CHILD_SUBREAPER,
    PR_SET_PDEATHSIG,
    WakePipe,
    descendants,
    kill_all,
    only_wake,
    own_identity,
    prctl,
    process_start,
)

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing costs a tenth of the start-up
    from types import FrameType
    from typing import Any, NoReturn

#: How often a keeper looks for a ``stop`` file, and at the disk.
TICK_SECONDS = 0.25
PIPE_BYTES = 1 << 18
RESULT_BYTES = 4096
STARTED_BYTES = 64
PROBLEM_CHARACTERS = 500
"""Of what could not be executed and why: it fits into the result, however JSON writes it."""


class Keeper:
    """Owns one command from its claim to its result."""

    def __init__(self, folder: str, request: dict[str, Any], identity: dict[str, Any], *files: Reserved) -> None:
        self._folder = folder
        self._result, self._started, output = files
        self._request = request
        self._identity = identity
        self._asked: str | None = None
        self._child = 0
        self._code: int | None = None
        self._by_signal = False
        output.place()
        self._capture = Capture(
            output.descriptor, int(request["max_output_bytes"]), f"{folder}/whole", int(request["whole_output_bytes"])
        )
        self._output = -1
        self._bwrap_status = -1
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
            elif status == "exited" and self._bwrap_status >= 0 and not self._really_ran():
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
        """Fork and execute; None, or why it could not be executed."""
        argv: list[str] = list(self._request["argv"])
        egress = Egress(self._request) if self._request.get("hosts") else None
        passed: list[int] = []
        status_writer = -1
        if self._request["sandbox"] == "bubblewrap":
            options = os.memfd_create("bwrap-options")
            os.write(options, b"".join(os.fsencode(option) + b"\0" for option in self._request["bwrap_options"]))
            os.lseek(options, 0, os.SEEK_SET)
            self._bwrap_status, status_writer = os.pipe2(os.O_CLOEXEC)
            calls = os.memfd_create("bwrap-seccomp")
            os.write(calls, seccomp.confining(namespaces=True, network=self._request["network"]))
            os.lseek(calls, 0, os.SEEK_SET)
            passed = [options, status_writer, calls, *(egress.passed if egress else ())]
            own = ["--args", str(options), "--json-status-fd", str(status_writer), "--seccomp", str(calls)]
            argv = [argv[0], *own, "--", *argv[1:]]
        self._output, output_writer = os.pipe2(os.O_CLOEXEC)
        # over the user's limit for pipes the default size is only slower
        with suppress(OSError):
            fcntl.fcntl(self._output, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        os.set_blocking(self._output, False)
        problem_reader, problem_writer = os.pipe2(os.O_CLOEXEC)
        gate_reader, gate_writer = gate_channel()
        keeper = os.getpid()
        self._child = os.fork()
        if self._child == 0:
            _become(argv, self._request, keeper, output_writer, problem_writer, gate_writer, passed)
        for descriptor in (output_writer, problem_writer, gate_writer, *passed):
            os.close(descriptor)
        self._started.write(f"{self._child} {process_start(self._child)}".encode())
        with open(problem_reader, "rb") as file:
            problem = file.read().decode("utf-8", "replace")
        gate = receive_gate(gate_reader)
        if gate >= 0:
            places = self._request["landlock_places"]
            tasks = int(self._request["limits"]["tasks"])
            self._gate = Gate(gate, max_tasks=tasks, places=places, proxy_port=egress.port if egress else 0)
        if not problem:
            return None
        os.waitpid(self._child, 0)
        return problem

    def _watch(self, deadline: float) -> str:
        """Drain the output until the command ends, its time is over or its end is asked for; returns the status."""
        poller = select.poll()
        poller.register(self._output, select.POLLIN)
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
            chunk = os.read(self._output, PIPE_BYTES)
        except BlockingIOError:
            return True
        self._capture.feed(chunk)
        return bool(chunk)

    def _drain_rest(self) -> None:
        """What is still in the pipe. Its writers are dead, unless one passed it out of the tree: hence the bound."""
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            try:
                chunk = os.read(self._output, PIPE_BYTES)
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
            if pid == self._child and self._code is None:
                code = os.waitstatus_to_exitcode(wait_status)
                self._by_signal = code < 0
                self._code = code if code >= 0 else 128 - code

    def _kill_tree(self) -> None:
        until = time.monotonic() + KILL_SECONDS
        pause = 0.0005
        while self._reap():
            kill_all(descendants(os.getpid()))
            self._wake.clear()
            if self._output >= 0:
                self._drain()
            if not self._reap() or time.monotonic() >= until:
                return
            select.select([self._wake.descriptor], [], [], pause)
            pause = min(pause * 2, 0.05)

    def _really_ran(self) -> bool:
        """Whether bubblewrap got as far as executing the command: only then it reports an exit code."""
        with open(self._bwrap_status, "rb") as file:
            return b'"exit-code"' in file.read()


def _become(
    argv: list[str], request: dict[str, Any], keeper: int, output: int, problem: int, gate: int, passed: list[int]
) -> NoReturn:
    """In the forked child: turn into the command, or report why not on ``problem`` and exit."""
    try:
        # a session of its own: `kill 0` in the command must not reach the keeper
        os.setsid()
        for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, signal.SIG_DFL)
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != keeper:
            os._exit(1)
        os.dup2(output, 1)
        os.dup2(output, 2)
        for descriptor in passed:
            os.set_inheritable(descriptor, True)
        if request["cwd"] is not None:
            os.chdir(request["cwd"])
        confine(request, gate)
        os.execve(argv[0], argv, request["env"])
    except BaseException as error:  # noqa: BLE001 - nothing may leave a forked child
        os.write(problem, str(error).encode("utf-8", "replace")[:4096])
    os._exit(1)


def keep(folder: str) -> None:
    """The life of a keeper, in a process freshly forked by the supervisor."""
    os.setsid()
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    with ExitStack() as held:
        try:
            with open(f"{folder}/request.json", "rb") as file:
                request = json.load(file)
            # set aside before the claim: what finds no room was never begun
            sizes = {"result.json": RESULT_BYTES, "started": STARTED_BYTES, "output": int(request["max_output_bytes"])}
            files = [held.enter_context(Reserved(f"{folder}/{name}", size)) for name, size in sizes.items()]
            identity = own_identity()
            lock = take_claim(
                folder,
                {"version": VERSION, "by": "keeper", "run_id": request["run_id"], "command_id": request["command_id"]}
                | {"process": identity},
            )
        except FileNotFoundError:
            return  # settled and forgotten meanwhile
        if lock is not None:
            Keeper(folder, request, identity, *files).run()
