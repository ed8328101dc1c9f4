"""Landlock: the folders that a confined command reaches, told to the kernel. Standard library only."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing costs a tenth of the start-up
    from collections.abc import Iterable

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.syscall.restype = ctypes.c_long
#: The same numbers on every machine.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446

MIN_ABI = 3
"""Before it (Linux 6.2) files outside can be emptied."""
NETWORK_ABI = 4
"""Before it (Linux 6.7) it does not look at connections."""
SCOPED_ABI = 6
"""Before it (Linux 6.12) it does not look at signals."""

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_TRUNCATE, _IOCTL_DEV = 1 << 14, 1 << 15
_DEVICES = 1 << 6 | 1 << 11
"""Making them, which nobody needs."""
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
READ = _EXECUTE | _READ_FILE | _READ_DIR
LIST = _READ_DIR
DEVICE = _READ_FILE | _WRITE_FILE | _TRUNCATE | _IOCTL_DEV
WRITE = (1 << 15) - 1 & ~_DEVICES
_RIGHTS = {"read": READ, "list": LIST, "device": DEVICE, "write": WRITE}
_TCP = 0b11
_SCOPES = 0b11
"""Abstract Unix sockets, and signals."""


def abi() -> int:
    """The kernel's version of Landlock; 0 where there is none or it is switched off."""
    return max(0, int(_LIBC.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1)))


def restrict(places: Iterable[tuple[str, str]], *, network: bool, scoped: bool = True) -> None:
    """Confine this thread, and what it starts from now on, to ``places``; it must have no_new_privs set.

    A place is a right and a path: ``read`` (and execute), ``list`` (names only), ``device`` (a file, read and
    written), ``write`` (all of it). Paths that do not exist are passed over. ``scoped``: also from signals and
    abstract Unix sockets outside, if the kernel knows how. ``OSError``: it refuses.
    """
    version = abi()
    handled = (1 << (16 if version >= 5 else 15)) - 1
    attributes = struct.pack("QQQ", handled, 0 if network else _TCP, _SCOPES if scoped else 0)
    size = 24 if version >= SCOPED_ABI else 16 if version >= NETWORK_ABI else 8
    ruleset = _call(_CREATE_RULESET, attributes, ctypes.c_size_t(size), 0)
    try:
        for right, path in places:
            try:
                # behind a link is what it leads to now: the rule is about that
                place = os.open(path, os.O_PATH | os.O_CLOEXEC)
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ELOOP):
                    continue
                raise
            try:
                allowed = _RIGHTS[right] & handled
                if not stat.S_ISDIR(os.fstat(place).st_mode):
                    allowed &= _OF_FILES
                if allowed:
                    _call(_ADD_RULE, ruleset, 1, struct.pack("=Qi", allowed, place), 0)
            finally:
                os.close(place)
        _call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def scope() -> None:
    """Keep this thread, and what it starts from now on, from signals and abstract Unix sockets outside.

    It must have no_new_privs set. Nothing, where the kernel is too old; ``OSError``: it refuses.
    """
    if abi() < SCOPED_ABI:
        return
    ruleset = _call(_CREATE_RULESET, struct.pack("QQQ", 0, 0, _SCOPES), ctypes.c_size_t(24), 0)
    try:
        _call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _call(number: int, *arguments: object) -> int:
    result = int(_LIBC.syscall(number, *arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"Landlock: {os.strerror(code)}")
    return result
