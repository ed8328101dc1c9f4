"""Condensing: how a conversation that is too long for the model becomes shorter, always the same way.

First the results and arguments of older messages are cut to their beginnings; if that is not enough, older answers are
left out altogether, with a line each that says what they did. The system prompt and the task always stay.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

#: How many of the newest messages stay whole, step by step.
SHORTEN = (20, 8, 3)
#: How many of the newest messages stay at all, once shortening is not enough.
LEAVE_OUT = (8, 3)
STEPS = len(SHORTEN) + len(LEAVE_OUT)
#: What endpoints call the reasoning in a message.
REASONING = ("reasoning_content", "reasoning")

_FIRST = 2
_SHORT = 200
_LINE = 120
_DIGEST = 4_000


def condense(messages: list[dict[str, Any]], step: int) -> None:
    """Do step ``step`` of :data:`STEPS` (from 0), in place: each takes away more than the one before."""
    if step < len(SHORTEN):
        _shorten(messages[_FIRST : max(_FIRST, len(messages) - SHORTEN[step])])
    else:
        _leave_out(messages, LEAVE_OUT[step - len(SHORTEN)])


def answers_left_out(messages: Sequence[Mapping[str, Any]]) -> int:
    """How many answers a condensed conversation no longer holds."""
    found = (_LEFT_OUT.search(str(message.get("content"))) for message in messages[_FIRST - 1 : _FIRST + 1])
    return sum(int(match[1]) for match in found if match)


_LEFT_OUT = re.compile(r"^\((\d+) of your earlier answers are left out to save space\. They did:\)", re.MULTILINE)


def _shorten(messages: Sequence[dict[str, Any]]) -> None:
    for message in messages:
        content = message.get("content") or ""
        if message["role"] in ("tool", "user") and len(content) > _SHORT and not _LEFT_OUT.match(content):
            message["content"] = f"{content[:_SHORT]}\n({len(content) - _SHORT} characters left out to save space)"
        for name in REASONING:
            message.pop(name, None)
        for call in message.get("tool_calls", ()):
            function = call["function"]
            if len(function["arguments"]) > 2 * _SHORT:
                function["arguments"] = json.dumps({"left_out": f"{len(function['arguments'])} characters"})


def _leave_out(messages: list[dict[str, Any]], keep: int) -> None:
    start = max(_FIRST, len(messages) - keep)
    # the results of an answer's calls cannot stand without it
    while start < len(messages) and messages[start]["role"] != "assistant":
        start += 1
    gone = messages[_FIRST:start]
    count = sum(message["role"] == "assistant" for message in gone)
    if not count:
        return
    before = answers_left_out(messages)
    lines = [line for message in gone for line in _lines(message)]
    kept: list[str] = []
    for line in reversed(lines):
        if sum(map(len, kept)) + len(line) > _DIGEST:
            break
        kept.insert(0, line)
    head = f"({before + count} of your earlier answers are left out to save space. They did:)"
    messages[_FIRST:start] = [{"role": "user", "content": "\n".join([head, *kept])}]


def _lines(message: Mapping[str, Any]) -> list[str]:
    """What is still told of a message that is left out."""
    content = str(message.get("content") or "")
    if _LEFT_OUT.match(content):
        return content.splitlines()[1:]
    calls = message.get("tool_calls")
    if calls:
        return [_line(f"- {call['function']['name']} {call['function']['arguments']}") for call in calls]
    if message["role"] == "assistant":
        return [_line(f"- {content}")]
    return [_line(f"  {content}")]


def _line(text: str) -> str:
    flat = " ".join(text.split())
    flat = text[: len(text) - len(text.lstrip())] + flat
    return flat if len(flat) <= _LINE else flat[: _LINE - 1] + "…"
