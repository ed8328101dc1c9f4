"""Reads a chat completion's body, as endpoints really write it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from necrocode.engine.errors import EngineError
from necrocode.llm.faults import Endpoint, Reply, bad_answer, refusal
from necrocode.states.ports import ChatAnswer, ChatRequest, ToolCall


def read_answer(reply: Reply, request: ChatRequest, endpoint: Endpoint, model: str) -> ChatAnswer:
    """The answer in a 2xx reply.

    :class:`Transient` ``llm_bad_answer``: the body is no JSON, has no choices, or the first choice has no message. Some
    gateways answer 200 with an ``error`` that holds the real status: that one counts, as :func:`refusal` says.
    """
    try:
        body: Any = json.loads(reply.body)
    except ValueError:
        raise bad_answer("an answer that is not JSON", reply, endpoint) from None
    if not isinstance(body, dict):
        raise bad_answer("JSON that is not an object", reply, endpoint)
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices:
        raise _error_inside(body, reply, endpoint) or bad_answer("an answer without choices", reply, endpoint)
    choice = choices[0]
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        raise bad_answer("a choice without a message", reply, endpoint)
    text = _text(message)
    calls = _calls(message)
    tokens_in, tokens_out = _usage(body)
    estimated = tokens_in is None or tokens_out is None
    return ChatAnswer(
        text=text,
        tool_calls=calls,
        finish_reason=str(choice.get("finish_reason") or "stop"),
        tokens_in=estimate_request(request) if tokens_in is None else tokens_in,
        tokens_out=_estimate_answer(text, calls) if tokens_out is None else tokens_out,
        model=str(body.get("model") or model),
        estimated=estimated,
        reasoning={name: message[name] for name in _REASONING if isinstance(message.get(name), str) and message[name]},
        refusal=bool(message.get("refusal")) or choice.get("finish_reason") == "content_filter",
    )


_REASONING = ("reasoning_content", "reasoning")


def estimate_request(request: ChatRequest) -> int:
    """Tokens of a request at 4 bytes a token."""
    sent = [list(request.messages), list(request.tools)]
    return _tokens(len(json.dumps(sent, ensure_ascii=False).encode("utf-8", "replace")))


def _estimate_answer(text: str, calls: tuple[ToolCall, ...]) -> int:
    written = text + "".join(call.name + call.arguments for call in calls)
    return _tokens(len(written.encode("utf-8", "replace")))


def _tokens(size: int) -> int:
    return max(1, -(-size // 4))


def _error_inside(body: Mapping[str, Any], reply: Reply, endpoint: Endpoint) -> EngineError | None:
    error = body.get("error")
    code = error.get("code") if isinstance(error, dict) else None
    if isinstance(code, int) and 400 <= code <= 599:
        return refusal(Reply(code, reply.headers, reply.body), endpoint)
    return None


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        return "".join(part for part in parts if isinstance(part, str))
    if isinstance(content, str) and content:
        return content
    refused = message.get("refusal")
    return refused if isinstance(refused, str) else ""


def _calls(message: Mapping[str, Any]) -> tuple[ToolCall, ...]:
    listed = message.get("tool_calls")
    return tuple(_call(entry) for entry in listed) if isinstance(listed, list) else ()


def _call(entry: Any) -> ToolCall:
    # a call without a name is kept as such: the coder tells the model, and the model mends it
    entry = entry if isinstance(entry, dict) else {}
    function = entry.get("function")
    function = function if isinstance(function, dict) else {}
    arguments = function.get("arguments")
    if arguments is None:
        arguments = ""
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments, ensure_ascii=False)
    return ToolCall(id=str(entry.get("id") or ""), name=str(function.get("name") or ""), arguments=arguments)


def _usage(body: Mapping[str, Any]) -> tuple[int | None, int | None]:
    usage = body.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    return _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
