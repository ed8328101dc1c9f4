"""Bad input of the three clients: whatever a server answers, a call ends soon, in one clear error of the right class.

Every row of a table is tried on every call of every client that it applies to.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from necrocode.artifacts.rest import ArtifactStoreClient
from necrocode.engine.errors import EnvironmentFault, Transient, Unreached
from necrocode.engine.stop import StopToken
from necrocode.errors import NotFound
from necrocode.masking import Masker
from necrocode.pool.rest import RepoPoolClient
from necrocode.registry.rest import TaskRegistryClient
from necrocode.states.ports import Artifact, SlotAllocation
from tests.necrocode.loopback import Response, serve

AT = datetime(2026, 11, 22, 10, 30, tzinfo=UTC)
TOKEN = "Kq7-0123456789-abcdef"
SHA256 = hashlib.sha256(b"x").hexdigest()
LOAN = SlotAllocation("slot 1", Path("/"), 1, "pool")
MEGABYTE = 1024 * 1024

Client: TypeAlias = TaskRegistryClient | RepoPoolClient | ArtifactStoreClient
Make: TypeAlias = Callable[..., Client]


@dataclass(frozen=True)
class Asked:
    """One call of one client."""

    make: Make
    #: What an error of it begins with.
    name: str
    do: Callable[[Any], object]
    #: Whether it needs a JSON object in the answer.
    reads: bool = False
    #: Statuses that are an answer of this call's own.
    knows: frozenset[int] = frozenset()
    #: Whether any bytes are an answer.
    takes_bytes: bool = False

    def __str__(self) -> str:
        return self.name.replace(": ", "-").replace(" ", "_")


CALLS = [
    Asked(
        TaskRegistryClient,
        "task registry: set the status",
        lambda client: client.set_status("1", "s", "done", metadata={}, at=AT, key="k", epoch=1),
    ),
    Asked(
        TaskRegistryClient,
        "task registry: report TaskCompleted",
        lambda client: client.add_event("1", "s", "TaskCompleted", data={}, at=AT, key="k", epoch=1),
    ),
    Asked(
        TaskRegistryClient,
        "task registry: report an artifact",
        lambda client: client.add_artifact(
            "1", "s", Artifact("diff", "file:///x", 3, SHA256, AT, {}), key="k", epoch=1
        ),
    ),
    Asked(TaskRegistryClient, "task registry: get the task", lambda client: client.get_task("1"), reads=True),
    Asked(TaskRegistryClient, "task registry: check its health", lambda client: client.health_check()),
    Asked(
        RepoPoolClient,
        "repo pool: allocate a slot",
        lambda client: client.allocate(
            "https://git.example/x.git", run_id="r", key="k", timeout=timedelta(0), stop=StopToken()
        ),
        reads=True,
        knows=frozenset({409}),
    ),
    Asked(
        RepoPoolClient,
        "repo pool: release the slot",
        lambda client: client.release(LOAN, run_id="r", key="k"),
        knows=frozenset({404, 409, 410}),
    ),
    Asked(
        RepoPoolClient,
        "repo pool: look at the slot",
        lambda client: client.holds(LOAN, run_id="r"),
        reads=True,
        knows=frozenset({404, 410}),
    ),
    Asked(
        RepoPoolClient,
        "repo pool: renew the loan",
        lambda client: client.renew(LOAN, run_id="r"),
        knows=frozenset({404, 405, 409, 410, 501}),
    ),
    Asked(RepoPoolClient, "repo pool: check its health", lambda client: client.health_check()),
    Asked(
        ArtifactStoreClient,
        "artifact store: upload x.log",
        lambda client: client.upload(b"x", type="log", name="x.log", metadata={}, at=AT, key="k"),
        reads=True,
    ),
    Asked(
        ArtifactStoreClient,
        "artifact store: download an artifact",
        lambda client: client.download("/artifacts/1"),
        takes_bytes=True,
    ),
    Asked(
        ArtifactStoreClient,
        "artifact store: get an artifact's metadata",
        lambda client: client.metadata("/artifacts/1"),
        reads=True,
    ),
    Asked(ArtifactStoreClient, "artifact store: check its health", lambda client: client.health_check()),
]
READING = [call for call in CALLS if call.reads]
ONE_EACH = [CALLS[0], CALLS[6], CALLS[11]]
"""One call of each client, for what all calls of a client have in common."""


def failure(call: Asked, url: str, *, seconds: float = 5) -> EnvironmentFault:
    """What the call fails with; it has to, in words that name service and call."""
    client = call.make(url, TOKEN, timeout=timedelta(seconds=seconds), mask=Masker({"token": TOKEN}).mask)
    try:
        with pytest.raises(EnvironmentFault) as caught:
            call.do(client)
    finally:
        client.close()
    text = str(caught.value)
    assert text.startswith(f"{call.name}: "), text
    assert TOKEN not in text
    assert len(text) < 1000
    return caught.value


# --- what an answer says ---

STATUSES: dict[int, tuple[type[EnvironmentFault], str]] = {
    400: (EnvironmentFault, "service_request"),
    401: (EnvironmentFault, "service_auth"),
    403: (EnvironmentFault, "service_auth"),
    404: (NotFound, "service_request"),
    409: (EnvironmentFault, "service_request"),
    422: (EnvironmentFault, "service_request"),
    429: (Transient, "service_unavailable"),
    500: (Transient, "service_unavailable"),
    502: (Transient, "service_unavailable"),
    503: (Transient, "service_unavailable"),
}


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_a_refusal_names_call_status_and_the_servers_words(call: Asked) -> None:
    for status, (kind, reason) in STATUSES.items():
        if status in call.knows:
            continue
        said = {"error": {"code": "x", "message": f"so it is, {TOKEN} " + "y" * 10_000}}
        answer = Response(status, said, {"Retry-After": "7"})
        with serve(partial(lambda given, _: given, answer)) as server:
            found = failure(call, server.url)
            assert len(server.requests) == 1, "the engine retries, not the client"
        assert f"answered {status}: so it is, *** yyy" in str(found)
        assert (type(found), found.stop_reason) == (kind, reason)
        if isinstance(found, Transient):
            assert found.retry_after == timedelta(seconds=7)


@pytest.mark.parametrize("call", CALLS, ids=str)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(call: Asked, status: int) -> None:
    with serve(lambda _: Response()) as elsewhere:
        to = f"{elsewhere.url}/login?token={TOKEN}"
        with serve(lambda _: Response(status, headers={"Location": to})) as server:
            found = failure(call, server.url)
        assert elsewhere.requests == []
    assert f"it redirects to {elsewhere.url}/login?token=***; set that URL instead" in str(found)
    assert (type(found), found.stop_reason) == (EnvironmentFault, "service_request")


PAGE = Response(200, b"<!doctype html><title>Log in</title>", {"Content-Type": "text/html; charset=utf-8"})


@pytest.mark.parametrize("call", [call for call in CALLS if not call.takes_bytes], ids=str)
def test_a_page_is_no_answer_to_anything(call: Asked) -> None:
    with serve(lambda _: PAGE) as server:
        found = failure(call, server.url)
    assert "the answer (200) is an HTML page: is there a login page or a proxy in between" in str(found)
    assert (type(found), found.stop_reason) == (EnvironmentFault, "service_bad_answer")


@pytest.mark.parametrize("call", [call for call in CALLS if call.knows], ids=str)
def test_a_status_that_a_call_knows_may_come_with_a_page(call: Asked) -> None:
    for status in call.knows - {409}:
        with serve(partial(lambda given, _: given, replace(PAGE, status=status))) as server:
            client = call.make(server.url)
            if status == 410 and "renew" in call.name:
                with pytest.raises(EnvironmentFault, match="slot 1 is no longer lent to this run"):
                    call.do(client)
            else:
                call.do(client)
            client.close()


SHAPES: dict[str, tuple[Response, str]] = {
    "no content": (Response(204), r"the answer \(204\) has no body"),
    "nothing": (Response(200, b"  \n"), r"the answer \(200\) has no body"),
    "cut JSON": (Response(200, b'{"slot_id": "1", '), "the answer is not JSON"),
    "no UTF-8": (Response(200, b'{"uri": "\xff"}'), "the answer is not JSON"),
    "nested without end": (Response(200, b'{"a":' * 100_000), "the answer is not JSON"),
    "no gzip": (Response(200, b"{}", {"Content-Encoding": "gzip"}), "incorrect header check"),
    "a list": (Response(200, [{"uri": "x"}]), "must be a JSON object, not a list"),
    "text": (Response(200, "ok"), "must be a JSON object, not empty text|must be a JSON object, not text"),
    "null": (Response(200, None), "must be a JSON object, not missing|must be a JSON object, not null"),
}


@pytest.mark.parametrize("call", READING, ids=str)
@pytest.mark.parametrize("shape", SHAPES)
def test_an_answer_of_a_wrong_shape_says_what_is_wrong(call: Asked, shape: str) -> None:
    response, problem = SHAPES[shape]
    with serve(lambda _: response) as server:
        found = failure(call, server.url)
    assert pytest.RaisesExc(EnvironmentFault, match=problem).matches(found), found
    assert (type(found), found.stop_reason) == (EnvironmentFault, "service_bad_answer")


GET_TASK, ALLOCATE, UPLOAD = CALLS[3], CALLS[5], CALLS[10]
FIELDS: list[tuple[Asked, Any, str]] = [
    (GET_TASK, {}, "field 'status' of the answer must be text, not missing"),
    (GET_TASK, {"status": 7}, "field 'status' of the answer must be text, not a number"),
    (GET_TASK, {"status": "done", "metadata": []}, "field 'metadata' of the answer must be an object"),
    (GET_TASK, {"status": "done", "updated_at": "soon"}, "field 'updated_at' of the answer must be Unix seconds"),
    (GET_TASK, {"status": "\ud800"}, "field 'status' of the answer holds half a character"),
    (ALLOCATE, {"slot_path": "/"}, "field 'slot_id' of the answer must be text, not missing"),
    (ALLOCATE, {"slot_id": ["1"], "slot_path": "/"}, "field 'slot_id' of the answer must be text, not a list"),
    (ALLOCATE, {"slot_id": "\ud800", "slot_path": "/"}, "field 'slot_id' of the answer holds half a character"),
    (ALLOCATE, {"slot_id": "1", "slot_path": 1}, "field 'slot_path' of the answer must be text, not a number"),
    (ALLOCATE, {"slot_id": "1", "slot_path": "/" + "x" * 5000}, "there is no such folder on this machine|xxx…"),
    (ALLOCATE, {"slot_id": "1", "slot_path": f"/{TOKEN}"}, "slot 1 is /***, and there is no such folder"),
    (ALLOCATE, {"slot_id": "1", "slot_path": "/", "generation": 1.5}, "field 'generation' of the answer must be"),
    (UPLOAD, {}, "field 'uri' of the answer must be text, not missing"),
    (UPLOAD, {"uri": {"href": "x"}}, "field 'uri' of the answer must be text, not an object"),
    (UPLOAD, {"uri": "/x", "sha256": "0" * 64}, f"the store has kept other bytes: their SHA-256 is {'0' * 64}"),
]


@pytest.mark.parametrize(("call", "body", "problem"), FIELDS, ids=range(len(FIELDS)))
def test_a_field_of_a_wrong_type_is_named(call: Asked, body: Any, problem: str) -> None:
    with serve(lambda _: Response(200, body)) as server:
        found = failure(call, server.url)
    assert any(words in str(found) for words in problem.split("|")), found
    assert (type(found), found.stop_reason) == (EnvironmentFault, "service_bad_answer")


def test_a_download_with_a_wrong_checksum_is_refused() -> None:
    with serve(lambda _: Response(200, b"other bytes")) as server:
        client = ArtifactStoreClient(server.url)
        wrong = "artifact store: download an artifact: these are other bytes: their SHA-256 is "
        for uri, sha256 in ((f"/artifacts/sha256/{SHA256}", None), ("/artifacts/7", SHA256.upper())):
            with pytest.raises(EnvironmentFault, match=wrong) as caught:
                client.download(uri, sha256=sha256)
            assert caught.value.stop_reason == "service_bad_answer"
        assert client.download("/artifacts/7") == b"other bytes", "nobody knows what it should have been"
        client.close()


# --- how an answer comes ---

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n"


@contextlib.contextmanager
def talking(talk: Callable[[socket.socket], object], *, wrap: ssl.SSLContext | None = None) -> Iterator[str]:
    """A server that reads what comes first on each connection, and then has ``talk`` do as it likes."""
    over = threading.Event()

    def listen() -> None:
        while not over.is_set():
            with contextlib.suppress(OSError), listener.accept()[0] as plain:
                if over.is_set():
                    return
                with wrap.wrap_socket(plain, server_side=True) if wrap else plain as connection:
                    connection.recv(65_536)
                    talk(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield f"{'https' if wrap else 'http'}://127.0.0.1:{port}"
        finally:
            over.set()
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port)).close()
            thread.join()


def drip(begin: bytes, connection: socket.socket) -> None:
    """Say a byte now and then, for ever."""
    connection.sendall(begin)
    while True:
        time.sleep(0.02)
        connection.sendall(b"x")


@pytest.mark.parametrize("call", ONE_EACH, ids=str)
@pytest.mark.parametrize(
    "begin", [b"", b"HTTP/1.1 200 OK\r\nX-Long: ", HEAD + b"\r\n"], ids=["status", "header", "body"]
)
def test_an_answer_that_drips_ends_at_the_timeout(call: Asked, begin: bytes) -> None:
    began = time.monotonic()
    with talking(partial(drip, begin or b"HTTP/1.1 200 ")) as url:
        found = failure(call, url, seconds=0.3)
    assert time.monotonic() - began < 20
    assert f"no answer from {url} within 0.3 s" in str(found)
    assert type(found) is Transient


def test_a_server_that_takes_no_more_of_an_upload_ends_at_the_timeout() -> None:
    over = threading.Event()
    with talking(lambda _: over.wait(30)) as url:
        client = ArtifactStoreClient(url, timeout=timedelta(seconds=0.3))
        began = time.monotonic()
        with pytest.raises(Transient, match=f"artifact store: upload x: no answer from {url} within 0.3 s"):
            client.upload(b"x" * 20 * MEGABYTE, type="log", name="x", metadata={}, at=AT, key="k")
        assert time.monotonic() - began < 10
        client.close()
        over.set()


@pytest.mark.parametrize("call", [call for call in CALLS if not call.takes_bytes], ids=str)
@pytest.mark.parametrize("status", [200, 500])
def test_a_hundred_megabytes_are_not_read_to_their_end(call: Asked, status: int) -> None:
    sent = 0

    def flood(connection: socket.socket) -> None:
        nonlocal sent
        connection.sendall(f"HTTP/1.1 {status} OK\r\nContent-Length: {100 * MEGABYTE}\r\n\r\n".encode())
        piece = b"x" * MEGABYTE
        for _ in range(100):
            connection.sendall(piece)
            sent += len(piece)

    with talking(flood) as url:
        found = failure(call, url)
    # what is sent and not read waits in the kernel's buffers
    assert sent < 30 * MEGABYTE
    if status == 200:
        assert "the answer is larger than 4,194,304 bytes" in str(found)
        assert (type(found), found.stop_reason) == (EnvironmentFault, "service_bad_answer")
    else:
        assert "answered 500: xxx" in str(found)
        assert type(found) is Transient


def test_a_download_of_a_hundred_megabytes_comes_whole() -> None:
    def flood(connection: socket.socket) -> None:
        connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {100 * MEGABYTE}\r\n\r\n".encode())
        for _ in range(100):
            connection.sendall(b"x" * MEGABYTE)

    with talking(flood) as url:
        client = ArtifactStoreClient(url, timeout=timedelta(seconds=30))
        assert len(client.download("/artifacts/1")) == 100 * MEGABYTE
        client.close()


def reset(before: bytes, connection: socket.socket) -> None:
    """Say the beginning of an answer, and reset the connection."""
    connection.sendall(before)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize("call", ONE_EACH, ids=str)
@pytest.mark.parametrize("before", [b"", HEAD, HEAD + b"\r\n{"], ids=["at once", "in the headers", "in the body"])
def test_a_reset_in_the_middle_is_in_doubt(call: Asked, before: bytes) -> None:
    with talking(partial(reset, before)) as url:
        found = failure(call, url)
    assert f"cannot reach {url}: " in str(found)
    assert type(found) is Transient, "it may have arrived"


@pytest.mark.parametrize("call", ONE_EACH, ids=str)
@pytest.mark.parametrize(
    "words", [b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 200 OK\r\n" + b"X-Long: " + b"x" * 10 * MEGABYTE]
)
def test_what_is_no_http_is_said(call: Asked, words: bytes) -> None:
    with talking(lambda connection: connection.sendall(words)) as url:
        found = failure(call, url)
    assert f"cannot reach {url}: " in str(found)
    assert type(found) is Transient


@pytest.fixture(scope="module")
def expired(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate of 127.0.0.1 that was good for one day of 2020, in one file."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("certificate")
    (folder / "index").touch()
    (folder / "serial").write_text("01\n")
    (folder / "conf").write_text(
        "[ca]\ndefault_ca = own\n[own]\ndatabase = index\nserial = serial\nnew_certs_dir = .\ndefault_md = sha256\n"
        "policy = any\nx509_extensions = for\n[any]\ncommonName = supplied\n[for]\nsubjectAltName = IP:127.0.0.1\n"
        "[req]\ndistinguished_name = nobody\n[nobody]\n"
    )
    request = "req -new -config conf -newkey rsa:2048 -nodes -keyout key.pem -out request.pem -subj /CN=localhost"
    sign = (
        "ca -batch -notext -selfsign -config conf -keyfile key.pem -in request.pem -out certificate.pem "
        "-startdate 20200101000000Z -enddate 20200102000000Z"
    )
    for words in (request, sign):
        subprocess.run([openssl, *words.split()], cwd=folder, check=True, capture_output=True)
    both = folder / "both.pem"
    both.write_bytes((folder / "key.pem").read_bytes() + (folder / "certificate.pem").read_bytes())
    return both


@pytest.mark.parametrize("call", ONE_EACH, ids=str)
def test_an_expired_certificate_is_named(call: Asked, expired: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(expired)
    with talking(lambda _: None, wrap=context) as url:
        untrusted = failure(call, url)
        # trusted otherwise: then its age is what is wrong with it
        monkeypatch.setenv("SSL_CERT_FILE", str(expired))
        found = failure(call, url)
    assert f"the certificate of {url} is not trusted: " in str(untrusted)
    assert f"the certificate of {url} is not trusted: " in str(found)
    assert "certificate has expired" in str(found)
    for error in (untrusted, found):
        assert (type(error), error.stop_reason) == (EnvironmentFault, "service_tls"), "nothing that waiting mends"


@pytest.mark.parametrize("call", ONE_EACH, ids=str)
def test_a_server_that_comes_back_is_used_again(call: Asked) -> None:
    # else a thread of the test's server would go on with the connection that is there
    there = Response(200, {}, {"Connection": "close"})
    with serve(lambda _: there) as server:
        client = call.make(server.url, timeout=timedelta(seconds=5))
        call.do(client)
    with contextlib.closing(client):
        for _ in range(2):
            with pytest.raises(Unreached, match=f"{call.name}: cannot reach {server.url}: "):
                call.do(client)
        with serve(lambda _: there, port=int(server.url.rpartition(":")[2])) as back:
            call.do(client)
            assert len(back.requests) == 1


@pytest.mark.parametrize("call", ONE_EACH, ids=str)
def test_a_proxy_of_the_environment_that_cannot_be_used_is_said(call: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "gopher://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    found = failure(call, "https://service.invalid")
    assert "the proxy or the certificates that the environment names cannot be used: " in str(found)


def test_words_that_no_terminal_can_write_are_replaced() -> None:
    said = json.dumps({"detail": "half \ud800 \x1b[31m a character"}).encode()
    with serve(lambda _: Response(422, said)) as server:
        found = failure(CALLS[0], server.url)
    assert "half ? [31m a character" in str(found)
    assert str(found).encode()
