"""Files of a command's folder as the supervisor writes them: the claim, whole files, bounded output.

Standard library only: the supervisor imports it.
"""

from __future__ import annotations

# pathlib would double the start-up of the supervisor
# ruff: noqa: PTH104, PTH108
import fcntl
import json
import os
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing costs a tenth of the start-up
    from typing import Any

VERSION = 1


def take_claim(folder: str, content: dict[str, Any]) -> int | None:
    """Become the one who decides about the command in ``folder``: the open, locked claim file, or None if another is.

    The file appears complete and locked or not at all, and only once (a hard link refuses an existing name). The lock
    goes when its holder dies, however it dies. ``FileNotFoundError`` if there is no such folder.
    """
    draft = f"{folder}/.claim-{os.getpid()}-{os.urandom(6).hex()}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        _write_all(descriptor, json.dumps(content).encode())
        os.link(draft, f"{folder}/claim")
    except FileExistsError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    finally:
        _unlink(draft)
    return descriptor


def write_file(path: str, content: bytes) -> None:
    """Write a file that readers see whole or not at all.

    Not synced: after a power cut the files that the command wrote in the slot may be gone, so a result of an earlier
    boot is never believed, and a sync would buy nothing.
    """
    draft = f"{path}.{os.getpid()}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        _write_all(descriptor, content)
    finally:
        os.close(descriptor)
    os.rename(draft, path)


def _write_all(descriptor: int, data: bytes) -> None:
    # a nearly full disk takes a part, and says so only at the next write
    while data:
        data = data[os.write(descriptor, data) :]


class Capture:
    """Keeps the first and the last half of ``limit`` bytes of what is fed to it.

    The head goes to ``path`` as it comes, so that even a lost command leaves it, the tail at :meth:`finish`.
    """

    def __init__(self, path: str, limit: int) -> None:
        self._path = path
        self._head_room = max(0, limit) // 2
        self._tail_limit = max(0, limit) - self._head_room
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0
        self.head_bytes = 0
        self.omitted = 0

    def feed(self, chunk: bytes) -> None:
        if self._head_room:
            head = chunk[: self._head_room]
            self._append(head)
            self._head_room -= len(head)
            self.head_bytes += len(head)
            chunk = chunk[len(head) :]
        if not chunk:
            return
        self._tail.append(chunk)
        self._tail_bytes += len(chunk)
        while self._tail_bytes - len(self._tail[0]) >= self._tail_limit:
            gone = len(self._tail.popleft())
            self._tail_bytes -= gone
            self.omitted += gone
            if not self._tail:
                break

    def finish(self) -> int:
        """Write the tail; returns its length in bytes."""
        tail = b"".join(self._tail)
        cut = max(0, len(tail) - self._tail_limit)
        self.omitted += cut
        self._append(tail[cut:])
        return len(tail) - cut

    def _append(self, data: bytes) -> None:
        if data:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                _write_all(descriptor, data)
            finally:
                os.close(descriptor)


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
