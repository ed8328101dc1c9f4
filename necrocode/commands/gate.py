"""The gate: a keeper's answers to the system calls of its command that the kernel asks it about.

Each new process or thread, so that a fork bomb comes to its limit, root's too. Where Landlock confines, changes of a
file's mode, owner or times, which it does not look at: the gate makes them itself, in the command's own folders. Where
Landlock is old, signals: they pass to the command's own processes. Where only listed hosts may be reached, connections:
the gate makes them itself, to the command's proxy alone. Standard library only: the supervisor imports it.
"""

from __future__ import annotations

# pathlib would double the start-up of the supervisor
# ruff: noqa: PTH101, PTH115, PTH123
import _socket
import ctypes
import errno
import fcntl
import os
import re
import stat
import struct
import time
from collections import deque

from necrocode.commands.confine import HeldSocket
from necrocode.commands.processes import descendants, tasks_below
from necrocode.commands.seccomp import ATTRIBUTES, CONNECTS, FORKS, SIGNALS, SYSCALLS

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing costs a tenth of the start-up
    from collections.abc import Sequence

_RECEIVE, _SEND, _STILL_ASKED = 0xC0502100, 0xC0182101, 0x40082102
_CONTINUE = 1
_ASKED = struct.Struct("QIIiIQ6Q")
_ANSWER = struct.Struct("QqiI")

_CWD = -100
_NOFOLLOW, _EMPTY_PATH = 0x100, 0x1000
_KEEP_ID = 0xFFFFFFFF
_NOW, _OMIT = 0x3FFFFFFF, 0x3FFFFFFE
_PATH_BYTES = 4096
_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.syscall.restype = ctypes.c_long
_PIDFD_GETFD = 438
_CONNECT_SECONDS = 1
"""The proxy takes a connection at once; nobody else is answered meanwhile."""
_OWN_DESCRIPTOR = re.compile(rb"/proc/(?:self|thread-self|\d+)/fd/(\d+)")

COUNT_SECONDS = 0.02
"""How often, at most, a command at its limit is counted again."""


LET_IN_SECONDS = 0.004
"""How long it may take, on a busy machine, until a process that was let in can be counted."""


