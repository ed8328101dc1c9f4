"""The artifact store's checksums, ranges and limits, over HTTP as a plain client sees them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from necrocode.artifacts.rest import ArtifactStoreClient
from necrocode.serve.application import Services
from necrocode.serve.gate import Limits
from tests.necrocode.artifacts.test_contract import AT
from tests.necrocode.serve.serving import listening, stores

MEBIBYTE = 1024 * 1024


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    with stores(tmp_path / "home") as made:
        yield made


@pytest.fixture
def store(services: Services) -> Iterator[httpx.Client]:
    limits = Limits(upload=8 * MEBIBYTE, body=4096)
    with listening(services, limits=limits) as url, httpx.Client(base_url=url) as client:
        yield client


def upload(store: httpx.Client, content: bytes, headers: dict[str, str] | None = None, **about: Any) -> httpx.Response:
    data = {"type": "log", "metadata": json.dumps(about)}
    return store.post("/artifacts", files={"file": ("x.log", content)}, data=data, headers=headers)


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def files(services: Services) -> list[Path]:
    return [path for path in services.artifacts.folder.rglob("*") if path.is_file()]


def test_a_plain_client_gets_back_what_it_gave_by_the_uri_alone(store: httpx.Client) -> None:
    content = bytes(range(256)) * 20_000
    kept = store.post("/artifacts", files={"file": ("x.bin", content)}, data={"type": "diff"})
    assert kept.status_code == 201
    # no base URL: the URI is enough
    assert httpx.get(kept.json()["uri"]).content == content
    about = store.get("/artifacts/metadata", params={"uri": kept.json()["uri"]}).json()
    assert (about["type"], about["name"], about["size_bytes"]) == ("diff", "x.bin", len(content))
    assert about["sha256"] == hashlib.sha256(content).hexdigest()


def test_a_wrong_checksum_is_refused_and_nothing_kept(store: httpx.Client, services: Services) -> None:
    assert code(upload(store, b"content", sha256="0" * 64)) == (422, "wrong_checksum")
    assert files(services) == [] and services.artifacts.list_artifacts() == []
    assert upload(store, b"content", sha256=hashlib.sha256(b"content").hexdigest()).status_code == 201


def test_parts_of_a_file_can_be_asked_for(store: httpx.Client) -> None:
    uri = upload(store, b"0123456789").json()["uri"]
    some = store.get(uri, headers={"Range": "bytes=2-4"})
    assert (some.status_code, some.content, some.headers["content-range"]) == (206, b"234", "bytes 2-4/10")
    assert store.get(uri, headers={"Range": "bytes=-3"}).content == b"789"
    none = store.get(uri, headers={"Range": "bytes=10-"})
    assert code(none) == (416, "bad_range")
    assert none.headers["content-range"] == "bytes */10"
    changed = store.get(uri, headers={"Range": "bytes=2-4", "If-Range": '"another"'})
    assert (changed.status_code, changed.content) == (200, b"0123456789")


def test_a_key_gives_the_first_answer_and_never_for_another_file(store: httpx.Client, services: Services) -> None:
    key = {"Idempotency-Key": "k"}
    first = upload(store, b"one", key, run_id="r")
    assert upload(store, b"one", key, run_id="r").json() == first.json()
    assert code(upload(store, b"two", key, run_id="r")) == (409, "key_reused")
    assert code(upload(store, b"one", key, run_id="other")) == (409, "key_reused")
    assert len(files(services)) == 1


def test_a_log_that_has_grown_since_an_upload_in_doubt_is_kept_too(store: httpx.Client) -> None:
    client = ArtifactStoreClient(str(store.base_url))
    first = client.upload(b"one", type="log", name="l", metadata={}, at=AT, key="k")
    second = client.upload(b"one\ntwo", type="log", name="l", metadata={}, at=AT, key="k")
    assert (client.download(first.uri), client.download(second.uri)) == (b"one", b"one\ntwo")
    client.close()


def test_an_old_epoch_of_a_run_is_refused_and_nothing_kept(store: httpx.Client, services: Services) -> None:
    assert upload(store, b"one", {"X-Necrocode-Epoch": "2"}, run_id="r").status_code == 201
    assert code(upload(store, b"two", {"X-Necrocode-Epoch": "1"}, run_id="r")) == (409, "superseded")
    assert len(files(services)) == 1


def test_what_is_too_large_is_refused_and_nothing_kept(store: httpx.Client, services: Services) -> None:
    assert upload(store, b"x" * 8 * MEBIBYTE).status_code == 201
    assert code(upload(store, b"x" * 10 * MEBIBYTE)) == (413, "too_large")

    def unannounced() -> Iterator[bytes]:
        yield b'{"status": "running", "metadata": {"x": "'
        for _ in range(100):
            yield b"x" * 1000
        yield b'"}}'

    headers = {"Content-Type": "application/json"}
    assert code(store.put("/tasks/1/status", content=unannounced(), headers=headers)) == (413, "too_large")
    large = {"status": "running", "metadata": {"x": "x" * 5000}}
    assert code(store.put("/tasks/1/status", json=large)) == (413, "too_large")
    assert len(files(services)) == 1 and store.get("/tasks/1").status_code == 404


def test_damaged_bytes_are_never_sent(store: httpx.Client, services: Services) -> None:
    uri = upload(store, b"content").json()["uri"]
    files(services)[0].write_bytes(b"changed")
    assert code(store.get(uri)) == (500, "artifacts")


@pytest.mark.parametrize("uri", ["file:///etc/passwd", "/artifacts/sha256/" + "0" * 64, "", "../../x"])
def test_only_artifacts_are_found(store: httpx.Client, uri: str) -> None:
    assert code(store.get("/artifacts/metadata", params={"uri": uri})) == (404, "not_found")


@pytest.mark.parametrize("metadata", ["{", "[]", '"x"', '{"created_at": "now"}', '{"x": NaN}'])
def test_metadata_that_cannot_be_kept_is_refused(store: httpx.Client, metadata: str) -> None:
    files = {"file": ("x", b"x")}
    refused = store.post("/artifacts", files=files, data={"type": "log", "metadata": metadata})
    assert code(refused) == (422, "invalid_request")
