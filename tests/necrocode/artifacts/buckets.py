"""Buckets on loopback: moto's S3 server, and as much of Google Cloud Storage as artifacts need."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

import httpx
from moto.server import ThreadedMotoServer

from tests.necrocode.loopback import Request, Response, serve

SECRET = "a-secret-access-key-of-nobody"
BUCKET = "artifacts-of-a-test"


@dataclass(frozen=True)
class Bucket:
    """A bucket, and the environment in which it is reached."""

    url: str
    endpoint: str
    environ: dict[str, str]


def s3_environ(endpoint: str) -> dict[str, str]:
    """What a user of S3 sets."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "an-access-key-id",
        "AWS_SECRET_ACCESS_KEY": SECRET,
    }


@contextlib.contextmanager
def moto(*, port: int = 0, bucket: str | None = BUCKET) -> Iterator[Bucket]:
    """moto's server, with one bucket in it."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    try:
        host, found = server.get_host_and_port()
        endpoint = f"http://{host}:{found}"
        httpx.post(f"{endpoint}/moto-api/reset", trust_env=False).raise_for_status()
        if bucket is not None:
            httpx.put(f"{endpoint}/{bucket}", trust_env=False).raise_for_status()
        yield Bucket(f"s3://{bucket or BUCKET}/some/prefix", endpoint, s3_environ(endpoint))
    finally:
        server.stop()


@contextlib.contextmanager
def logins_checked(bucket: Bucket) -> Iterator[None]:
    """Let moto, which takes every login, refuse those that it does not know."""
    reset = f"{bucket.endpoint}/moto-api/reset-auth"
    httpx.post(reset, content=b"0", trust_env=False).raise_for_status()
    try:
        yield
    finally:
        httpx.post(reset, content=b"inf", trust_env=False).raise_for_status()


@dataclass
class _Objects:
    """Google's XML calls: put, get, delete, list."""

    kept: dict[str, bytes] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, request: Request) -> Response:
        name = "/".join(request.path[1:])
        with self.lock:
            if request.method == "PUT":
                if request.headers.get("x-goog-if-generation-match") == "0" and name in self.kept:
                    return Response(412, b"<Error><Code>PreconditionFailed</Code></Error>")
                self.kept[name] = request.content
                return Response(200, b"", {"ETag": '"1"', "x-goog-generation": "1"})
            if not name:
                return Response(200, self._listed(request.query["prefix"]), {"Content-Type": "application/xml"})
            if name not in self.kept:
                return Response(404, b"<Error><Code>NoSuchKey</Code></Error>")
            if request.method == "DELETE":
                del self.kept[name]
                return Response(204)
            return Response(200, self.kept[name], {"ETag": '"1"', "Last-Modified": "Sun, 22 Nov 2026 10:30:00 GMT"})

    def _listed(self, prefix: str) -> bytes:
        found = "".join(
            f"<Contents><Key>{escape(name)}</Key><Size>{len(content)}</Size><ETag>1</ETag>"
            "<LastModified>2026-11-22T10:30:00Z</LastModified></Contents>"
            for name, content in sorted(self.kept.items())
            if name.startswith(prefix)
        )
        return f"<ListBucketResult>{found}</ListBucketResult>".encode()


@contextlib.contextmanager
def gcs() -> Iterator[Bucket]:
    """A server that answers like Google's, for what artifacts need of it."""
    with serve(_Objects().answer) as server:
        environ = {"GOOGLE_BASE_URL": server.url, "GOOGLE_BEARER_TOKEN": "a-bearer-token-of-nobody"}
        yield Bucket(f"gs://{BUCKET}/p", server.url, environ)
