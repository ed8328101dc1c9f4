"""What a run has spent on the model, and what it may still spend. Computed from recorded answers only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from necrocode.coder.settings import CoderSettings
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

    def cost(self, settings: CoderSettings) -> Decimal | None:
        """What that may have cost; ``None`` if there is no price."""
        if settings.price_in is None or settings.price_out is None:
            return None
        spent = (self.tokens_in + self.tokens_doubtful) * settings.price_in + self.tokens_out * settings.price_out
        return spent / 1_000_000

    def allowance(self, settings: CoderSettings, task_tokens: int | None, prompt_tokens: int) -> int:
        """Tokens that the next answer may have, if its prompt has ``prompt_tokens``.

        :class:`TaskError` ``budget`` where a limit leaves no room for it: nothing is spent to find out.
        """
        if self.turns >= settings.max_turns:
            raise _over(f"The model has had its {settings.max_turns} turns.", "max_turns")
        allowed = settings.answer_tokens
        limits = [limit for limit in (settings.max_total_tokens, task_tokens) if limit is not None]
        if limits:
            left = min(limits) - self.tokens - prompt_tokens
            if left < min(_SHORTEST_ANSWER, settings.answer_tokens):
                raise _over(
                    f"{self.tokens:,} tokens are spent and the next prompt has about {prompt_tokens:,}, "
                    f"which the limit of {min(limits):,} does not allow.",
                    "max_tokens",
                )
            allowed = min(allowed, left)
        cost = self.cost(settings)
        if settings.max_cost is not None and cost is not None and settings.price_in is not None:
            next_cost = prompt_tokens * settings.price_in / 1_000_000
            if cost + next_cost >= settings.max_cost:
                raise _over(
                    f"{cost:.4f} is spent and the next prompt costs about {next_cost:.4f}, "
                    f"which the limit of {settings.max_cost} does not allow.",
                    "max_cost",
                )
        return allowed


def _over(what: str, setting: str) -> TaskError:
    return TaskError(f"{what} Raise {setting} to let it go on.", stop_reason="budget", trigger="budget")
