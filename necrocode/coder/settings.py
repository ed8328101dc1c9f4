"""What a coder is told once, and what it tells while it works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Literal, TypeAlias

from necrocode.engine.retry import RetryPolicy

Mode: TypeAlias = Literal["tools", "actions", "json"]
ToolMode: TypeAlias = Literal["auto", "tools", "actions", "json"]

LADDER: tuple[Mode, ...] = ("tools", "actions", "json")
"""What ``auto`` tries, each where the endpoint or the model cannot do the one before it."""

LLM_RETRY = RetryPolicy(attempts=4, first_wait=timedelta(seconds=2))


@dataclass(frozen=True, slots=True)
class CoderSettings:
    """Settings of one run, frozen with it. Limits count over all attempts of the run."""

    model: str
    #: ``None``: OpenAI's own.
    endpoint: str | None = None
    #: Tokens that one answer may have.
    answer_tokens: int = 4000
    #: From dialling to the last byte of one answer.
    llm_timeout: timedelta = timedelta(seconds=120)
    llm_retry: RetryPolicy = LLM_RETRY
    #: Answers of the model.
    max_turns: int = 100
    #: Prompt and answer tokens of all turns together; the task's own ``max_tokens`` counts too. ``None``: no limit.
    max_total_tokens: int | None = None
    #: Calls of tools.
    max_tool_calls: int = 2_000
    #: Bytes of the tools' output that the model is shown.
    max_shown_bytes: int = 32 * 1024 * 1024
    #: Money; counts only where there is a price.
    max_cost: Decimal | None = None
    #: Tokens of a prompt and its answer together; ``None``: the price list's.
    context_window: int | None = None
    #: Price of a million prompt tokens, and of a million answer tokens, in ``max_cost``'s currency; ``None``: the price
    #: list's, in US dollars. Both or none.
    price_in: Decimal | None = None
    price_out: Decimal | None = None
    command_timeout: timedelta = timedelta(seconds=120)
    #: What the model may ask for at most.
    max_command_timeout: timedelta = timedelta(minutes=30)
    #: Bytes of a command's output that are kept, and shown to the model.
    max_output_bytes: int = 16_384
    #: What commands may use of the network: see :attr:`necrocode.states.ports.CommandSpec.network`.
    network: bool | tuple[str, ...] = False
    #: ``tools`` (function calling), ``actions`` (one JSON action an answer), ``json`` (one document of changes an
    #: answer), ``auto``: :data:`LADDER`.
    tool_mode: ToolMode = "auto"


@dataclass(frozen=True, slots=True)
class ProgressEvent:
    """What the coder begins to do now. Never sent for what is only replayed."""

    #: The turn it is in, from 1.
    turn: int
    #: ``model`` while an answer is waited for, else the tool's name.
    doing: str
    #: The command, path or pattern, on one line of at most 120 characters; not masked.
    detail: str
    #: Tokens so far, of all turns together.
    tokens_in: int
    tokens_out: int
    #: ``None`` without prices.
    cost: Decimal | None


Progress: TypeAlias = Callable[[ProgressEvent], None]
