"""Artifacts in a bucket: what lies there, what goes, and what every misbehaviour of the server turns into."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import obstore
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from obstore.store import S3Store

from necrocode.artifacts.objects import ObjectArtifacts
from necrocode.artifacts.stored import PIECE
from necrocode.engine.errors import EnvironmentFault, Transient, Unreached
from necrocode.errors import DamagedArtifact, NotFound
from necrocode.masking import Masker
from necrocode.states.ports import Artifact
from tests.necrocode.artifacts.buckets import BUCKET, SECRET, Bucket, gcs, logins_checked, moto, s3_environ
from tests.necrocode.loopback import Request, Response, closed_port, serve

AT = datetime(2026, 11, 22, 10, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def server() -> Iterator[Bucket]:
    with moto() as bucket:
        yield bucket


@pytest.fixture
def bucket(server: Bucket, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Bucket:
    """A prefix of its own for each test."""
    for name, value in server.environ.items():
        monkeypatch.setenv(name, value)
    return Bucket(f"s3://{BUCKET}/{request.node.name.partition('[')[0]}", server.endpoint, server.environ)


@pytest.fixture
def store(bucket: Bucket) -> ObjectArtifacts:
    return ObjectArtifacts(bucket.url)


def keep(store: ObjectArtifacts, content: bytes, key: str = "k", *, run: str | None = "r", **more: Any) -> Artifact:
    given = {"type": "log", "name": "x.log", "metadata": {"run_id": run} if run else {}, "at": AT, **more}
    return store.upload(content, key=key, **given)


def objects(bucket: Bucket) -> dict[str, bytes]:
    """Everything below the prefix."""
    raw = S3Store(BUCKET, prefix=bucket.url.partition(f"{BUCKET}/")[2], client_options={"allow_http": True})
    paths = [each["path"] for batch in obstore.list(raw) for each in batch]
    return {path: bytes(obstore.get(raw, path).bytes()) for path in paths}


def put(bucket: Bucket, path: str, content: bytes) -> None:
    raw = S3Store(BUCKET, prefix=bucket.url.partition(f"{BUCKET}/")[2], client_options={"allow_http": True})
    obstore.put(raw, path, content)


def test_contents_lie_under_their_hash_with_a_record_of_the_upload(store: ObjectArtifacts, bucket: Bucket) -> None:
    artifact = keep(store, b"content", metadata={"run_id": "r", "task_id": "1"})
    place = f"sha256/{artifact.sha256[:2]}/{artifact.sha256[2:]}"
    assert artifact.uri == f"{bucket.url}/{place}"
    found = objects(bucket)
    assert found.pop(place) == b"content"
    (record,) = [content for path, content in found.items() if path.startswith("uploads/r/")]
    assert json.loads(record) == {
        "key": "k",
        "name": "x.log",
        "type": "log",
        "size_bytes": 7,
        "sha256": artifact.sha256,
        "created_at": "2026-11-22T10:30:00Z",
        "metadata": {"run_id": "r", "task_id": "1"},
    }
    assert len(found) == 2, "and the reference"


def test_the_first_content_of_a_key_stays_and_nothing_of_the_second(store: ObjectArtifacts, bucket: Bucket) -> None:
    first = keep(store, b"one")
    assert keep(store, b"two") == first
    assert store.download(first.uri) == b"one"
    assert len(objects(bucket)) == 3


def test_of_two_uploads_at_once_under_one_key_one_counts(store: ObjectArtifacts) -> None:
    found: list[Artifact] = []
    threads = [
        threading.Thread(target=lambda content=content: found.append(keep(store, content)))
        for content in (b"one", b"two", b"three")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({artifact.sha256 for artifact in found}) == 1
    assert len(found) == 3
    assert store.download(found[0].uri) in (b"one", b"two", b"three")


def test_a_lost_content_is_written_again(store: ObjectArtifacts) -> None:
    artifact = keep(store, b"one")
    raw = S3Store(BUCKET, client_options={"allow_http": True})
    obstore.delete(raw, artifact.uri.partition(f"{BUCKET}/")[2])
    with pytest.raises(NotFound):
        store.download(artifact.uri)
    assert keep(store, b"one") == artifact
    assert store.download(artifact.uri) == b"one"


def test_a_damaged_content_is_said_to_be(store: ObjectArtifacts, bucket: Bucket) -> None:
    artifact = keep(store, b"one")
    put(bucket, artifact.uri.removeprefix(bucket.url + "/"), b"two")
    with pytest.raises(DamagedArtifact, match="is damaged"):
        store.download(artifact.uri)


def test_a_large_content_comes_in_pieces(store: ObjectArtifacts) -> None:
    content = bytes(range(256)) * ((2 * PIECE + 1000) // 256)
    artifact = keep(store, content)
    pieces = list(store.pieces(artifact.uri))
    assert [len(piece) for piece in pieces] == [PIECE, PIECE, len(content) - 2 * PIECE]
    assert b"".join(pieces) == content


@pytest.mark.parametrize(
    "uri", ["s3://other/sha256/ab/" + "c" * 62, "file:///etc/passwd", "", "{url}/uploads/r/x.json"]
)
def test_nothing_but_contents_of_the_prefix_is_read(store: ObjectArtifacts, bucket: Bucket, uri: str) -> None:
    with pytest.raises(NotFound, match="there is no artifact"):
        store.download(uri.format(url=bucket.url))


def test_uploads_are_listed_by_run_type_and_age(store: ObjectArtifacts) -> None:
    keep(store, b"old", "1", run="a", at=AT - timedelta(days=2))
    keep(store, b"new", "2", run="b", type="diff")
    keep(store, b"new", "3", run="odd/../name of a run")
    keep(store, b"new", "4", run=None)
    assert [one.key for one in store.list_artifacts()] == ["1", "2", "3", "4"]
    assert [one.key for one in store.list_artifacts(run_id="b")] == ["2"]
    assert [one.key for one in store.list_artifacts(run_id="odd/../name of a run")] == ["3"]
    assert [one.key for one in store.list_artifacts(before=AT)] == ["1"]
    assert [one.key for one in store.list_artifacts(type="diff")] == ["2"]
    assert store.runs() >= {"a", "b"}
    (listed,) = store.list_artifacts(run_id="a")
    assert (listed.name, listed.artifact.created_at) == ("x.log", AT - timedelta(days=2))


def test_contents_go_with_the_last_upload_that_needs_them(store: ObjectArtifacts, bucket: Bucket) -> None:
    artifact = keep(store, b"equal", "1", run="a")
    keep(store, b"equal", "1", run="b")
    (one,), (two,) = store.list_artifacts(run_id="a"), store.list_artifacts(run_id="b")
    assert store.forget(one) == 0
    assert store.download(artifact.uri) == b"equal"
    assert store.forget(two) == len(b"equal")
    assert objects(bucket) == {}
    assert store.list_artifacts() == []


def test_a_record_that_is_none_is_named(store: ObjectArtifacts, bucket: Bucket) -> None:
    put(bucket, "uploads/r/x.json", b"<html>")
    with pytest.raises(EnvironmentFault, match=r"uploads/r/x\.json is no record of an upload"):
        store.list_artifacts()


def test_a_bucket_that_is_there_is_healthy(store: ObjectArtifacts) -> None:
    store.health_check()


@pytest.mark.usefixtures("bucket")
def test_a_bucket_that_is_not_there_is_named() -> None:
    store = ObjectArtifacts("s3://no-such-bucket-here/p")
    for call in (store.health_check, lambda: keep(store, b"x"), store.list_artifacts, store.runs):
        with pytest.raises(EnvironmentFault, match=r"s3://no-such-bucket-here/p.*NoSuchBucket") as caught:
            call()
        assert not isinstance(caught.value, NotFound | Transient)
        assert caught.value.stop_reason == "service_request"


def test_credentials_that_the_server_refuses_are_said_to_be(store: ObjectArtifacts, bucket: Bucket) -> None:
    with logins_checked(bucket), pytest.raises(EnvironmentFault, match="answered 403: InvalidAccessKeyId") as caught:
        keep(store, b"x")
    assert caught.value.stop_reason == "service_auth"
    assert SECRET not in str(caught.value)


def test_half_a_login_is_said_to_be(store: ObjectArtifacts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(EnvironmentFault, match="Missing SecretAccessKey") as caught:
        keep(store, b"x")
    assert caught.value.stop_reason == "service_auth"
    whole = ObjectArtifacts(store.url, secrets=lambda: {"secret_access_key": SECRET})
    assert whole.download(keep(whole, b"x").uri) == b"x"


XML = "<?xml version='1.0'?><Error><Code>{}</Code><Message>{}</Message></Error>"


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        (301, EnvironmentFault, "service_request"),
        (400, EnvironmentFault, "service_request"),
        (401, EnvironmentFault, "service_auth"),
        (403, EnvironmentFault, "service_auth"),
        (408, Transient, "service_unavailable"),
        (409, EnvironmentFault, "service_request"),
        (429, Transient, "service_unavailable"),
        (500, Transient, "service_unavailable"),
        (503, Transient, "service_unavailable"),
        (200, EnvironmentFault, "service_bad_answer"),
    ],
)
def test_what_an_answer_is(
    monkeypatch: pytest.MonkeyPatch, status: int, kind: type[EnvironmentFault], reason: str
) -> None:
    body = XML.format("SomeCode", f"the secret is {SECRET}").encode() if status != 200 else b"<html>a login page"
    with serve(lambda _: Response(status, body)) as server:
        for name, value in s3_environ(server.url).items():
            monkeypatch.setenv(name, value)
        store = ObjectArtifacts(f"s3://{BUCKET}/p", mask=Masker({"secret": SECRET}).mask)
        for call in (lambda: keep(store, b"x"), store.list_artifacts):
            before = len(server.requests)
            with pytest.raises(kind, match=f"artifact store s3://{BUCKET}/p: ") as caught:
                call()
            assert len(server.requests) == before + 1, "the engine retries, not the library"
            assert type(caught.value) is kind
            assert caught.value.stop_reason == reason
            assert SECRET not in str(caught.value) and "Debug" not in str(caught.value)
            if status >= 400:
                assert f"answered {status}: SomeCode: the secret is ***" in str(caught.value)


def test_a_server_that_is_not_there_was_not_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = closed_port()
    for name, value in s3_environ(endpoint).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Unreached, match=f"cannot reach {endpoint}: Connection refused"):
        keep(ObjectArtifacts(f"s3://{BUCKET}"), b"x")


def test_a_server_that_is_slow_or_hangs_up_is_transient(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()

    def slow(_: Request) -> Response:
        ended.wait(20)
        return Response(200)

    with serve(slow) as server:
        for name, value in s3_environ(server.url).items():
            monkeypatch.setenv(name, value)
        began = time.monotonic()
        with pytest.raises(Transient, match=r"no answer from http://127\.0\.0\.1:\d+ within 0\.3 s"):
            keep(ObjectArtifacts(f"s3://{BUCKET}", timeout=timedelta(seconds=0.3)), b"x")
        assert time.monotonic() - began < 10
        ended.set()
    headers = {"ETag": '"1"', "Last-Modified": "Sun, 22 Nov 2026 10:30:00 GMT"}
    with serve(lambda _: Response(200, b"some of it", headers, cut=5)) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        with pytest.raises(Transient, match="download an artifact"):
            ObjectArtifacts(f"s3://{BUCKET}").download(f"s3://{BUCKET}/sha256/ab/{'c' * 62}")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_ENDPOINT_URL", "nonsense"),
        ("AWS_ENDPOINT_URL", "ftp://h"),
        ("AWS_ENDPOINT_URL_S3", "http://h:x"),
        ("AWS_ENDPOINT_URL", "http://h:99999"),
        ("AWS_ENDPOINT_URL", "http://h|x"),
        ("AWS_REGION", "a\nb"),
        ("AWS_ACCESS_KEY_ID", "an-id\n"),
        ("AWS_SECRET_ACCESS_KEY", "a-secret\n"),
        ("AWS_SESSION_TOKEN", "ä"),
    ],
)
def test_an_environment_that_cannot_be_used_is_said_to_be(
    monkeypatch: pytest.MonkeyPatch, bucket: Bucket, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(EnvironmentFault, match=f"artifact store .*: {name} must be"):
        keep(ObjectArtifacts(bucket.url), b"x")


@pytest.mark.parametrize("url", ["https://h", "s3://", "bucket", "azure://c/p"])
def test_another_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="is not a URL such as s3://bucket/prefix"):
        ObjectArtifacts(url)


@pytest.mark.parametrize(("days", "problem"), [(1, None), (-1, "Expired")])
def test_a_certificate_must_be_trusted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, days: int, problem: str | None
) -> None:
    authority, chain = certificates(tmp_path, ends=timedelta(days=days))
    with serve(lambda _: Response(404, b""), certificate=chain) as server:
        for name, value in s3_environ(server.url).items():
            monkeypatch.setenv(name, value)
        store = ObjectArtifacts(f"s3://{BUCKET}")
        with pytest.raises(EnvironmentFault, match=f"the certificate of {server.url} is not trusted: ") as caught:
            store.health_check()
        assert caught.value.stop_reason == "service_tls"
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        if problem is None:
            store.health_check()
        else:
            with pytest.raises(EnvironmentFault, match=f"is not trusted: {problem}"):
                store.health_check()


def certificates(folder: Path, *, ends: timedelta) -> tuple[Path, Path]:
    """An authority's certificate, and one of 127.0.0.1 by it with its key."""
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("an authority", "a server")]
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in names]
    made = []
    for name, key, is_authority in zip(names, keys, (True, False), strict=True):
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder(names[0], name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(days=9))
            .not_valid_after(now + (timedelta(days=9) if is_authority else ends))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
            .sign(keys[0], hashes.SHA256())
        )
        made.append(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "authority.pem").write_bytes(made[0])
    secret = keys[1].private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "server.pem").write_bytes(made[1] + secret)
    return folder / "authority.pem", folder / "server.pem"


def test_google_lists_and_removes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with gcs() as bucket:
        for name, value in bucket.environ.items():
            monkeypatch.setenv(name, value)
        store = ObjectArtifacts(bucket.url)
        artifact = keep(store, b"one")
        assert keep(store, b"two") == artifact
        (listed,) = store.list_artifacts(run_id="r")
        assert listed.artifact == artifact
        assert store.forget(listed) == 3
        assert store.list_artifacts() == []
        with pytest.raises(NotFound):
            store.download(artifact.uri)
