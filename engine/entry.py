"""One row of the journal: its form, its hash, and its payload's large parts."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple, TypeAlias

import orjson

from necrocode.engine.canonical import clean, parsed, sha256, written
from necrocode.engine.effects import Json
from necrocode.engine.errors import JournalDamaged

Kind: TypeAlias = Literal[
    "created", "transition", "intent", "outcome", "attempt", "warning", "parked", "lease", "closed"
]

BLOB_BYTES = 2048
"""A payload value whose JSON is longer than this many characters is kept as a blob."""

_BLOB = "$blob"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Entry(NamedTuple):
    """One row, in the order of the table's columns. ``at`` is in microseconds since the epoch, UTC; hashes are hex
    digits.
    """

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

    @classmethod
    def of(cls, row: Sequence[Any]) -> Entry:
        """The entry that a row of the table holds, its columns in their order."""
        return cls._make((*row[:-2], digits(row[-2]), digits(row[-1])))

    @property
    def row(self) -> tuple[Any, ...]:
        """As it is stored."""
        return (*self[:-2], bytes.fromhex(self.prev_hash), bytes.fromhex(self.hash))

    @property
    def when(self) -> datetime:
        """``at`` as an aware datetime."""
        return moment(self.at)


COLUMNS = ", ".join(Entry._fields)


def digits(stored: object) -> str:
    """A stored hash as hex digits. What is not bytes was not written by us, and is no hash."""
    return stored.hex() if type(stored) is bytes else f"{stored!r}"


@dataclass(frozen=True, slots=True)
class Blob:
    """A part of a payload, compressed."""

    sha256: str
    codec: str
    size: int
    data: bytes


class Draft(NamedTuple):
    """What will become an entry, as it will be stored: nothing that happens to the values it was made of changes it."""

    kind: Kind
    name: str
    key: str
    #: The state it leads to; ``None`` if it does not change it.
    state: str | None
    #: Cleaned and masked.
    payload: dict[str, Json]
    #: The payload as it is stored, without the large parts.
    text: str
    blobs: list[Blob]


def draft(
    kind: Kind,
    name: str,
    payload: Mapping[str, Json],
    mask: Callable[[str], str],
    *,
    key: str = "",
    state: str | None = None,
) -> Draft:
    """The draft of an entry. Raises ``TypeError`` for a payload that JSON cannot hold."""
    cleaned: dict[str, Json] = clean(dict(payload), mask)
    return Draft(kind, name, key, state, cleaned, *pack(cleaned))


def entry_hash(
    run_id: str, seq: int, kind: str, state: str, name: str, key: str, epoch: int, at: int, payload: str, prev_hash: str
) -> str:
    """SHA-256 of the canonical JSON of the row, its payload as the text it is stored as."""
    # In the order of the keys, so that nothing is sorted: this is the hottest line of every append and every resume.
    row = {
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
    return sha256(orjson.dumps(row))


def intact(entry: Entry) -> bool:
    """Whether the row says what was hashed when it was written."""
    try:
        return entry_hash(*entry[:-1]) == entry.hash
    except (TypeError, ValueError):
        # A column holds another type than we ever write.
        return False


def pack(payload: dict[str, Json]) -> tuple[str, list[Blob]]:
    """``payload``, which is clean, as canonical text, and the blobs of its large values (each top-level value is one
    candidate).
    """
    text = written(payload)
    if len(text) <= BLOB_BYTES and _BLOB not in text:
        return text, []
    blobs: list[Blob] = []
    packed: dict[str, Json] = {}
    for key, value in payload.items():
        part = written(value)
        if len(part) <= BLOB_BYTES and not _is_reference(value):
            packed[key] = value
            continue
        content = part.encode()
        digest = sha256(content)
        blobs.append(Blob(digest, "zlib", len(content), zlib.compress(content)))
        packed[key] = {_BLOB: digest}
    return written(packed), blobs


def unpack(text: str, fetch: Callable[[str], bytes]) -> dict[str, Json]:
    """The payload that :func:`pack` was given; ``fetch`` returns the uncompressed content of a blob by its digest."""
    payload: dict[str, Json] = parsed(text)
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


def inflate(digest: str, codec: str, size: int, data: bytes) -> bytes:
    """The content of a blob. Raises :class:`JournalDamaged` if that is not what was stored under ``digest``."""
    if codec != "zlib":
        raise JournalDamaged(f"the blob {digest} has an unknown codec {codec!r}")
    unpacking = zlib.decompressobj()
    try:
        # One byte more than there should be tells a longer one, without unpacking all of it.
        content = unpacking.decompress(data, size + 1)
    except (zlib.error, TypeError, ValueError) as error:
        raise JournalDamaged(f"the blob {digest} cannot be read: {error}") from error
    whole = unpacking.eof and not unpacking.unused_data and len(content) == size
    if not whole or hashlib.sha256(content).hexdigest() != digest:
        raise JournalDamaged(f"the blob {digest} was changed")
    return content


def moment(microseconds: int) -> datetime:
    """A journal time as an aware datetime."""
    return _EPOCH + timedelta(microseconds=microseconds)


def microseconds(when: datetime) -> int:
    """An aware datetime as a journal time."""
    return (when - _EPOCH) // _MICROSECOND


def _is_reference(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {_BLOB} and isinstance(value[_BLOB], str)
