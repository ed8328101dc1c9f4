"""What a command may take of the machine."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

_MEGABYTE = 1024 * 1024
_OPEN_FILES = 65_536


@dataclass(frozen=True, slots=True)
class CommandLimits:
    """Limits of one command; sizes in megabytes of 1,048,576 bytes."""

    #: Address space of each process; None: as much as there is.
    memory_mb: int | None = None
    #: Of a file.
    file_size_mb: int = 4096
    #: Processes and threads at once (not without a sandbox).
    processes: int = 2048
    #: What may vanish of the free space where the slot is, whoever takes it.
    disk_mb: int = 20_480
    #: 100 is one CPU; rounded up to whole ones. None: all.
    cpu_percent: int | None = None

    def to_request(self, timeout: timedelta) -> dict[str, Any]:
        """As :func:`necrocode.commands.confine.set_limits` and the keeper take them."""
        found: dict[str, Any] = {
            "file_bytes": self.file_size_mb * _MEGABYTE,
            "core_bytes": 0,
            "open_files": _OPEN_FILES,
            "tasks": self.processes,
            # all of its time on every CPU: only what outlives its keeper comes to it
            "cpu_seconds": math.ceil(timeout.total_seconds() * (os.cpu_count() or 1)) + 60,
        }
        if self.memory_mb is not None:
            found["memory_bytes"] = self.memory_mb * _MEGABYTE
        if self.cpu_percent is not None:
            found["cpus"] = math.ceil(self.cpu_percent / 100)
        return found

    @property
    def disk_bytes(self) -> int:
        """``disk_mb`` in bytes."""
        return self.disk_mb * _MEGABYTE
