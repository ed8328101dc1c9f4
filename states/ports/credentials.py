"""Credentials, and the log that never holds one."""

from __future__ import annotations

from typing import Protocol


class Credentials(Protocol):
    """Holds loaded secrets and masks them everywhere else."""

    def mask(self, text: str) -> str:
        """``text`` with every loaded secret of 8 bytes or more, also base64-, URL- or JSON-escaped, as ``***``."""

    def found_in(self, content: bytes) -> str | None:
        """The *name* of a loaded secret that ``content`` holds verbatim or escaped, if any."""

    def wipe(self) -> None:
        """Drop every reference to the secrets of this run; masking of what was loaded must go on working for the
        log.
        """


class RunLog(Protocol):
    """The log of a run, as it stands."""

    def read(self, run_id: str) -> bytes:
        """JSON lines, masked; empty if nothing was logged."""
