"""Ids: sortable run ids, and idempotency keys that are the same after every crash."""

from __future__ import annotations

import os
import time
import uuid

_EFFECTS = uuid.UUID("6f2d1e0c-5c0b-5c55-9a55-6e6563726f63")


def new_run_id() -> str:
    """A UUID of version 7 (RFC 9562, 5.7): sorts by its time of creation, to a quarter of a microsecond (method 3)."""
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    fraction = (rest << 12) // 1_000_000
    noise = int.from_bytes(os.urandom(8), "big")
    value = (milliseconds & (1 << 48) - 1) << 80
    value |= 0x7 << 76 | fraction << 64
    value |= 0b10 << 62 | noise & (1 << 62) - 1
    return str(uuid.UUID(int=value))


def idempotency_key(run_id: str, scope: str, ordinal: int, name: str, key: str) -> str:
    """The identity of an effect, for the other side: a UUID of version 5."""
    return str(uuid.uuid5(_EFFECTS, f"{run_id}/{scope}/{ordinal}/{name}/{key}"))
