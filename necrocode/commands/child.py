"""The process that becomes a command: forked before it is known which, so that no command waits for that.

Standard library only: the supervisor imports it.
"""

from __future__ import annotations

# pathlib would double the start-up of the supervisor
import _socket
import fcntl
import marshal
import os
import signal
from contextlib import suppress

from necrocode.commands import seccomp
from necrocode.commands.confine import HeldSocket, confine, receive
from necrocode.commands.processes import PR_SET_PDEATHSIG, kill_all, prctl, process_start

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing costs a tenth of the start-up
    from collections.abc import Sequence
    from typing import Any, NoReturn

PIPE_BYTES = 1 << 18
_WORDS_BYTES = 4096
_ENDS = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1)


class Child:
    """Forked at once, it waits to be told what to :meth:`become`, and dies with its keeper, this process.

    ``passed``: descriptors that bubblewrap gets besides its own; they are closed here. ``output`` is where the
    command's output comes from, ``status`` what bubblewrap says of itself, ``script`` where the shell in its sandbox
    hears what it is to do (the first and the last do not block). ``started``: pid and start time. ``OSError``: no
    process can be made.
    """

    def __init__(self, passed: Sequence[int] = ()) -> None:
        keeper = os.getpid()
        #: What it has become, and the descriptor of its gate then; -1 if it has none.
        self.start: dict[str, Any] | None = None
        self.gate = -1
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
        self._end = ours.detach()
        self.output, output_writer = os.pipe2(os.O_CLOEXEC)
        self.status, status_writer = os.pipe2(os.O_CLOEXEC)
        script, self.script = os.pipe2(os.O_CLOEXEC)
        # over the user's limit for pipes the default size is only slower
        with suppress(OSError):
            fcntl.fcntl(self.output, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        os.set_blocking(self.output, False)
        os.set_blocking(self.script, False)
        try:
            self.pid = os.fork()
        except OSError:
            self._close()
            raise
        else:
            if self.pid == 0:
                os.close(self._end)
                os.close(self.script)
                _wait(theirs, keeper, output_writer, script, [status_writer, *passed])
        finally:
            for descriptor in (theirs.detach(), output_writer, status_writer, script, *passed):
                os.close(descriptor)
        # 0 where it is gone already: no process started then
        self.started = (self.pid, process_start(self.pid) or 0)

    def become(self, start: dict[str, Any]) -> str:
        """Have it confine itself and execute what ``start`` says: why that could not be done, empty if it could."""
        self.start, words = start, b""
        end, self._end = self._end, -1
        try:
            with HeldSocket(end) as told:
                told.sendall(marshal.dumps(start))
                told.shutdown(_socket.SHUT_WR)
                # until it is closed by the execution
                while True:
                    part, descriptor = receive(told, _WORDS_BYTES)
                    if descriptor >= 0:
                        self.gate = descriptor
                    elif part:
                        words += part
                    else:
                        break
        except ConnectionError:
            words = b"the process that was to become the command was killed"
        return words.decode("utf-8", "replace")

    def lives(self) -> bool:
        """Whether nothing has ended it yet."""
        return os.waitpid(self.pid, os.WNOHANG) == (0, 0)

    def dismiss(self) -> None:
        """End it, unused; whoever reaps this process's children reaps it."""
        kill_all([self.pid])
        self._close()

    def _close(self) -> None:
        for descriptor in (self._end, self.output, self.status, self.script, self.gate):
            if descriptor >= 0:
                os.close(descriptor)


def _wait(end: _socket.socket, keeper: int, output: int, script: int, passed: list[int]) -> NoReturn:
    """In the forked child: hear what to become, and become it, or say at ``end`` why not."""
    try:
        # a session of its own: `kill 0` in the command must not reach the keeper
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD, *_ENDS):
            signal.signal(number, signal.SIG_DFL)
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        os.dup2(output, 1)
        os.dup2(output, 2)
        told = b"".join(iter(lambda: end.recv(PIPE_BYTES), b""))
        if told and os.getppid() == keeper:
            _become(marshal.loads(told), end, script, passed)
    except BaseException as error:  # noqa: BLE001 - nothing may leave a forked child
        end.sendall(str(error).encode("utf-8", "replace")[:_WORDS_BYTES])
    finally:
        os._exit(1)


def _become(start: dict[str, Any], end: _socket.socket, script: int, passed: list[int]) -> NoReturn:
    argv: list[str] = start["argv"]
    if start["sandbox"] == "bubblewrap":
        os.dup2(script, 0)
        options = _in_memory(b"".join(os.fsencode(option) + b"\0" for option in start["bwrap_options"]))
        calls = _in_memory(seccomp.confining(namespaces=True, network=start["network"]))
        own = ["--args", str(options), "--json-status-fd", str(passed[0]), "--seccomp", str(calls)]
        argv = [argv[0], *own, "--", *argv[1:]]
        for descriptor in (options, calls, *passed):
            os.set_inheritable(descriptor, True)
    os.chdir(start["cwd"])
    confine(start, end)
    os.execve(argv[0], argv, start["env"])


def _in_memory(content: bytes) -> int:
    """A file that bubblewrap reads."""
    descriptor = os.memfd_create("bwrap")
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