class Gate:
    """Answers what the filter's ``descriptor`` asks about the processes below this one.

    ``max_tasks``: processes and threads that may live at once. ``places``: the command's own folders, real paths.
    ``proxy_port``: the one that it may connect to on 127.0.0.1; 0: none.
    """

    def __init__(self, descriptor: int, *, max_tasks: int, places: Sequence[str], proxy_port: int = 0) -> None:
        self.descriptor = descriptor
        self._proxy = struct.pack("=H", _socket.AF_INET) + struct.pack("!H4B", proxy_port, 127, 0, 0, 1)
        self._proxied = proxy_port > 0
        self._max_tasks = max_tasks
        self._places = [f"{os.fsdecode(place).rstrip('/')}/" for place in places]
        column = 1 if os.uname().machine == "aarch64" else 0
        self._names = {SYSCALLS[name][column]: name for name in (*FORKS, *ATTRIBUTES, *SIGNALS, *CONNECTS)}
        self._tasks = 1
        self._counted = 0.0
        self._let_in: deque[float] = deque(maxlen=max_tasks)

    def answer(self) -> None:
        """Answer one question, if there is one."""
        buffer = bytearray(_ASKED.size)
        try:
            fcntl.ioctl(self.descriptor, _RECEIVE, buffer)
        except OSError:
            return  # whoever asked is gone
        ident, pid, _, number, _, _, *arguments = _ASKED.unpack(buffer)
        name = self._names[number]
        flags = error = 0
        if name in FORKS:
            error = self._fork()
            flags = 0 if error else _CONTINUE
        elif name in SIGNALS:
            # its arguments are numbers: nobody can change them between the look and the call
            flags = _CONTINUE if self._to_its_own(pid, name, arguments[0]) else 0
            error = 0 if flags else errno.EPERM
        else:
            try:
                if name in CONNECTS:
                    self._connect(ident, pid, arguments)
                else:
                    self._attribute(ident, pid, name, arguments)
            except OSError as refusal:
                error = refusal.errno or errno.EPERM
        try:
            fcntl.ioctl(self.descriptor, _SEND, _ANSWER.pack(ident, 0, -error, flags))
        except OSError:
            return  # killed meanwhile

    def _fork(self) -> int:
        now = time.monotonic()
        if self._tasks >= self._max_tasks:
            # what was let in may have ended since
            if now < self._counted + COUNT_SECONDS:
                return errno.EAGAIN
            # and what was let in just now may not be there yet
            while self._let_in and self._let_in[0] < now - LET_IN_SECONDS:
                self._let_in.popleft()
            self._tasks, self._counted = tasks_below(os.getpid()) + len(self._let_in), now
            if self._tasks >= self._max_tasks:
                return errno.EAGAIN
        self._tasks += 1
        self._let_in.append(now)
        return 0

    # -- connections --

    def _connect(self, ident: int, pid: int, arguments: list[int]) -> None:
        """Connect a socket of the process to the proxy, by our own copy of the address: nobody changes that."""
        if not self._proxied or arguments[2] & _KEEP_ID < 16:
            raise PermissionError(errno.EACCES, "there is nobody to connect to")
        asker = _Asker(self.descriptor, ident, pid)
        if asker.memory(arguments[1], len(self._proxy)) != self._proxy:
            raise PermissionError(errno.EACCES, "not the proxy")
        with HeldSocket(asker.socket(arguments[0]), _socket.AF_INET) as end:
            level, option = _socket.SOL_SOCKET, _socket.SO_SNDTIMEO
            before = end.getsockopt(level, option, 16)
            end.setsockopt(level, option, struct.pack("ll", _CONNECT_SECONDS, 0))
            try:
                end.connect(("127.0.0.1", struct.unpack_from("!H", self._proxy, 2)[0]))
            finally:
                end.setsockopt(level, option, before)

    # -- signals --

    def _to_its_own(self, pid: int, name: str, target: int) -> bool:
        number = target & _KEEP_ID
        number -= (number & 1 << 31) << 1  # an int
        if name == "pidfd_send_signal":
            number = _field(f"/proc/{pid}/fdinfo/{number}", b"Pid:")
        elif name == "tkill":
            number = _field(f"/proc/{number}/status", b"Tgid:")
        if name == "kill" and number == 0:
            return True  # its own group: none of its processes is in a session of ours
        own = descendants(os.getpid())
        if name == "kill" and number < -1:
            return any(_group(one) == -number for one in own)
        return number > 0 and number in own

    # -- modes, owners, times --

    def _attribute(self, ident: int, pid: int, name: str, arguments: list[int]) -> None:
        asker = _Asker(self.descriptor, ident, pid)
        first, second, third, fourth, fifth = arguments[:5]
        if name == "chmod":
            self._chmod(asker.at(_CWD, first), second)
        elif name == "fchmod":
            self._chmod(asker.own(first), second)
        elif name == "fchmodat":
            self._chmod(asker.at(first, second), third)
        elif name == "fchmodat2":
            self._chmod(asker.at(first, second, fourth), third)
        elif name in ("chown", "lchown"):
            self._chown(asker.at(_CWD, first, _NOFOLLOW if name == "lchown" else 0), second, third)
        elif name == "fchown":
            self._chown(asker.own(first), second, third)
        elif name == "fchownat":
            self._chown(asker.at(first, second, fifth), third, fourth)
        elif name == "utimensat":
            place = asker.at(first, second, fourth) if second else asker.own(first)
            self._times(place, asker.numbers(third, 4, 1))
        elif name == "futimesat":
            self._times(asker.at(first, second), asker.numbers(third, 4, 1000))
        elif name == "utimes":
            self._times(asker.at(_CWD, first), asker.numbers(second, 4, 1000))
        elif name == "utime":
            times = asker.numbers(second, 2, 1)
            self._times(asker.at(_CWD, first), times and [times[0], 0, times[1], 0])

    def _chmod(self, place: int, mode: int) -> None:
        with _Held(self, place) as (path, found):
            if stat.S_ISLNK(found.st_mode):
                raise OSError(errno.EOPNOTSUPP, "a link has no mode")
            os.chmod(path, mode & 0o1777)

    def _chown(self, place: int, uid: int, gid: int) -> None:
        uid, gid = uid & _KEEP_ID, gid & _KEEP_ID
        with _Held(self, place) as (path, found):
            if uid not in (_KEEP_ID, found.st_uid):
                raise PermissionError(errno.EPERM, "only to oneself")
            if gid not in (_KEEP_ID, found.st_gid):
                if gid not in (os.getegid(), *os.getgroups()):
                    raise PermissionError(errno.EPERM, "only to a group of one's own")
                os.chown(path, -1, gid)

    def _times(self, place: int, times: list[int]) -> None:
        with _Held(self, place) as (path, found):
            now = time.time_ns()
            old = (found.st_atime_ns, found.st_mtime_ns)
            wanted = []
            for seconds, part, kept in zip(times[::2], times[1::2], old, strict=False):
                wanted.append(now if part == _NOW else kept if part == _OMIT else seconds * 10**9 + part)
            os.utime(path, ns=(wanted[0], wanted[1]) if wanted else (now, now))

    def check(self, place: int) -> os.stat_result:
        """What ``place`` is; ``PermissionError`` unless it lies in the command's folders and is this user's."""
        where = f"{os.readlink(f'/proc/self/fd/{place}').rstrip('/')}/"
        found = os.fstat(place)
        # not root's rights, where root keeps a command that has lost them
        if not where.startswith(tuple(self._places)) or found.st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, "not one of the command's own")
        return found


