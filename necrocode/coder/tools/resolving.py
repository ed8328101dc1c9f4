"""Opens a path below a folder's descriptor, and nothing else: by ``openat2``, or by hand where that is missing.

The kernel resolves each path under ``openat2(RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS)`` (Linux 5.6). Where that is
missing (an older kernel, a seccomp filter) the path is walked one component at a time, each opened with ``O_NOFOLLOW``
relative to the descriptor of the one before, symbolic links resolved by hand: slower, and just as tight. A check of the
real path followed by an open is not: it loses against a link that is swapped in between.

Both raise ``OSError`` as :func:`os.open` does: ``EXDEV`` for a path that leaves, ``ELOOP`` for links without end.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import stat

_SYS_OPENAT2 = 437
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_BENEATH = 0x08
#: As the kernel's own limit on links in one path.
_MAX_LINKS = 40


def open_beneath(folder: int, path: str, flags: int) -> int:
    """A descriptor of ``path``, resolved below the descriptor ``folder`` by the kernel."""
    return _openat2(folder, path, flags, _RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS)


@functools.cache
def has_openat2() -> bool:
    """Whether this kernel lets us call ``openat2``."""
    fd = os.open("/", os.O_PATH | os.O_CLOEXEC)
    try:
        os.close(_openat2(fd, ".", os.O_PATH | os.O_CLOEXEC, _RESOLVE_BENEATH))
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def open_walking(folder: int, path: str, flags: int) -> int:
    """What :func:`open_beneath` does, by hand."""
    # the way from the folder to where we are
    stack = [os.dup(folder)]
    todo = [part for part in reversed(path.split("/")) if part not in ("", ".")]
    followed = 0
    try:
        while todo:
            part = todo.pop()
            if part == "..":
                if len(stack) == 1:
                    raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
                os.close(stack.pop())
                continue
            fd = os.open(part, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=stack[-1])
            kind = os.fstat(fd).st_mode
            if not stat.S_ISLNK(kind):
                if todo and not stat.S_ISDIR(kind):
                    os.close(fd)
                    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
                stack.append(fd)
                continue
            try:
                target = os.readlink("", dir_fd=fd)
            finally:
                os.close(fd)
            followed += 1
            if followed > _MAX_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            if target.startswith("/"):
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
            todo += [part for part in reversed(target.split("/")) if part not in ("", ".")]
        return _reopen(stack[-1], flags, path)
    finally:
        for fd in stack:
            os.close(fd)


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _openat2(at: int, path: str, flags: int, resolve: int) -> int:
    how = _OpenHow(flags, 0, resolve)
    for _ in range(64):
        fd = int(
            _libc().syscall(
                ctypes.c_long(_SYS_OPENAT2),
                ctypes.c_int(at),
                ctypes.c_char_p(os.fsencode(path)),
                ctypes.byref(how),
                ctypes.c_size_t(ctypes.sizeof(how)),
            )
        )
        if fd >= 0:
            return fd
        number = ctypes.get_errno()
        # EAGAIN: something was renamed while ".." was resolved and the kernel could not be sure
        if number not in (errno.EAGAIN, errno.EINTR):
            break
    raise OSError(number, os.strerror(number), path)


def _reopen(fd: int, flags: int, path: str) -> int:
    """``fd``, which was opened for its place only, opened for use: by the descriptor, never by name again."""
    if flags & os.O_DIRECTORY and not stat.S_ISDIR(os.fstat(fd).st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
    if flags & os.O_PATH:
        return os.dup(fd)
    return os.open(f"/proc/self/fd/{fd}", flags)
