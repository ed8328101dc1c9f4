"""What every artifact store must do: one suite over the local one, the REST client with `serve` behind it, buckets."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from necrocode.artifacts.objects import ObjectArtifacts
from necrocode.artifacts.rest import ArtifactStoreClient
from necrocode.engine.errors import EnvironmentFault
from necrocode.states.ports import ArtifactStore
from tests.necrocode.artifacts.buckets import gcs, moto
from tests.necrocode.loopback import Response, serve
from tests.necrocode.serve.serving import listening, stores

AT = datetime(2026, 11, 22, 10, 30, tzinfo=UTC)


@pytest.fixture(params=["local", "rest", "s3", "gcs"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ArtifactStore]:
    if request.param in ("s3", "gcs"):
        with moto() if request.param == "s3" else gcs() as bucket:
            for name, value in bucket.environ.items():
                monkeypatch.setenv(name, value)
            yield ObjectArtifacts(bucket.url)
        return
    with stores(tmp_path / "home") as services:
        if request.param == "local":
            yield services.artifacts
            return
        with listening(services, parts=["artifacts"]) as url:
            client = ArtifactStoreClient(url, "an-artifact-token")
            yield client
            client.close()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=5000))
def test_what_was_uploaded_comes_back(store: ArtifactStore, content: bytes) -> None:
    sha256 = hashlib.sha256(content).hexdigest()
    artifact = store.upload(content, type="diff", name="ä.diff", metadata={"run_id": "r"}, at=AT, key=sha256)
    assert (artifact.type, artifact.size_bytes, artifact.sha256) == ("diff", len(content), sha256)
    assert (artifact.created_at, artifact.metadata) == (AT, {"run_id": "r"})
    assert store.download(artifact.uri) == content


def test_the_same_key_gives_the_same_artifact(store: ArtifactStore) -> None:
    first = store.upload(b"one", type="log", name="l", metadata={}, at=AT, key="k")
    again = store.upload(b"one", type="log", name="l", metadata={}, at=AT, key="k")
    assert again == first


def test_equal_contents_under_two_keys_are_both_there(store: ArtifactStore) -> None:
    one = store.upload(b"equal", type="log", name="a", metadata={}, at=AT, key="k1")
    two = store.upload(b"equal", type="diff", name="b", metadata={}, at=AT, key="k2")
    assert (one.type, two.type) == ("log", "diff")
    assert store.download(one.uri) == store.download(two.uri) == b"equal"


def test_an_artifact_that_is_not_there_is_a_lookup_error(store: ArtifactStore) -> None:
    artifact = store.upload(b"it", type="log", name="l", metadata={}, at=AT, key="k")
    missing = artifact.uri.replace(artifact.sha256[2:], "0" * 62)
    assert missing != artifact.uri
    with pytest.raises(LookupError):
        store.download(missing)


def test_a_rest_store_may_lie_elsewhere_but_only_on_the_web() -> None:
    with serve(lambda _: Response(body=b"bytes")) as elsewhere, serve(lambda _: Response(body={"uri": 1})) as server:
        client = ArtifactStoreClient(server.url, "token-of-the-store", epoch=lambda: 4)
        assert client.download(f"{elsewhere.url}/x?signature=y") == b"bytes"
        with pytest.raises(EnvironmentFault, match="s3://bucket/x cannot be fetched over REST"):
            client.download("s3://bucket/x")
        with pytest.raises(
            EnvironmentFault, match=r"artifact store: upload a\.diff: field 'uri' of the answer must be text"
        ):
            client.upload(b"x", type="diff", name="a.diff", metadata={}, at=AT, key="k")
        client.close()
    assert "authorization" not in elsewhere.requests[0].headers
    assert server.requests[0].headers["x-necrocode-epoch"] == "4"


def test_a_rest_store_tells_what_it_knows() -> None:
    with serve(lambda _: Response(body={"type": "diff"})) as server:
        client = ArtifactStoreClient(server.url)
        assert client.metadata("s3://bucket/a b") == {"type": "diff"}
        client.health_check()
        client.close()
    assert server.requests[0].query == {"uri": "s3://bucket/a b"}
