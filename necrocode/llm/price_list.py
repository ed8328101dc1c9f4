"""What models cost and how much they can read, as the package ``genai-prices`` lists it. Nobody is asked."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from necrocode.llm.line import is_loopback
from necrocode.llm.openai_client import DEFAULT_ENDPOINT


@dataclass(frozen=True, slots=True)
class Listed:
    """One model at one provider."""

    #: Tokens.
    context_window: int | None
    #: US dollars for a million tokens in, and out: the dearest that may apply, whatever the time of day or the length
    #: of the prompt, since a limit must hold in any case. Both or none.
    price_in: Decimal | None
    price_out: Decimal | None


def look_up(model: str, endpoint: str | None) -> Listed | None:
    """The list's entry for ``model`` at ``endpoint`` (``None``: OpenAI's own); ``None`` if either is not in it."""
    url = endpoint or DEFAULT_ENDPOINT
    if is_loopback(url):
        return None
    from genai_prices import data_snapshot

    try:
        _, found = data_snapshot.get_snapshot().find_provider_model(model, None, None, url)
    except LookupError:
        return None
    prices = [entry.prices for entry in found.prices] if isinstance(found.prices, list) else [found.prices]
    price_in = _dearest([getattr(price, "input_mtok", None) for price in prices])
    price_out = _dearest([getattr(price, "output_mtok", None) for price in prices])
    known = price_in is not None and price_out is not None
    return Listed(found.context_window, price_in if known else None, price_out if known else None)


def _dearest(prices: list[Any]) -> Decimal | None:
    found: list[Decimal] = []
    for price in prices:
        if price is not None:
            tiers = [tier.price for tier in getattr(price, "tiers", ())]
            found += [price.base, *tiers] if hasattr(price, "base") else [price]
    return max(found, default=None)
