"""What the operating system says about our files, in the engine's terms, with the way out."""

from __future__ import annotations

import contextlib
import errno
import re
from collections.abc import Iterator
from pathlib import Path

from necrocode.engine.errors import EnvironmentFault
from necrocode.states.ports import DISK_TROUBLE

_FULL, _READ_ONLY, _BROKEN = DISK_TROUBLE
_TROUBLE = {
    errno.ENOSPC: (_FULL, "no space left for {}: free some, then resume"),
    errno.EDQUOT: (_FULL, "no space left for {} (a quota): free some or raise it, then resume"),
    errno.EFBIG: (_FULL, "a limit on the size of files stops {}: raise it (ulimit -f), then resume"),
    errno.EROFS: (_READ_ONLY, "{} is on a read-only file system: mount it writable, then resume"),
    errno.EIO: (_BROKEN, "the disk fails under {} (I/O error): see the system's log, then resume"),
}
_WORDS = (
    ("No space left", errno.ENOSPC),
    ("quota exceeded", errno.EDQUOT),
    ("File too large", errno.EFBIG),
    ("Read-only file system", errno.EROFS),
    ("Input/output error", errno.EIO),
)


def disk_trouble(path: Path, error: Exception) -> EnvironmentFault | None:
    """What ``error`` means, if it tells of a disk that is full, read-only or broken; ``path``: where that is.

    Libraries that have no number for it (libgit2, git) are taken by their words.
    """
    number = getattr(error, "errno", None)
    if number is None:
        said = str(error)
        number = next((number for words, number in _WORDS if re.search(words, said, re.IGNORECASE)), None)
    if number not in _TROUBLE:
        return None
    reason, words = _TROUBLE[number]
    return EnvironmentFault(words.format(path), stop_reason=reason)


@contextlib.contextmanager
def file_errors(path: Path, *, reason: str) -> Iterator[None]:
    """Turn an ``OSError`` about something at or below ``path`` into an :class:`EnvironmentFault`.

    ``reason`` is its ``stop_reason``, unless the disk is in trouble (:func:`disk_trouble`).
    """
    try:
        yield
    except OSError as error:
        trouble = disk_trouble(path, error)
        if trouble is not None:
            raise trouble from error
        words = error.strerror or str(error)
        where = f" ({error.filename!r})" if error.filename not in (None, str(path)) else ""
        raise EnvironmentFault(f"{path} cannot be read or written: {words}{where}", stop_reason=reason) from error
