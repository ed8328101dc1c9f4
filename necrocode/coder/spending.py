"""What a run has spent on the model, and what it may still spend. Computed from recorded answers only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from necrocode.coder.settings import CoderSettings
from necrocode.coder.terms import Terms
from necrocode.engine.errors import TaskError

#: An answer shorter than this is not worth its prompt.
_SHORTEST_ANSWER = 64


@dataclass(frozen=True, slots=True)
class Spending:
    """A sum over recorded answers."""

    turns: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    #: Prompt tokens of attempts that failed without anybody knowing whether they were billed.
    tokens_doubtful: int = 0

    def plus(self, answer: Mapping[str, Any]) -> Spending:
        """With a recorded ``llm.chat`` result added."""
        tokens_in = int(answer["tokens_in"])
        return Spending(
            self.turns + 1,
            self.tokens_in + tokens_in,
            self.tokens_out + int(answer["tokens_out"]),
            self.tokens_doubtful + tokens_in * int(answer.get("doubtful_attempts", 0)),
        )

    @property
    def tokens(self) -> int:
        """All tokens that may have been paid for."""
        return self.tokens_in + self.tokens_out + self.tokens_doubtful

    def cost(self, terms: Terms) -> Decimal | None:
        """What that may have cost; ``None`` if there is no price."""
        if terms.price_in is None or terms.price_out is None:
            return None
        spent = (self.tokens_in + self.tokens_doubtful) * terms.price_in + self.tokens_out * terms.price_out
        return spent / 1_000_000

    @staticmethod
    def check_calls(settings: CoderSettings, calls: int, shown_bytes: int) -> None:
        """:class:`TaskError` ``budget`` if no further tool may be called after so many, which showed so much."""
        if calls >= settings.max_tool_calls:
            raise _over(f"The model has had its {settings.max_tool_calls:,} tool calls.", "max_tool_calls")
        if shown_bytes >= settings.max_shown_bytes:
            raise _over(
                f"Tools have shown the model {shown_bytes:,} bytes, which is all they may.", "max_total_output_bytes"
            )

    def allowance(
        self,
        settings: CoderSettings,
        terms: Terms,
        task_tokens: int | None,
        prompt_tokens: int,
        answer_tokens: int,
    ) -> int:
        """Tokens, at most ``answer_tokens``, that the next answer may have, if its prompt has ``prompt_tokens``.

        :class:`TaskError` ``budget`` where a limit leaves no room for it: nothing is spent to find out.
        """
        if self.turns >= settings.max_turns:
            raise _over(f"The model has had its {settings.max_turns} turns.", "max_turns")
        allowed = answer_tokens
        limits = [limit for limit in (settings.max_total_tokens, task_tokens) if limit is not None]
        if limits:
            left = min(limits) - self.tokens - prompt_tokens
            if left < min(_SHORTEST_ANSWER, answer_tokens):
                raise _over(
                    f"{self.tokens:,} tokens are spent and the next prompt has about {prompt_tokens:,}, "
                    f"which the limit of {min(limits):,} does not allow.",
                    "max_tokens",
                )
            allowed = min(allowed, left)
        return min(allowed, self._affordable(settings, terms, prompt_tokens, answer_tokens))

    def _affordable(self, settings: CoderSettings, terms: Terms, prompt_tokens: int, answer_tokens: int) -> int:
        """Tokens that an answer may have for the money that is left."""
        cost = self.cost(terms)
        if settings.max_cost is None or cost is None or terms.price_in is None or terms.price_out is None:
            return answer_tokens
        left = settings.max_cost - cost - prompt_tokens * terms.price_in / 1_000_000
        tokens = int(left * 1_000_000 / terms.price_out) if terms.price_out else answer_tokens
        if left <= 0 or tokens < min(_SHORTEST_ANSWER, answer_tokens):
            raise _over(
                f"${cost:.4f} is spent, and the next prompt with a short answer would pass "
                f"the limit of ${settings.max_cost}.",
                "max_cost_usd",
            )
        return tokens


def _over(what: str, setting: str) -> TaskError:
    return TaskError(f"{what} Raise {setting} to let it go on.", stop_reason="budget", trigger="budget")
