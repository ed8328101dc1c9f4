"""Real processes die in memory, as they do in the campaign."""

from __future__ import annotations

from tests.memory import tmp_path

__all__ = ["tmp_path"]
