"""The terms on which a model is used: how much it can read, and what it costs. Recorded with the run's first brief."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from necrocode.llm.price_list import look_up

if TYPE_CHECKING:
    from necrocode.coder.settings import CoderSettings


@dataclass(frozen=True, slots=True)
class Terms:
    """Of one model at one endpoint."""

    #: Tokens of a prompt and its answer together; ``None``: not known, so only the endpoint can say what is too long.
    context_window: int | None
    #: Price of a million prompt tokens, and of a million answer tokens; ``None``: not known.
    price_in: Decimal | None
    price_out: Decimal | None

    @classmethod
    def of(cls, settings: CoderSettings) -> Terms:
        """What is configured."""
        return cls(settings.context_window, settings.price_in, settings.price_out)

    @classmethod
    def listed(cls, settings: CoderSettings) -> Terms:
        """What is configured, else what the price list says: to be recorded, since lists change."""
        terms = cls.of(settings)
        if terms.context_window is not None and terms.price_in is not None:
            return terms
        found = look_up(settings.model, settings.endpoint)
        if found is None:
            return terms
        if terms.context_window is None:
            terms = replace(terms, context_window=found.context_window)
        if terms.price_in is None:
            terms = replace(terms, price_in=found.price_in, price_out=found.price_out)
        return terms

    @classmethod
    def from_json(cls, recorded: Mapping[str, Any]) -> Terms:
        """What :meth:`as_json` made."""
        prices = (recorded.get(name) for name in ("price_in", "price_out"))
        return cls(recorded.get("context_window"), *(None if price is None else Decimal(price) for price in prices))

    def as_json(self) -> dict[str, Any]:
        """For the journal."""
        return {
            "context_window": self.context_window,
            "price_in": None if self.price_in is None else str(self.price_in),
            "price_out": None if self.price_out is None else str(self.price_out),
        }
