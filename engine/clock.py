"""The clock of one epoch: wall time that never jumps while the process lives."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta


class EpochClock:
    """Starts at the wall clock's time and goes on with the monotonic clock.

    Differences between entries of one epoch are therefore true durations, whatever happens to the wall clock.
    """

    def __init__(self) -> None:
        self._monotonic = time.monotonic_ns()
        self._ahead = time.time_ns() - self._monotonic

    def microseconds(self) -> int:
        """Microseconds since the epoch, UTC."""
        return (self._ahead + time.monotonic_ns()) // 1000

    def now(self) -> datetime:
        """The same as an aware datetime."""
        return datetime.fromtimestamp(self.microseconds() / 1_000_000, UTC)

    @property
    def elapsed(self) -> timedelta:
        """Since this clock was started."""
        return timedelta(microseconds=(time.monotonic_ns() - self._monotonic) // 1000)
