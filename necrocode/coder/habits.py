"""Habits that end a run: the same call again and again, malformed calls, words without calls, refused calls."""

from __future__ import annotations

import hashlib
import re
from collections import Counter

PLAIN_ANSWERS = 3
MALFORMED_CALLS = 3
SAME_CALLS_NUDGE = 4
SAME_CALLS_STUCK = 6
#: Answers in a row of which file tools refused calls and did none. A command that fails is no error: tests do, until
#: they pass.
ERRORS_NUDGE = 5
ERRORS_STUCK = 10


class Habits:
    """Counts what a model does over and over, within one attempt at the task. Reads no clock and no file."""

    def __init__(self) -> None:
        #: Why the run cannot go on; ``None`` while it can.
        self.stuck: str | None = None
        self._plain = 0
        self._malformed = 0
        #: Turns whose calls were refused since the last one that was not.
        self._refused: set[int] = set()
        #: Calls with their results since the files last changed.
        self._same: Counter[str] = Counter()

    def called(self) -> None:
        """An answer called a tool, or held edits."""
        self._plain = 0

    def carried_out(self) -> None:
        """A call was well formed."""
        self._malformed = 0

    def changed(self) -> None:
        """The files are not what they were: an earlier call may have another result now."""
        self._same.clear()

    def plain(self, text: str, *, refused: bool) -> int:
        """An answer without a call; how many in a row."""
        self._plain += 1
        if self._plain >= PLAIN_ANSWERS:
            what = "refused the task" if refused else "gave an answer without calling a tool"
            self.stuck = f"The model {what}, {self._plain} times in a row; the last: {text[:200]!r}"
        return self._plain

    def malformed(self, cause: str) -> int:
        """A call that cannot be carried out as it was written; how many in a row."""
        self._malformed += 1
        if self._malformed >= MALFORMED_CALLS:
            self.stuck = f"The model made {self._malformed} malformed calls in a row; the last: {cause}"
        return self._malformed

    def repeated(self, name: str, arguments: str, content: str) -> str:
        """A call, its arguments in canonical form and its result; what the model is told if that is nothing new."""
        # times differ from run to run, and are not what makes a result another one
        told = re.sub(r"\d+\.\d+", "#", content)
        key = hashlib.sha256(f"{name}\0{arguments}\0{told}".encode("utf-8", "replace")).hexdigest()
        self._same[key] += 1
        times = self._same[key]
        if times >= SAME_CALLS_STUCK:
            self.stuck = f"The model made the same call of {name} with the same result {times} times."
        if times >= SAME_CALLS_NUDGE:
            return f"\n\n(You have made this call {times} times with the same result. Do something else.)"
        return ""

    def ended(self, name: str, content: str, *, turn: int, ok: bool) -> str:
        """A call of the answer ``turn`` ended; what the model is told if calls are refused all the time."""
        if ok or name == "bash":
            self._refused.clear()
            return ""
        self._refused.add(turn)
        times = len(self._refused)
        if times >= ERRORS_STUCK:
            self.stuck = f"The calls of {times} answers in a row were refused; the last, of {name}: {content[:200]}"
        if times >= ERRORS_NUDGE:
            return f"\n\n(The calls of {times} answers in a row were refused. Read the files again.)"
        return ""
