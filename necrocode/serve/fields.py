"""Fields that the services' requests share: names in paths, JSON, instants, the headers of a write."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import Header, Path, Query
from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from necrocode.embedded.instants import from_microseconds
from necrocode.engine.canonical import canonical
from necrocode.registry.definitions import no_bool

MAX_SECONDS = 253_402_300_799
"""The last second of the year 9999."""


def _storable(value: dict[str, Any]) -> dict[str, Any]:
    """Raises ``ValueError`` for what no database takes: lone surrogates, infinite numbers, endless nesting."""
    try:
        canonical(value).encode()
    except (UnicodeEncodeError, RecursionError, TypeError) as error:
        raise ValueError("holds text or numbers that cannot be stored") from error
    return value


PathName = Annotated[
    str,
    BeforeValidator(unquote),
    StringConstraints(min_length=1, max_length=1000),
    Path(description="Percent-encoded."),
]
Text = Annotated[str, StringConstraints(min_length=1, max_length=1000)]
JsonObject = Annotated[dict[str, Any], AfterValidator(_storable)]
NoBool = BeforeValidator(no_bool)
Seconds = Annotated[float, Field(ge=0, le=MAX_SECONDS, allow_inf_nan=False, description="Unix seconds."), NoBool]
SinceSeconds = Annotated[float | None, Query(ge=0, le=MAX_SECONDS, allow_inf_nan=False, description="Unix seconds.")]
Limit = Annotated[int, Query(ge=1, le=1000, description="Of one page.")]

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=1000,
        description="The same key with the same request has the same answer; with another request: 409 `key_reused`.",
    ),
]
Epoch = Annotated[
    str | None,
    Header(
        alias="X-Necrocode-Epoch",
        pattern=r"^[0-9]{1,15}$",
        description="Of the run; one that is older than one seen of it: 409 `superseded`.",
    ),
]
IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        pattern=r'^("[0-9]{1,15}"|[0-9]{1,15})$',
        description="The version that is changed (0: there is none yet); at another one: 409 `version_conflict`.",
    ),
]


def key_or_new(key: str | None) -> str:
    """The caller's key, or one of its own for a request that came without."""
    return key if key is not None else f"request/{uuid.uuid4()}"


def epoch_of(epoch: str | None) -> int | None:
    """The epoch that the header names."""
    return None if epoch is None else int(epoch)


def version_of(if_match: str | None) -> int | None:
    """The version that an ``If-Match`` header names."""
    return None if if_match is None else int(if_match.strip('"'))


def instant(seconds: float) -> datetime:
    """Unix seconds as an aware datetime, to the microsecond."""
    return from_microseconds(round(seconds * 1_000_000))
