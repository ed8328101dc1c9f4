"""How much of the disk a command may take, watched by its keeper. Standard library only."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing costs a tenth of the start-up
    from typing import Any


class DiskBudget:
    """What is free where ``request["folder"]`` lies may fall by ``request["bytes"]`` at most, whoever takes it."""

    def __init__(self, request: dict[str, Any]) -> None:
        self._folder, self._bytes = str(request["folder"]), int(request["bytes"])
        self._free = self._now()
        self.spent = False

    @property
    def words(self) -> str:
        """Why the command was killed."""
        taken = self._bytes // (1024 * 1024)
        return f"the command was killed: {taken} MB of the disk were taken while it ran (max_disk_mb)"

    def exceeded(self) -> bool:
        """Whether it is used up; for good, once it was."""
        now = self._now()
        if self._free is not None and now is not None and self._free - now > self._bytes:
            self.spent = True
        return self.spent

    def _now(self) -> int | None:
        try:
            found = os.statvfs(self._folder)
        except OSError:
            return None  # unmounted, say: there is nothing to watch
        return found.f_bfree * found.f_frsize
