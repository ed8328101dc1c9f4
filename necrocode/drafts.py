"""Files that are there as a whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from necrocode.engine.folders import sync_directory


def replace_file(path: Path, content: bytes, *, synced: bool = True, mode: int = 0o600, suffix: str = ".new") -> None:
    """Write ``content`` to ``path`` by way of a draft beside it; ``synced``: it survives a power cut, too.

    For files with one writer at a time: the draft's name (``path`` and ``suffix``) is always the same, so that one
    which a death left behind is written over by the next, and none is left for ever. Raises ``OSError``.
    """
    draft = path.with_name(path.name + suffix)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        if synced:
            os.fsync(file.fileno())
    draft.replace(path)
    if synced:
        sync_directory(path.parent)
