"""Folders whose names, and those in them, survive a power cut: a name is on the disk once its folder was synced."""

from __future__ import annotations

import os
from pathlib import Path


def sync_directory(path: Path) -> None:
    """Make renames and new names in a directory survive a power cut. Raises ``OSError``."""
    _sync(path, os.O_DIRECTORY)


def make_folder(path: Path, *, mode: int = 0o700) -> Path:
    """``path``, made if missing, as are those above it; each new one is synced into its parent. Raises ``OSError``."""
    if not path.is_dir():
        make_folder(path.parent, mode=mode)
        path.mkdir(mode=mode, exist_ok=True)
        sync_directory(path.parent)
    return path


def sync_content(path: Path) -> None:
    """Make all that is in a directory survive a power cut: every file, every name. Raises ``OSError``."""
    for folder, _, names in os.walk(path):
        for name in names:
            _sync(Path(folder, name), os.O_NOFOLLOW)
        sync_directory(Path(folder))


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
