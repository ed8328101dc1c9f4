"""Canonical JSON: what the journal stores and hashes."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable
from typing import Any

from necrocode.engine.effects import Json

_encoder = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_SURROGATE = re.compile("[\ud800-\udfff]")


def canonical(value: Json) -> str:
    """``value`` as JSON text with sorted keys and no spaces: equal values give equal text.

    Raises ``TypeError`` or ``ValueError`` for what JSON cannot hold.
    """
    return _encoder.encode(value)


def sha256(text: str) -> str:
    """SHA-256 of the UTF-8 bytes of ``text``, as 64 hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def clean(value: Any, mask: Callable[[str], str]) -> Json:
    """``value`` as every supported database can store it, with each string masked.

    NUL characters and lone surrogates become U+FFFD and numbers that are not finite become ``None``: PostgreSQL takes
    none of them, and the output of models and tests holds them all. Tuples become lists and keys are sorted, so that
    the value is, its order included, the one that a replay reads back.

    Raises ``TypeError`` for a value that JSON cannot hold.
    """
    if isinstance(value, str):
        return mask(_storable(value))
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, dict):
        cleaned = {_key(key, mask): clean(item, mask) for key, item in value.items()}
        return dict(sorted(cleaned.items())) if len(cleaned) > 1 else cleaned
    if isinstance(value, (list, tuple)):
        return [clean(item, mask) for item in value]
    raise TypeError(f"{type(value).__name__} is not JSON: {value!r}")


def _key(key: Any, mask: Callable[[str], str]) -> str:
    if not isinstance(key, str):
        raise TypeError(f"{key!r} is not JSON: keys are text")
    return mask(_storable(key))


def _storable(text: str) -> str:
    text = text.replace("\0", "\ufffd")
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)
