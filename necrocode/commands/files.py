"""Files of a command's folder as the supervisor writes them: the claim, whole files, bounded output.

Standard library only: the supervisor imports it.
"""

from __future__ import annotations

# pathlib would double the start-up of the supervisor
# ruff: noqa: PTH104, PTH108
import errno
import fcntl
import json
import os
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing costs a tenth of the start-up
    from typing import Any

VERSION = 1

ENDING_BYTES = 8192
"""At the beginning of ``output``, for how the command ended: it is there by the time that the file is ``result``."""


def take_claim(folder: str, content: dict[str, Any]) -> int | None:
    """Become the one who decides about the command in ``folder``: the open, locked claim file, or None if another is.

    The file appears complete and locked or not at all, and only once (a hard link refuses an existing name). The lock
    goes when its holder dies, however it dies. ``FileNotFoundError`` if there is no such folder.
    """
    draft = f"{folder}/.claim-{os.getpid()}-{os.urandom(6).hex()}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        write_all(descriptor, json.dumps(content).encode())
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
        write_all(descriptor, content)
    finally:
        os.close(descriptor)
    os.rename(draft, path)


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of ``data``."""
    # a nearly full disk takes a part, and says so only at the next write
    while data:
        data = data[os.write(descriptor, data) :]


class Reserved:
    """A file to be written later at ``path``, whose space on the disk is its own already.

    At the end of the ``with`` block it is closed, and gone if it was not put in its place. ``OSError`` if there is no
    room for ``size`` bytes.
    """

    def __init__(self, path: str, size: int) -> None:
        self._path = path
        self._draft = f"{path}.{os.getpid()}"
        self.descriptor = os.open(self._draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(self.descriptor, 0, max(1, size))
        except OSError as error:
            # a file system that can set nothing aside takes what it has room for by then
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                self.__exit__()
                raise

    def __enter__(self) -> Reserved:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)
        _unlink(self._draft)

    def place(self) -> None:
        """Give the file its name; it can be written on."""
        os.rename(self._draft, self._path)


class Capture:
    """Keeps the first and the last half of ``limit`` bytes of what is fed to it, from the present place on in the file
    ``descriptor``.

    The head goes there as it comes, so that even a lost command leaves it (with NULs behind it, where space was set
    aside), the tail at :meth:`finish`. What is longer than ``limit`` is also written, from its beginning, to a new
    file ``whole``: no more than ``whole_limit`` bytes of it, and none if there is no room on the disk.
    """

    def __init__(self, descriptor: int, limit: int, whole: str, whole_limit: int) -> None:
        self._descriptor = descriptor
        self._start = os.lseek(descriptor, 0, os.SEEK_CUR)
        self._whole = whole
        self._whole_room = whole_limit
        self._whole_descriptor = -1
        self._head_room = max(0, limit) // 2
        self._tail_limit = max(0, limit) - self._head_room
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0
        self.head_bytes = 0
        self.omitted = 0

    def feed(self, chunk: bytes) -> None:
        if self._head_room:
            head = chunk[: self._head_room]
            write_all(self._descriptor, head)
            self._head_room -= len(head)
            self.head_bytes += len(head)
            chunk = chunk[len(head) :]
        if not chunk:
            return
        if self._whole_descriptor >= 0:
            self._write_whole(chunk)
        elif self._tail_bytes + len(chunk) > self._tail_limit and self._whole_room > 0:
            self._begin_whole(chunk)
        self._tail.append(chunk)
        self._tail_bytes += len(chunk)
        while self._tail_bytes - len(self._tail[0]) >= self._tail_limit:
            gone = len(self._tail.popleft())
            self._tail_bytes -= gone
            self.omitted += gone
            if not self._tail:
                break

    def _begin_whole(self, chunk: bytes) -> None:
        """From here on something is left out: what came so far is still there."""
        try:
            self._whole_descriptor = os.open(self._whole, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        except OSError:
            self._whole_room = 0
            return
        self._write_whole(os.pread(self._descriptor, self.head_bytes, self._start))
        for part in (*self._tail, chunk):
            self._write_whole(part)

    def _write_whole(self, part: bytes) -> None:
        part = part[: self._whole_room]
        try:
            write_all(self._whole_descriptor, part)
            self._whole_room -= len(part)
        except OSError:
            # A disk that is full: the space for head and tail was set aside, this was not.
            self._whole_room = 0

    def finish(self) -> int:
        """Write the tail; returns its length in bytes."""
        if self._whole_descriptor >= 0:
            os.close(self._whole_descriptor)
        tail = b"".join(self._tail)
        cut = max(0, len(tail) - self._tail_limit)
        self.omitted += cut
        write_all(self._descriptor, tail[cut:])
        os.ftruncate(self._descriptor, self._start + self.head_bytes + len(tail) - cut)
        return len(tail) - cut


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
