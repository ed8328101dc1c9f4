"""The script: what is answered at which place of a conversation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from necrocode.coder.condensing import answers_left_out

_ANSWER_KEYS = {"text", "tool_calls", "usage", "finish_reason", "delay_seconds", "faults", "always"}
_FAULT_KEYS = {"status", "headers", "body", "raw", "cut", "hang_seconds", "delay_seconds"}


def position_of(messages: Sequence[Mapping[str, Any]]) -> int:
    """The place in a conversation: how many answers the model has given in it, those included that were left out."""
    given = [message for message in messages if message.get("role") == "assistant"]
    return len(given) + answers_left_out(messages)


class ScriptError(ValueError):
    """The script is not one: the message names the place."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A failure to be played instead of an answer."""

    status: int = 200
    headers: Mapping[str, str] | None = None
    body: bytes = b""
    cut: bool = False
    hang_seconds: float | None = None
    delay_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model says at one place of the conversation."""

    text: str
    #: Name and arguments, the latter as text.
    tool_calls: tuple[tuple[str, str], ...]
    #: ``None``: the endpoint reports no usage. Prompt and completion tokens; negative: to be estimated.
    usage: tuple[int, int] | None
    finish_reason: str
    delay_seconds: float
    faults: tuple[Fault, ...]
    always: bool


@dataclass(frozen=True, slots=True)
class Conversation:
    """The answers of one conversation, in order."""

    when: str
    answers: tuple[Answer, ...]
    forever: bool

    def answer(self, position: int) -> Answer | None:
        """The answer to a request with ``position`` assistant messages; ``None`` past the end."""
        if position < len(self.answers):
            return self.answers[position]
        return self.answers[-1] if self.forever and self.answers else None


@dataclass(frozen=True, slots=True)
class Script:
    """A whole script. Its JSON form stands in the package's docstring."""

    model: str
    key: str | None
    conversations: tuple[Conversation, ...]

    @classmethod
    def load(cls, source: Path | str | Mapping[str, Any]) -> Script:
        """A script from its JSON document or from a file of it. :class:`ScriptError` says what is wrong with it."""
        if not isinstance(source, Mapping):
            try:
                source = json.loads(Path(source).read_text(encoding="utf-8"))
            except ValueError as error:
                raise ScriptError(f"{source} is not JSON: {error}") from error
        if not isinstance(source, Mapping):
            raise ScriptError("a script is a JSON object")
        _known(source, {"model", "key", "answers", "forever", "conversations"}, "the script")
        listed = source.get("conversations")
        if listed is None:
            listed = [{"when": "", "answers": source.get("answers"), "forever": source.get("forever", False)}]
        return cls(
            model=str(source.get("model", "scripted")),
            key=source.get("key"),
            conversations=tuple(_conversation(entry, f"conversation {n}") for n, entry in enumerate(listed)),
        )

    def conversation(self, messages: Sequence[Mapping[str, Any]]) -> Conversation | None:
        """The first conversation that is meant for ``messages``."""
        asked = "\n".join(str(message.get("content")) for message in messages if message.get("role") != "assistant")
        return next((entry for entry in self.conversations if entry.when in asked), None)


def _conversation(entry: Mapping[str, Any], where: str) -> Conversation:
    answers = entry.get("answers")
    if not isinstance(answers, list):
        raise ScriptError(f"{where}: answers is not a list")
    return Conversation(
        when=str(entry.get("when", "")),
        answers=tuple(_answer(answer, f"{where}, answer {n}") for n, answer in enumerate(answers)),
        forever=bool(entry.get("forever", False)),
    )


def _answer(entry: Any, where: str) -> Answer:
    if not isinstance(entry, Mapping):
        raise ScriptError(f"{where} is not an object")
    _known(entry, _ANSWER_KEYS, where)
    calls = tuple(_call(call, where) for call in entry.get("tool_calls") or ())
    usage = entry.get("usage", {})
    faults = tuple(_fault(fault, where) for fault in entry.get("faults") or ())
    if entry.get("always") and not faults:
        raise ScriptError(f"{where}: always needs a fault")
    return Answer(
        text=str(entry.get("text") or ""),
        tool_calls=calls,
        usage=None if usage is None else (usage.get("prompt_tokens", -1), usage.get("completion_tokens", -1)),
        finish_reason=str(entry.get("finish_reason") or ("tool_calls" if calls else "stop")),
        delay_seconds=float(entry.get("delay_seconds", 0)),
        faults=faults,
        always=bool(entry.get("always", False)),
    )


def _call(entry: Any, where: str) -> tuple[str, str]:
    if not isinstance(entry, Mapping) or "name" not in entry:
        raise ScriptError(f"{where}: a tool call needs a name")
    arguments = entry.get("arguments", {})
    return str(entry["name"]), arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)


def _fault(entry: Any, where: str) -> Fault:
    if not isinstance(entry, Mapping):
        raise ScriptError(f"{where}: a fault is not an object")
    _known(entry, _FAULT_KEYS, f"{where}, a fault")
    raw = entry.get("raw")
    body = raw if isinstance(raw, str) else json.dumps(entry.get("body", {}), ensure_ascii=False)
    hang = entry.get("hang_seconds")
    return Fault(
        status=int(entry.get("status", 200)),
        headers={str(name): str(value) for name, value in entry.get("headers", {}).items()},
        body=body.encode(),
        cut=bool(entry.get("cut", False)),
        hang_seconds=None if hang is None else float(hang),
        delay_seconds=float(entry.get("delay_seconds", 0)),
    )


def _known(entry: Mapping[str, Any], keys: set[str], where: str) -> None:
    unknown = sorted(set(entry) - keys)
    if unknown:
        raise ScriptError(f"{where} has unknown keys: {', '.join(unknown)}")
