"""A small real HTTP server on loopback, answered by a function of the test."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass(frozen=True)
class Request:
    """What came in."""

    method: str
    #: Segments of the path, unquoted.
    path: tuple[str, ...]
    query: dict[str, str]
    #: Names in small letters.
    headers: dict[str, str]
    content: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.content)

    def parts(self) -> dict[str, bytes]:
        """The fields of a multipart body."""
        boundary = self.headers["content-type"].partition("boundary=")[2].encode()
        found = {}
        for part in self.content.split(b"--" + boundary)[1:-1]:
            head, _, body = part.strip(b"\r\n").partition(b"\r\n\r\n")
            name = head.partition(b'name="')[2].partition(b'"')[0].decode()
            found[name] = body
        return found


@dataclass(frozen=True)
class Response:
    """What goes out. ``body``: bytes as they are, anything else as JSON."""

    status: int = 200
    body: Any = b""
    headers: dict[str, str] = field(default_factory=dict)
    #: The bytes promised but not sent: the connection is cut instead.
    cut: int = 0


@dataclass
class Loopback:
    """A running server."""

    url: str
    requests: list[Request] = field(default_factory=list)


@contextlib.contextmanager
def serve(
    answer: Callable[[Request], Response], *, port: int = 0, certificate: Path | None = None
) -> Iterator[Loopback]:
    """Serve on ``port``, or on a free one, until the block ends. ``certificate``: of https, with its key."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            parts = urlsplit(self.path)
            request = Request(
                self.command,
                tuple(unquote(part) for part in parts.path.split("/")[1:]),
                {name: values[0] for name, values in parse_qs(parts.query).items()},
                {name.lower(): value for name, value in self.headers.items()},
                self.rfile.read(int(self.headers.get("content-length", 0))),
            )
            server.requests.append(request)
            response = answer(request)
            body = response.body
            headers = dict(response.headers)
            if not isinstance(body, bytes):
                body = json.dumps(body).encode()
                headers.setdefault("Content-Type", "application/json")
            self.send_response(response.status)
            for name, value in headers.items():
                self.send_header(name, value)
            if response.status != 204:
                self.send_header("Content-Length", str(len(body) + response.cut))
            self.end_headers()
            # a client that has seen enough hangs up
            with contextlib.suppress(OSError):
                self.wfile.write(body)
            if response.cut:
                self.close_connection = True

        do_GET = do_POST = do_PUT = do_DELETE = _handle

        def log_message(self, format: str, *args: Any) -> None:  # noqa: ARG002
            return

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            # a client that hung up is none of the server's faults
            if not isinstance(sys.exception(), OSError):
                super().handle_error(request, client_address)

    http = Server(("127.0.0.1", port), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        # shaken hands with in the thread of each connection: one that never does holds nobody up
        http.socket = context.wrap_socket(http.socket, server_side=True, do_handshake_on_connect=False)
    server = Loopback(f"http{'s' if certificate else ''}://127.0.0.1:{http.server_port}")
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


def closed_port() -> str:
    """The address of a service that is not there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"
