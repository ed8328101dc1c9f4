"""A small disk of its own for a stage: a tmpfs in a private mount namespace, to be filled or made read-only at will."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_HOLD = 'mkdir -p "$1" && mount -t tmpfs -o "size=$2" none "$1" && echo mounted && exec sleep infinity'


class Disk:
    """The file system at ``path`` as the processes see that are in its :attr:`namespaces`; nobody else does."""

    def __init__(self, path: Path, holder: int, prefix: tuple[str, ...], kinds: tuple[str, ...]) -> None:
        self.path = path
        #: What a command line starts with that is to see the disk.
        self.prefix = prefix
        #: What a process enters that is to see the disk.
        self.namespaces = tuple(f"/proc/{holder}/ns/{kind}" for kind in kinds)
        self._root = Path(f"/proc/{holder}/root")

    def inside(self, path: Path) -> Path:
        """``path`` as it can be reached from outside. Not for SQLite, which resolves links."""
        return self._root / path.relative_to("/")

    @property
    def _filler(self) -> Path:
        return self.inside(self.path) / "filler"

    def fill(self, *, leave_bytes: int = 0) -> None:
        """Take all of the space that is left, but so much."""
        size = os.statvfs(self.inside(self.path))
        room = size.f_bavail * size.f_frsize - leave_bytes
        descriptor = os.open(self._filler, os.O_WRONLY | os.O_CREAT)
        try:
            if room > 0:
                os.posix_fallocate(descriptor, os.fstat(descriptor).st_size, room)
        finally:
            os.close(descriptor)

    def free(self) -> None:
        """Give back what :meth:`fill` took."""
        self._filler.unlink()

    def remount(self, mode: str) -> None:
        """Make it ``ro`` or ``rw``."""
        subprocess.run([*self.prefix, "mount", "-o", f"remount,{mode}", self.path], check=True, capture_output=True)


@contextmanager
def small_disk(path: Path, *, size: str) -> Iterator[Disk]:
    """A disk of ``size`` (as mount takes it) at ``path``. The test is skipped where nothing can be mounted."""
    users = [] if os.geteuid() == 0 else ["--map-root-user"]
    holder = subprocess.Popen(
        ["unshare", *users, "--mount", "--propagation", "private", "sh", "-c", _HOLD, "sh", path, size],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None and holder.stderr is not None
    try:
        if holder.stdout.readline() != "mounted\n":
            pytest.skip(f"no file system can be mounted here, not even in a namespace: {holder.stderr.read().strip()}")
        user = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        prefix = ("nsenter", f"--target={holder.pid}", "--mount", *user, "--")
        yield Disk(path, holder.pid, prefix, ("mnt",) if os.geteuid() == 0 else ("user", "mnt"))
    finally:
        holder.kill()
        holder.communicate()
