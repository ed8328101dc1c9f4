"""Canonical JSON: what the journal stores and hashes."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable
from typing import Any

import orjson

from necrocode.engine.effects import Json

_encoder = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_scan = json.JSONDecoder().scan_once  # type: ignore[attr-defined]
#: Of nothing yet. A copy of it is had for less than a new one, for which OpenSSL looks the algorithm up by its name.
_sha256 = hashlib.sha256()
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_PLAIN = frozenset({str, int, bool, float, type(None)})


def canonical(value: Json) -> str:
    """``value`` as JSON text with sorted keys and no spaces: equal values give equal text.

    Raises ``TypeError`` or ``ValueError`` for what JSON cannot hold.
    """
    return _encoder.encode(value)


def written(value: Json) -> str:
    """Of what :func:`clean` gave, the :func:`canonical` text, in a fifth of the time. Of anything else there is no
    telling: what JSON cannot hold, orjson may well write.
    """
    try:
        text = orjson.dumps(value, None, orjson.OPT_SORT_KEYS).decode()
    except TypeError:
        # Larger numbers and deeper nesting than it takes.
        return _encoder.encode(value)
    if "e-" in text or "0.0000" in text:
        # Small floats, or what looks like them: 1e-8 and 0.00001 are 1e-08 and 1e-05 to :mod:`json`.
        return _encoder.encode(value)
    return text


def parsed(text: str) -> Any:
    """The value of a :func:`canonical` text: :func:`json.loads` without what looks for spaces around it.

    Raises ``ValueError`` for what is no JSON.
    """
    try:
        value, end = _scan(text, 0)
    except StopIteration:
        end = -1
    return value if end == len(text) else json.loads(text)


def copied(value: Any) -> Any:
    """Of what :func:`clean` gave, the value that is read back from its :func:`canonical` text: a copy, keys sorted."""
    if type(value) is dict:
        return {key: item if type(item := value[key]) in _PLAIN else copied(item) for key in sorted(value)}
    return [copied(item) for item in value] if type(value) is list else value


def sha256(content: bytes) -> str:
    """SHA-256 of ``content``, as 64 hex digits."""
    digest = _sha256.copy()
    digest.update(content)
    return digest.hexdigest()


def clean(value: Any, mask: Callable[[str], str]) -> Json:
    """``value`` as every supported database can store it, with each string masked.

    NUL characters and lone surrogates become U+FFFD and numbers that are not finite become ``None``: PostgreSQL takes
    none of them, and the output of models and tests holds them all. Tuples become lists and keys are sorted, so that
    the value is, its order included, the one that a replay reads back.

    Raises ``TypeError`` for a value that JSON cannot hold.
    """
    # By exact type first: this is on the way of everything that is ever appended.
    kind = type(value)
    if kind is str:
        return mask(value if value.isascii() and "\0" not in value else _UNSTORABLE.sub("\ufffd", value))
    if kind is int or kind is bool or value is None:
        return value
    if kind is list or kind is tuple:
        return [clean(item, mask) for item in value]
    if isinstance(value, dict):
        cleaned: dict[str, Json] = {}
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"{key!r} is not JSON: keys are text")
            # Most members are such numbers; each call saved is one for each of them.
            plain = type(item) is int or item is None
            cleaned[clean(key, mask)] = item if plain else clean(item, mask)
        # By the keys alone, which are each other's equal never: comparing pairs takes twice as long.
        keys = sorted(cleaned)
        return cleaned if keys == list(cleaned) else {key: cleaned[key] for key in keys}
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return _clean_member(value, mask)


def _clean_member(value: Any, mask: Callable[[str], str]) -> Json:
    """A value of a subclass, such as a member of an enumeration: a replay would read the plain value back."""
    if isinstance(value, str):
        return clean(str.__str__(value), mask)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, (list, tuple)):
        return clean(list(value), mask)
    raise TypeError(f"{type(value).__name__} is not JSON: {value!r}")