def _field(file: str, name: bytes) -> int:
    """A number out of a file of /proc; -1 if it is not there."""
    try:
        with open(file, "rb") as lines:
            return next((int(line.split()[1]) for line in lines if line.startswith(name)), -1)
    except (OSError, ValueError):
        return -1


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return -1


class _Held:
    """An open place for as long as it is changed: its path, which no rename changes, and what it is."""

    def __init__(self, gate: Gate, place: int) -> None:
        self._gate, self._place = gate, place

    def __enter__(self) -> tuple[str, os.stat_result]:
        try:
            found = self._gate.check(self._place)
        except BaseException:
            os.close(self._place)
            raise
        return f"/proc/self/fd/{self._place}", found

    def __exit__(self, *_: object) -> None:
        os.close(self._place)


class _Asker:
    """The process that asked: its memory, its folder, its descriptors."""

    def __init__(self, listener: int, ident: int, pid: int) -> None:
        self._listener, self._ident, self._pid = listener, ident, pid

    def at(self, folder: int, path_at: int, flags: int = 0) -> int:
        """Open, for changes only, what a path names that the process has in its memory."""
        path = self.memory(path_at, _PATH_BYTES, text=True).partition(b"\0")[0]
        folder = folder - (1 << 64) if folder >= 1 << 63 else folder
        folder = folder - (1 << 32) if 1 << 31 <= folder < 1 << 32 else folder
        own = _OWN_DESCRIPTOR.fullmatch(path)
        if own:
            return self.own(int(own[1]))
        if not path:
            if flags & _EMPTY_PATH:
                return self.own(folder)
            raise FileNotFoundError(errno.ENOENT, "an empty path")
        base = f"/proc/{self._pid}/cwd" if folder == _CWD else f"/proc/{self._pid}/fd/{folder}"
        start = os.open(base, os.O_PATH | os.O_CLOEXEC)
        try:
            return self._valid(
                os.open(path, os.O_PATH | os.O_CLOEXEC | (os.O_NOFOLLOW if flags & _NOFOLLOW else 0), dir_fd=start)
            )
        finally:
            os.close(start)

    def own(self, descriptor: int) -> int:
        """Open what a descriptor of the process leads to."""
        try:
            return self._valid(os.open(f"/proc/{self._pid}/fd/{descriptor & _KEEP_ID}", os.O_PATH | os.O_CLOEXEC))
        except FileNotFoundError as error:
            raise OSError(errno.EBADF, "no such descriptor") from error

    def socket(self, descriptor: int) -> int:
        """A copy of a descriptor of the process."""
        process = self._valid(os.pidfd_open(_field(f"/proc/{self._pid}/status", b"Tgid:")))
        try:
            copy = int(_LIBC.syscall(_PIDFD_GETFD, process, ctypes.c_int(descriptor & _KEEP_ID), 0))
        finally:
            os.close(process)
        if copy < 0:
            raise OSError(ctypes.get_errno(), "no such descriptor")
        return copy

    def numbers(self, at: int, count: int, factor: int) -> list[int]:
        """Seconds and parts of one from the process's memory; none where it gave none."""
        if not at:
            return []
        found = struct.unpack(f"{count}q", self.memory(at, 8 * count))
        return [value * factor if place % 2 else value for place, value in enumerate(found)]

    def memory(self, at: int, size: int, *, text: bool = False) -> bytes:
        """Up to ``size`` bytes of the process's memory; of ``text``, up to a NUL."""
        # up to the end of a page at a time: the next one may not be there
        memory = os.open(f"/proc/{self._pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
        try:
            found = b""
            while len(found) < size and not (text and b"\0" in found):
                part = min(size - len(found), 4096 - (at + len(found)) % 4096)
                try:
                    chunk = os.pread(memory, part, at + len(found))
                except OSError as error:
                    if found:
                        break
                    raise OSError(errno.EFAULT, "no such address") from error
                found += chunk
                if len(chunk) < part:
                    break
        finally:
            os.close(memory)
        return found

    def _valid(self, place: int) -> int:
        """``place``, if the process still waits for its answer: else its pid may be another's by now."""
        try:
            fcntl.ioctl(self._listener, _STILL_ASKED, struct.pack("Q", self._ident))
        except OSError:
            os.close(place)
            raise
        return place
