"""The model: one question, one whole answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol

from necrocode.engine.stop import StopToken


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One request to a chat-completions endpoint. Messages and tools are in OpenAI's JSON form."""

    messages: Sequence[Mapping[str, Any]]
    tools: Sequence[Mapping[str, Any]] = ()
    max_tokens: int = 4000
    response_format: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call that the model asked for; ``arguments`` as it wrote them (perhaps broken JSON)."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """One answer of the model."""

    text: str
    tool_calls: tuple[ToolCall, ...]
    finish_reason: str
    tokens_in: int
    tokens_out: int
    model: str
    #: True where the endpoint reported no usage and the figures are estimates (4 bytes a token).
    estimated: bool = False
    #: The model's reasoning under the name that the endpoint gave it, to be sent back with the answer's tool calls.
    reasoning: Mapping[str, str] = field(default_factory=dict)
    #: Whether the endpoint says that the model refused.
    refusal: bool = False


class LLM(Protocol):
    """Asks a model."""

    def complete(self, request: ChatRequest, *, key: str, timeout: timedelta, stop: StopToken) -> ChatAnswer:
        """One answer, complete.

        :class:`EnvironmentFault`: ``llm_auth`` (401, 403, no key), ``llm_request`` (another 4xx: the message names it).
        :class:`Transient`: ``llm_unavailable`` (network, cut answer, 408, 409, 429, 5xx; Retry-After in
        ``retry_after``), ``llm_bad_answer`` (no JSON, no choices: bounded, masked excerpt in the message).
        :class:`TaskError` ``context_overflow``. Raises the stop signal soon after ``stop`` asks.
        """
