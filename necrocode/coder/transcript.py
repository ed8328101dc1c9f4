"""The transcript: what was said, how long it is, and how it becomes shorter."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from necrocode.coder.condensing import REASONING, STEPS, condense
from necrocode.coder.tools.offer import TOOLS

FUNCTIONS = tuple(tool.as_function() for tool in TOOLS.values())
"""What stands before every transcript that goes to a model with tools."""

#: Tokens for a byte: what is assumed, and the most that is believed of what endpoints report.
_USUAL, _DENSEST = 1 / 4, 1 / 2
#: What may be left of a context window before the transcript is condensed, and to what part of the window it then is.
_ROOM = 4
_CONDENSED_TO = 2


class Transcript:
    """The messages of one conversation, in OpenAI's form, from the system prompt on."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self._bytes = 0
        self._digest = hashlib.sha256()
        self._density = _USUAL
        #: Steps of condensing since the last answer; beyond :data:`STEPS` there is none that helps.
        self._condensed = 0

    @property
    def digest(self) -> str:
        """Of all that was ever said, for audit."""
        return self._digest.hexdigest()[:16]

    @property
    def is_too_long(self) -> bool:
        """Whether it does not fit, condensed as far as it goes."""
        return self._condensed > STEPS

    @property
    def bytes(self) -> int:
        """Of a request with it."""
        return self._bytes + _FUNCTION_BYTES

    @property
    def tokens(self) -> int:
        """Of a request with it, as far as the last answer tells."""
        return int(self.bytes * self._density) + 1

    def append(self, message: dict[str, Any]) -> None:
        """The next message."""
        # counted and hashed once, as it comes: a replay of many turns must not write out the whole at each
        written = _written(message)
        self._bytes += len(written)
        self._digest.update(written)
        self.messages.append(message)

    def say(self, text: str) -> None:
        """The next message, of the user's."""
        # endpoints want their reasoning back while the model goes from call to call, and not beyond
        self.drop_reasoning()
        self.append({"role": "user", "content": text})

    def replace_system_prompt(self, text: str) -> None:
        """Another one, from now on."""
        self.messages[0] = {"role": "system", "content": text}
        self.drop_reasoning()

    def drop_reasoning(self) -> None:
        """Leave out what the model thought on its way."""
        found = [message.pop(name, None) for message in self.messages for name in REASONING]
        if any(found):
            self._count()

    def was_answered(self, tokens_in: int | None) -> None:
        """An endpoint took it; ``tokens_in`` is what it counted, if it did."""
        self._condensed = 0
        if tokens_in is not None:
            self._density = min(max(tokens_in / self.bytes, _USUAL), _DENSEST)

    def condense(self) -> None:
        """Go on to the next step that makes it shorter; beyond the last one it stays as it is."""
        before = self._bytes
        while self._condensed < STEPS and self._bytes >= before:
            condense(self.messages, self._condensed)
            self._condensed += 1
            self._count()
        if self._bytes >= before:
            self._condensed = STEPS + 1

    def fit(self, window: int, answer_tokens: int) -> int:
        """Have it fit a context window of so many tokens; returns how many of ``answer_tokens`` are left then."""
        wanted = min(answer_tokens, window // _ROOM)
        if window - self.tokens < wanted:
            while self._condensed <= STEPS and self.tokens > window // _CONDENSED_TO:
                self.condense()
            # half the window is better, a quarter will do
            self._condensed = STEPS + 1 if window - self.tokens < wanted else 0
        return min(answer_tokens, max(1, window - self.tokens))

    def _count(self) -> None:
        self._bytes = sum(len(_written(message)) for message in self.messages)


def canonical(value: Any) -> str:
    """``value`` as JSON, equal ones the same."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _written(value: Any) -> bytes:
    return canonical(value).encode("utf-8", "replace")


_FUNCTION_BYTES = len(_written(FUNCTIONS))
