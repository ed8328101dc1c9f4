"""Files below a directory descriptor: opened, read, written and removed without ever following a symbolic link."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator

TEMPORARY = ".~necrocode-"
"""Names that start so are ours, half-written when a process was killed: the next walk removes them."""

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: Deeper than this a tree is taken apart instead of descended into: descriptors and the stack are finite.
_DEPTH = 64


def open_directory(name: str | bytes | os.PathLike[str], dir_fd: int | None = None) -> int:
    """A descriptor of the directory; raises ``OSError`` if it is anything else, a symbolic link included.

    One that we own but may not list is made accessible first: a model that says ``chmod 0`` hides nothing.
    """
    try:
        descriptor = os.open(name, _DIRECTORY, dir_fd=dir_fd)
    except PermissionError:
        _make_accessible(name, dir_fd, 0o700)
        descriptor = os.open(name, _DIRECTORY, dir_fd=dir_fd)
    # It may be listed, but can what is in it be reached? Root never needs to ask.
    if os.geteuid() != 0 and (mode := os.fstat(descriptor).st_mode) & 0o500 != 0o500:
        with contextlib.suppress(PermissionError):
            os.fchmod(descriptor, stat.S_IMODE(mode) | 0o500)
    return descriptor


@contextlib.contextmanager
def directory(name: str | bytes | os.PathLike[str], dir_fd: int | None = None) -> Iterator[int]:
    """:func:`open_directory`, closed at the end."""
    descriptor = open_directory(name, dir_fd)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def read_file(name: str, dir_fd: int) -> tuple[bytes, os.stat_result]:
    """Content of a regular file and its state from before the first byte was read; ``OSError`` if it is none."""
    # O_NONBLOCK: a FIFO that took the file's place must not hang us.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(name, flags, dir_fd=dir_fd)
    except PermissionError:
        _make_accessible(name, dir_fd, 0o600)
        descriptor = os.open(name, flags, dir_fd=dir_fd)
    try:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise FileNotFoundError(errno.ENOENT, "no regular file any more", name)
        if state.st_size <= 65_536:
            content = os.read(descriptor, 65_537)
            if len(content) <= 65_536:
                return content, state
            parts = [content]
        else:
            parts = []
        while chunk := os.read(descriptor, 4 << 20):
            parts.append(chunk)
        return b"".join(parts), state
    finally:
        os.close(descriptor)


def write_file(name: str, content: bytes, dir_fd: int, *, executable: bool) -> None:
    """Put a regular file at ``name``, in one step; whatever but a directory was there is gone."""
    temporary = TEMPORARY + secrets.token_hex(8)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with _writable(dir_fd):
        descriptor = os.open(temporary, flags, 0o600, dir_fd=dir_fd)
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fchmod(descriptor, 0o755 if executable else 0o644)
        finally:
            os.close(descriptor)
        _move(temporary, name, dir_fd)


def write_link(name: str, target: bytes, dir_fd: int) -> None:
    """Put a symbolic link at ``name``, in one step; whatever but a directory was there is gone."""
    temporary = os.fsencode(TEMPORARY + secrets.token_hex(8))
    with _writable(dir_fd):
        os.symlink(target, temporary, dir_fd=dir_fd)
        _move(os.fsdecode(temporary), name, dir_fd)


def make_directory(name: str, dir_fd: int) -> None:
    """An empty directory at ``name``, where nothing is."""
    with _writable(dir_fd):
        os.mkdir(name, 0o755, dir_fd=dir_fd)


def unlink(name: str, dir_fd: int) -> None:
    """Remove anything but a directory; nothing there is fine."""
    with _writable(dir_fd), contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=dir_fd)


def remove_empty(name: str, dir_fd: int) -> bool:
    """Remove a directory if it is empty; whether it is gone."""
    with _writable(dir_fd):
        try:
            os.rmdir(name, dir_fd=dir_fd)
        except FileNotFoundError:
            return True
        except OSError:
            return False
    return True


def remove(name: str, dir_fd: int) -> None:
    """Remove whatever is at ``name``, a whole tree included; nothing there is fine."""
    queue = [name]
    while queue:
        _remove(queue.pop(), dir_fd, dir_fd, 0, queue)


def remove_content(dir_fd: int) -> None:
    """Empty the directory."""
    for name in names(dir_fd):
        remove(name, dir_fd)


def names(dir_fd: int) -> list[str]:
    """What is in the directory."""
    with os.scandir(dir_fd) as listing:
        return [item.name for item in listing]


def kind_of(name: str, dir_fd: int) -> int | None:
    """``stat.S_IFMT`` of what is at ``name``, ``None`` if nothing is."""
    try:
        return stat.S_IFMT(os.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _remove(name: str, dir_fd: int, top_fd: int, depth: int, queue: list[str]) -> None:
    kind = kind_of(name, dir_fd)
    if kind is None:
        return
    if kind != stat.S_IFDIR:
        unlink(name, dir_fd)
        return
    if depth >= _DEPTH:
        # Moved up and dealt with from there: neither paths nor recursion may grow with what a model made.
        moved = TEMPORARY + secrets.token_hex(8)
        with _writable(dir_fd):
            os.rename(name, moved, src_dir_fd=dir_fd, dst_dir_fd=top_fd)
        queue.append(moved)
        return
    with directory(name, dir_fd) as inner:
        for child in names(inner):
            _remove(child, inner, top_fd, depth + 1, queue)
    with _writable(dir_fd):
        os.rmdir(name, dir_fd=dir_fd)


def _move(temporary: str, name: str, dir_fd: int) -> None:
    try:
        os.rename(temporary, name, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=dir_fd)
        raise


@contextlib.contextmanager
def _writable(dir_fd: int) -> Iterator[None]:
    # Looked at only for people who can be refused: root never is.
    if os.geteuid() != 0 and not os.access(f"/proc/self/fd/{dir_fd}", os.W_OK | os.X_OK):
        with contextlib.suppress(OSError):
            os.fchmod(dir_fd, stat.S_IMODE(os.fstat(dir_fd).st_mode) | 0o700)
    yield


def _make_accessible(name: str | bytes | os.PathLike[str], dir_fd: int | None, mode: int) -> None:
    # O_PATH needs no permission on the file itself, and /proc/self/fd leads to that very file, never through a link.
    descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        state = os.fstat(descriptor)
        if stat.S_ISLNK(state.st_mode):
            raise PermissionError(f"{name!r} is a symbolic link")
        os.chmod(f"/proc/self/fd/{descriptor}", stat.S_IMODE(state.st_mode) | mode)  # noqa: PTH101
    finally:
        os.close(descriptor)
