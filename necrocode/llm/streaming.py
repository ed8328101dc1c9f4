"""Streamed answers: chunks put together to the completion that an endpoint without streams would have sent."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import httpx2
    import openai

Heard: TypeAlias = Callable[[int], None]
"""Told now and then how many characters of an answer have come."""

#: How often, at most.
TELL = timedelta(milliseconds=250)
#: Fields of a message that come in pieces of text.
_TEXTS = ("content", "refusal", "reasoning_content", "reasoning")


class Broken(Exception):
    """The stream ended before the answer did, or holds what is no chunk. The message says which."""


def read_stream(response: httpx2.Response, client: openai.OpenAI, heard: Heard) -> tuple[bytes, Iterator[bytes]]:
    """The whole answer as a completion's body, and what is still to be read of the response (usually its end mark).

    An error that comes in the stream is returned as endpoints send one without streams. :class:`Broken`, and what the
    transport raises.
    """
    import openai

    left = response.iter_bytes()
    whole, told = Whole(), time.monotonic()
    try:
        chunks: Iterator[object] = iter(openai.Stream(cast_to=object, response=_Held(response, left), client=client))  # type: ignore[arg-type]
        for chunk in chunks:
            whole.add(chunk)
            if time.monotonic() - told >= TELL.total_seconds():
                told = time.monotonic()
                heard(whole.characters)
    except (openai.APIStatusError, openai.APIConnectionError):
        raise
    except openai.APIError as error:
        return json.dumps({"error": error.body}).encode(), left
    except ValueError as error:
        raise Broken(f"a stream with a chunk that is not JSON ({error})") from None
    return json.dumps(whole.completion()).encode(), left


class Whole:
    """What has come of an answer so far."""

    def __init__(self) -> None:
        self.characters = 0
        self._head: dict[str, Any] = {}
        self._texts: dict[str, list[str]] = {}
        self._calls: list[dict[str, Any]] = []
        #: By the index that the endpoint gives.
        self._by_index: dict[int, dict[str, Any]] = {}
        self._finish_reason: str | None = None
        self._usage: Any = None
        self._chosen = False

    def add(self, chunk: object) -> None:
        """The next chunk. What is none of the form is passed over, as in answers that are not streamed."""
        if not isinstance(chunk, dict):
            return
        self._head = {**{name: chunk[name] for name in ("id", "model", "created") if name in chunk}, **self._head}
        self._usage = chunk.get("usage") or self._usage
        choices = chunk.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(choice, dict):
            return
        self._chosen = True
        self._finish_reason = choice.get("finish_reason") or self._finish_reason
        # some gateways send the last, or the only, chunk in the form of a whole message
        delta = choice.get("delta") or choice.get("message")
        if not isinstance(delta, dict):
            return
        for name in _TEXTS:
            piece = delta.get(name)
            if isinstance(piece, str) and piece:
                self._texts.setdefault(name, []).append(piece)
                self.characters += len(piece)
        calls = delta.get("tool_calls")
        for entry in calls if isinstance(calls, list) else ():
            if isinstance(entry, dict):
                self._add_call(entry)

    def completion(self) -> dict[str, Any]:
        """The completion. :class:`Broken` if its end has not come."""
        if self._chosen and self._finish_reason is None:
            raise Broken("a stream that ended in the middle of the answer")
        message: dict[str, Any] = {"role": "assistant", "content": None}
        message |= {name: "".join(pieces) for name, pieces in self._texts.items()}
        if self._calls:
            message["tool_calls"] = self._calls
        choices = [{"index": 0, "message": message, "finish_reason": self._finish_reason}] if self._chosen else []
        usage = {"usage": self._usage} if self._usage else {}
        return {**self._head, "object": "chat.completion", "choices": choices, **usage}

    def _add_call(self, entry: dict[str, Any]) -> None:
        function = entry.get("function")
        function = function if isinstance(function, dict) else {}
        call = self._call_of(entry)
        call["id"] = call["id"] or str(entry.get("id") or "")
        call["function"]["name"] = call["function"]["name"] or str(function.get("name") or "")
        piece = function.get("arguments")
        piece = json.dumps(piece, ensure_ascii=False) if isinstance(piece, dict) else piece
        if isinstance(piece, str):
            call["function"]["arguments"] += piece
            self.characters += len(piece)

    def _call_of(self, entry: dict[str, Any]) -> dict[str, Any]:
        """The call that a piece belongs to: by its index, else a new identity begins one, else it is the last one."""
        index, identity = entry.get("index"), entry.get("id")
        index = index if isinstance(index, int) else None
        if index is not None and index in self._by_index:
            known = self._by_index[index]
            # Some endpoints give every call the index 0: another identity is another call.
            if not identity or not known["id"] or identity == known["id"]:
                return known
        elif index is None and self._calls and (not identity or identity == self._calls[-1]["id"]):
            return self._calls[-1]
        call = {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
        self._calls.append(call)
        if index is not None:
            self._by_index[index] = call
        return call


class _Held:
    """A response whose reader does not close it: its connection can be used again once its end is read."""

    def __init__(self, response: httpx2.Response, content: Iterator[bytes]) -> None:
        self._content = content
        self.request = response.request

    def iter_bytes(self) -> Iterator[bytes]:
        # no generator: the end of one would close what is below it
        return map(bytes, self._content)

    def close(self) -> None:
        """The line closes it."""
