"""One row of the journal: its form, its hash, and its payload's large parts."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, TypeAlias

from necrocode.engine.canonical import canonical, sha256
from necrocode.engine.effects import Json
from necrocode.engine.errors import JournalDamaged

Kind: TypeAlias = Literal[
    "created", "transition", "intent", "outcome", "attempt", "warning", "parked", "lease", "closed"
]

BLOB_BYTES = 2048
"""A payload value whose JSON is longer than this many characters is kept as a blob."""

_BLOB = "$blob"


class Entry(NamedTuple):
    """One row, in the order of the table's columns. ``at`` is in microseconds since the epoch, UTC."""

    run_id: str
    seq: int
    kind: Kind
    state: str
    name: str
    key: str
    epoch: int
    at: int
    payload: str
    prev_hash: str
    hash: str

    @property
    def when(self) -> datetime:
        """``at`` as an aware datetime."""
        return moment(self.at)


COLUMNS = ", ".join(Entry._fields)


class Draft(NamedTuple):
    """What will become an entry: the rest is the journal's to fill in."""

    kind: Kind
    name: str
    key: str
    payload: dict[str, Json]


@dataclass(frozen=True, slots=True)
class Blob:
    """A part of a payload, compressed."""

    sha256: str
    codec: str
    size: int
    data: bytes


def entry_hash(
    run_id: str, seq: int, kind: str, state: str, name: str, key: str, epoch: int, at: int, payload: str, prev_hash: str
) -> str:
    """SHA-256 of the canonical JSON of the row, its payload as the text it is stored as."""
    return sha256(
        canonical(
            {
                "at": at,
                "epoch": epoch,
                "key": key,
                "kind": kind,
                "name": name,
                "payload": payload,
                "prev_hash": prev_hash,
                "run_id": run_id,
                "seq": seq,
                "state": state,
            }
        )
    )


def pack(payload: dict[str, Json]) -> tuple[str, list[Blob]]:
    """``payload`` as canonical text, and the blobs of its large values (each top-level value is one candidate)."""
    text = canonical(payload)
    if len(text) <= BLOB_BYTES and _BLOB not in text:
        return text, []
    blobs: list[Blob] = []
    packed: dict[str, Json] = {}
    for key, value in payload.items():
        part = canonical(value)
        if len(part) <= BLOB_BYTES and not _is_reference(value):
            packed[key] = value
            continue
        content = part.encode()
        digest = sha256(part)
        blobs.append(Blob(digest, "zlib", len(content), zlib.compress(content)))
        packed[key] = {_BLOB: digest}
    return canonical(packed), blobs


def unpack(text: str, fetch: Callable[[str], bytes]) -> dict[str, Json]:
    """The payload that :func:`pack` was given; ``fetch`` returns the uncompressed content of a blob by its digest."""
    payload: dict[str, Json] = json.loads(text)
    if _BLOB in text:
        for key, value in payload.items():
            if _is_reference(value):
                payload[key] = json.loads(fetch(value[_BLOB]))
    return payload


def references(text: str) -> list[str]:
    """Digests of the blobs that a stored payload refers to."""
    if _BLOB not in text:
        return []
    return [value[_BLOB] for value in json.loads(text).values() if _is_reference(value)]


def inflate(codec: str, data: bytes, digest: str) -> bytes:
    """The content of a blob. Raises :class:`JournalDamaged` if it cannot be read."""
    if codec != "zlib":
        raise JournalDamaged(f"blob {digest}: unknown codec {codec!r}")
    try:
        return zlib.decompress(data)
    except zlib.error as error:
        raise JournalDamaged(f"blob {digest}: {error}") from error


def moment(microseconds: int) -> datetime:
    """A journal time as an aware datetime."""
    return datetime.fromtimestamp(microseconds / 1_000_000, UTC)


def _is_reference(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {_BLOB} and isinstance(value[_BLOB], str)
