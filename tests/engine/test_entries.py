"""A row of the journal: its text is canonical, its hash covers every column, its large parts stand apart."""

from __future__ import annotations

import hashlib
import json
import uuid
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from necrocode.engine.canonical import canonical, clean, parsed, sha256, written
from necrocode.engine.entry import (
    BLOB_BYTES,
    Entry,
    draft,
    entry_hash,
    inflate,
    intact,
    microseconds,
    moment,
    pack,
    references,
    unpack,
)
from necrocode.engine.errors import JournalDamaged
from necrocode.engine.ids import idempotency_key, new_run_id

TEXT = st.text(st.characters(codec=None, categories=None), max_size=50)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=15,
)
#: Deeper than orjson goes.
NESTED: Any = json.loads("[" * 300 + "]" * 300)


def same(text: str) -> str:
    return text


@given(JSON)
@example({"b": 1, "a": [float("nan"), -0.0, "\ud800"]})
def test_what_is_clean_is_what_comes_back(value: Any) -> None:
    cleaned = clean(value, same)
    back = json.loads(canonical(cleaned))
    assert back == cleaned
    assert repr(back) == repr(cleaned), "types and the order of keys too"
    assert clean(cleaned, same) == cleaned
    canonical(cleaned).encode()
    assert "\\u0000" not in canonical(cleaned)


