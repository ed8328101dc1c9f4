"""Who a process is: enough to tell a live holder from a reused pid, a reboot or another PID namespace."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process, named so that it can be recognised later and elsewhere."""

    pid: int
    #: Clock ticks after boot at which it started (field 22 of /proc/PID/stat); 0 where there is no /proc.
    start_time: int
    #: The kernel's boot id.
    boot_id: str
    #: The PID namespace, as /proc/self/ns/pid names it.
    pid_namespace: str
    host: str

    @classmethod
    def current(cls) -> ProcessIdentity:
        """This process."""
        return _identity(os.getpid())

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> ProcessIdentity:
        """From what :meth:`to_json` gave. Raises ``KeyError`` or ``ValueError`` if it is something else."""
        return cls(
            pid=int(value["pid"]),
            start_time=int(value["start_time"]),
            boot_id=str(value["boot_id"]),
            pid_namespace=str(value["pid_namespace"]),
            host=str(value["host"]),
        )

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)

    def is_alive(self) -> bool | None:
        """Whether the process lives; ``None`` if that cannot be told from here (another host or PID namespace, or a
        process that /proc hides).
        """
        here = ProcessIdentity.current()
        if self.boot_id != here.boot_id:
            # The same host under another boot id was rebooted; another host's processes can't be seen.
            return False if self.host == here.host else None
        if self.pid_namespace != here.pid_namespace:
            return None
        state, start_time = _stat(self.pid)
        if not state:
            return _may_be_alive(self.pid)
        return start_time == self.start_time and state not in ("Z", "X")

    def kill(self, timeout: timedelta) -> bool:
        """End the process with SIGKILL and wait until it is gone; False if it is not ours to end or is still there.

        Works on a stopped process. Never hits another process that got the same pid: the pidfd is taken first and the
        identity checked after.
        """
        if self.is_alive() is None or not hasattr(os, "pidfd_open"):
            return False
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return True
        try:
            if (alive := self.is_alive()) is not True:
                return alive is False
            try:
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            except ProcessLookupError:
                return True
            except PermissionError:
                return False
            ended = select.poll()
            ended.register(descriptor, select.POLLIN)
            return bool(ended.poll(timeout.total_seconds() * 1000))
        finally:
            os.close(descriptor)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


@lru_cache(maxsize=4)
def _identity(pid: int) -> ProcessIdentity:
    # Cached by pid, so that a fork gets its own.
    return ProcessIdentity(
        pid=pid,
        start_time=_stat(pid)[1],
        boot_id=_first_line("/proc/sys/kernel/random/boot_id"),
        pid_namespace=_link("/proc/self/ns/pid"),
        host=socket.gethostname(),
    )


def _stat(pid: int) -> tuple[str, int]:
    """State letter and start time; ("", 0) if there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return "", 0
    # The command name may hold spaces and parentheses: fields are counted after the last ')'.
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[19])


def _may_be_alive(pid: int) -> bool | None:
    """False if there is no such process; ``None`` if there is one that /proc hides, or no /proc at all."""
    with contextlib.suppress(PermissionError):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
    return None


def _first_line(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _link(path: str) -> str:
    try:
        return str(Path(path).readlink())
    except OSError:
        return ""
