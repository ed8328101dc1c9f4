"""The stop token: how a long wait learns that it should end."""

from __future__ import annotations

import threading
import time
from datetime import timedelta

from necrocode.engine.errors import StopSignal, Superseded


class StopToken:
    """Set once by whoever wants the work to end; looked at by whoever does it. Safe between threads, but not in a
    signal handler: there, hand the signal to another thread.

    A deadline, if one is given, counts on the monotonic clock.
    """

    __slots__ = ("_deadline", "_event", "_signal")

    #: One for all: it is held for a moment, and a token is made for every state.
    _lock = threading.Lock()

    def __init__(self) -> None:
        #: Made by the first wait: most tokens are only looked at.
        self._event: threading.Event | None = None
        self._signal: StopSignal | None = None
        self._deadline: tuple[float, StopSignal] | None = None

    def stop(self, signal: StopSignal) -> None:
        """Ask for the end. The first signal counts, but :class:`Superseded` beats every other."""
        with self._lock:
            if self._signal is None or isinstance(signal, Superseded):
                self._signal = signal
            if self._event is not None:
                self._event.set()

    def expire_after(self, remaining: timedelta, signal: StopSignal) -> None:
        """From ``remaining`` on, :meth:`check` raises ``signal``. A later call replaces the former deadline."""
        self._deadline = (time.monotonic() + remaining.total_seconds(), signal)

    def never_expire(self) -> None:
        """Forget the deadline."""
        self._deadline = None

    @property
    def signal(self) -> StopSignal | None:
        """The signal that was sent, or that the passed deadline stands for; ``None`` while work may go on."""
        if self._signal is None and self._deadline is not None and time.monotonic() >= self._deadline[0]:
            return self._deadline[1]
        return self._signal

    @property
    def remaining(self) -> timedelta | None:
        """Time left until the deadline (never negative), ``None`` if there is none."""
        if self._deadline is None:
            return None
        return timedelta(seconds=max(0.0, self._deadline[0] - time.monotonic()))

    def check(self) -> None:
        """Raise the signal, if one was sent or the deadline has passed."""
        signal = self.signal
        if signal is not None:
            # Raised again and again by every look: the traceback of the look before is no part of it.
            raise signal.with_traceback(None)

    def wait(self, duration: timedelta) -> bool:
        """Sleep up to ``duration``; wake early and return True if the work should end."""
        seconds = duration.total_seconds()
        left = self.remaining
        if left is not None:
            seconds = min(seconds, left.total_seconds())
        with self._lock:
            if self._event is None:
                self._event = threading.Event()
                if self._signal is not None:
                    self._event.set()
        self._event.wait(max(0.0, seconds))
        return self.signal is not None
