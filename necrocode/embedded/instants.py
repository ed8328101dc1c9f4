"""Instants as the tables hold them: microseconds since the epoch, UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_microseconds(at: datetime) -> int:
    """``at`` (aware) as microseconds since the epoch."""
    return (at - _EPOCH) // timedelta(microseconds=1)


def from_microseconds(value: int) -> datetime:
    """The aware datetime, UTC, of ``value``."""
    return _EPOCH + timedelta(microseconds=value)
