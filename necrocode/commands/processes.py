"""Processes as /proc shows them, and what a supervisor needs of the kernel.

Standard library only: the supervisor imports it.
"""

from __future__ import annotations

# pathlib would double the start-up of the supervisor
# ruff: noqa: PTH115, PTH123, PTH208
import ctypes
import os
import signal
from functools import lru_cache

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing costs a tenth of the start-up
    from collections.abc import Callable, Mapping
    from types import FrameType
    from typing import Any

#: How long killed processes may take to vanish; one in an uninterruptible sleep may never.
KILL_SECONDS = 30.0
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38

_LIBC = ctypes.CDLL(None, use_errno=True)


def descendants(root: int, without: set[int] | None = None) -> list[int]:
    """Every process below ``root`` now, nearest first; branches that start at a pid of ``without`` are left out."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (fields := _stat_fields(name)):
            children.setdefault(int(fields[1]), []).append(int(name))
    found: list[int] = []
    queue = [root]
    while queue:
        below = [pid for pid in children.get(queue.pop(0), []) if without is None or pid not in without]
        found += below
        queue += below
    return found


def tasks_below(root: int) -> int:
    """How many processes and threads there are below ``root`` now, and never fewer: at worst some of others' too."""
    found = {int(name): fields for name in os.listdir("/proc") if name.isdigit() and (fields := _stat_fields(name))}
    children: dict[int, list[int]] = {}
    queue = [root]
    for pid, fields in found.items():
        parent = int(fields[1])
        children.setdefault(parent, []).append(pid)
        if parent and parent not in found:
            queue.append(pid)  # its parent ended while we looked, and it may be handed to ``root`` by now
    tasks = 0
    while queue:
        pid = queue.pop()
        queue += children.get(pid, [])
        if pid != root:
            tasks += max(1, int(found[pid][17]))
    return tasks


def kill_all(pids: list[int]) -> None:
    """SIGKILL to each; those that are gone or not ours are passed over."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue


def process_start(pid: int) -> int | None:
    """Clock ticks after boot at which the process started; None if it does not live (any more)."""
    fields = _stat_fields(str(pid))
    return int(fields[19]) if fields and fields[0] not in ("Z", "X") else None


def _stat_fields(pid: str) -> list[str]:
    """Fields of /proc/PID/stat from the state on (the parent is the second, the start time the twentieth)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # the name may hold spaces and parentheses: fields are counted after the last ')'
            return file.read().rpartition(b")")[2].decode("ascii").split()
    except OSError:
        return []


def own_identity() -> dict[str, Any]:
    """This process in the form that ``ProcessIdentity.from_json`` reads."""
    return {"pid": os.getpid(), "start_time": process_start(os.getpid()) or 0} | machine()


@lru_cache(maxsize=1)
def machine() -> dict[str, str]:
    """What is the same for every process that is forked from this one: boot, PID namespace and host."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        boot_id = file.read().strip()
    return {
        "boot_id": boot_id,
        "pid_namespace": os.readlink("/proc/self/ns/pid"),
        "host": os.uname().nodename,
    }


def prctl(option: int, value: int) -> None:
    """prctl(2) with one argument; ``OSError`` if the kernel refuses."""
    if _LIBC.prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}): {os.strerror(number)}")


class WakePipe:
    """A pipe that becomes readable at each signal, so that one poll waits for everything."""

    def __init__(self, handlers: Mapping[int, Callable[[int, FrameType | None], None] | signal.Handlers]) -> None:
        self.descriptor, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number, handler in handlers.items():
            signal.signal(number, handler)

    def clear(self) -> None:
        try:
            while len(os.read(self.descriptor, 4096)) == 4096:
                continue
        except BlockingIOError:
            return

    def close(self) -> None:
        signal.set_wakeup_fd(-1)
        os.close(self.descriptor)
        os.close(self._writer)


def only_wake(_number: int, _frame: FrameType | None) -> None:
    """A signal needs a handler to reach the wake-up pipe."""
