"""What the operating system says about our files, in the engine's terms."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from necrocode.engine.errors import EnvironmentFault

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


@contextlib.contextmanager
def file_errors(path: Path, *, reason: str) -> Iterator[None]:
    """Turn an ``OSError`` about something at or below ``path`` into an :class:`EnvironmentFault`.

    ``reason`` is its ``stop_reason``, unless the disk is full (``disk_full``).
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise EnvironmentFault(
                f"no space left for {path}: free some, then resume", stop_reason="disk_full"
            ) from error
        words = error.strerror or str(error)
        where = f" ({error.filename!r})" if error.filename not in (None, str(path)) else ""
        raise EnvironmentFault(f"{path} cannot be read or written: {words}{where}", stop_reason=reason) from error
