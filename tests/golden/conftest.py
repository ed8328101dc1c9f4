"""Golden runs are gone on with in memory."""

from __future__ import annotations

from tests.memory import tmp_path

__all__ = ["tmp_path"]
