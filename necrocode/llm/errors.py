"""What the LLM adapter can say beyond the engine's errors."""

from __future__ import annotations

from necrocode.engine.errors import Transient


class NotSpent(Transient):
    """The endpoint was not reached, or refused before it worked: this attempt cost nothing."""