@given(JSON | st.floats(min_value=1e-7, max_value=1e-3) | st.floats(min_value=1e14, max_value=1e22) | st.integers())
@example(0.00001)
@example({"a": "0.00001", "b": 0.00009999, "c": 1e16, "d": 2**64, "e": -(2**63) - 1, "f": 5e-324, "g": -0.0})
@example({"\uffff": 1, "\U00010000": 2, "\x7f": '\x1f/\\"\u2028'})
@example(NESTED)
def test_the_text_is_what_the_standard_library_writes(value: Any) -> None:
    cleaned = clean(value, same)
    text = json.dumps(cleaned, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    assert canonical(cleaned) == text
    assert written(cleaned) == text, "so that a journal reads the same, whichever release and library wrote it"


@given(st.text('[]{}",: 01e-truefalsn', max_size=12) | JSON.map(json.dumps))
@example("")
@example(' {"a": 1} ')
@example('{"a":1}x')
def test_a_text_is_parsed_as_by_the_standard_library(text: str) -> None:
    def tried(parse: Callable[[str], Any]) -> str:
        try:
            return repr(parse(text))
        except ValueError as error:
            return str(error)

    assert tried(parsed) == tried(json.loads)


@pytest.mark.parametrize(
    "value", [{1, 2}, {"a": b"x"}, {"when": datetime(2026, 1, 1, tzinfo=UTC)}, {"id": uuid.UUID(int=1)}]
)
def test_what_is_no_json_has_no_text(value: Any) -> None:
    with pytest.raises(TypeError):
        assert canonical(value) == ""


def test_a_number_that_is_not_finite_has_no_text() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        assert canonical({"a": float("nan")}) == ""


@given(JSON)
def test_nothing_else_is_changed(value: Any) -> None:
    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {plain(key): plain(item) for key, item in value.items()}
        if isinstance(value, list):
            return [plain(item) for item in value]
        if isinstance(value, str):
            return "".join("\ufffd" if c == "\0" or 0xD800 <= ord(c) <= 0xDFFF else c for c in value)
        if isinstance(value, float) and (value != value or abs(value) == float("inf")):
            return None
        return value

    assert clean(value, same) == plain(value)


@given(st.dictionaries(TEXT, JSON, max_size=5))
@example({"a": {"$blob": "x"}, "b": {"$blob": "y" * 5000}, "c": "$blob"})
@example({"a": "x" * BLOB_BYTES, "b": "x" * (BLOB_BYTES - 2)})
def test_a_payload_comes_back_from_its_text_and_its_blobs(value: dict[str, Any]) -> None:
    made = draft("outcome", "n", value, same)
    stored = {blob.sha256: blob for blob in made.blobs}
    assert sorted(references(made.text)) == sorted(stored) or len(stored) < len(references(made.text))
    assert set(references(made.text)) == set(stored)

    def fetch(digest: str) -> bytes:
        blob = stored[digest]
        return inflate(digest, blob.codec, blob.size, blob.data)

    assert unpack(made.text, fetch) == made.payload == clean(value, same)


def test_a_value_that_looks_like_a_reference_is_stored_as_what_it_is() -> None:
    stranger = {"$blob": sha256(b"something else")}
    text, blobs = pack({"result": stranger})
    (blob,) = blobs
    assert references(text) == [blob.sha256] != [stranger["$blob"]]
    assert unpack(text, lambda _: inflate(blob.sha256, blob.codec, blob.size, blob.data)) == {"result": stranger}


ROW = ("run", 3, "outcome", "working", "post", "k", 2, 1_700_000_000_000_000, '{"result":"é\\n"}', "p" * 64)


def test_the_hash_is_sha_256_of_the_rows_canonical_json() -> None:
    columns = ("run_id", "seq", "kind", "state", "name", "key", "epoch", "at", "payload", "prev_hash")
    row = json.dumps(dict(zip(columns, ROW, strict=True)), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert entry_hash(*ROW) == hashlib.sha256(row.encode()).hexdigest()
    assert intact(Entry(*ROW, entry_hash(*ROW)))  # type: ignore[arg-type]


@pytest.mark.parametrize("column", range(len(ROW)))
@pytest.mark.parametrize("other", [None, b"x", 1.5, "x", 7, "\ud800"])
def test_any_other_value_in_any_column_is_seen(column: int, other: Any) -> None:
    changed: list[Any] = [*ROW, entry_hash(*ROW)]
    changed[column] = other
    assert not intact(Entry(*changed))


@pytest.mark.parametrize(
    ("codec", "size", "data"),
    [
        ("zlib", 5, zlib.compress(b"hallo")),
        ("zlib", 4, zlib.compress(b"hello")),
        ("zlib", 6, zlib.compress(b"hello")),
        ("lzma", 5, zlib.compress(b"hello")),
        ("zlib", 5, b"hello"),
        ("zlib", 5, zlib.compress(b"hello" * 10**6)),
        ("zlib", 5, "hello"),
        ("zlib", 5, None),
        ("zlib", "five", zlib.compress(b"hello")),
        ("zlib", -9, zlib.compress(b"hello")),
    ],
)
def test_a_blob_that_is_not_what_was_stored_is_damage(codec: str, size: Any, data: Any) -> None:
    digest = hashlib.sha256(b"hello").hexdigest()
    assert inflate(digest, "zlib", 5, zlib.compress(b"hello")) == b"hello"
    with pytest.raises(JournalDamaged, match=digest):
        inflate(digest, codec, size, data)


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_moment_comes_back_to_the_microsecond(when: datetime) -> None:
    assert moment(microseconds(when)) == when
    assert moment(microseconds(when) + 1) - when == timedelta(microseconds=1) or when.year == 9999


def test_run_ids_are_uuids_of_version_7_in_the_order_of_their_making() -> None:
    import uuid

    ids = [new_run_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert all(uuid.UUID(each).version == 7 and uuid.UUID(each).variant == uuid.RFC_4122 for each in ids)
    stamps = [each[:18] for each in ids]
    assert stamps == sorted(stamps)
    now = datetime.now(UTC).timestamp()
    assert abs((uuid.UUID(ids[-1]).int >> 80) / 1000 - now) < 10


def test_an_idempotency_key_names_one_effect_of_one_run() -> None:
    key = idempotency_key("run", "visit-1", 0, "post", "k")
    assert key == idempotency_key("run", "visit-1", 0, "post", "k")
    others = {
        idempotency_key("nur", "visit-1", 0, "post", "k"),
        idempotency_key("run", "visit-2", 0, "post", "k"),
        idempotency_key("run", "visit-1", 1, "post", "k"),
        idempotency_key("run", "visit-1", 0, "push", "k"),
        idempotency_key("run", "visit-1", 0, "post", "l"),
    }
    assert len(others | {key}) == 6
