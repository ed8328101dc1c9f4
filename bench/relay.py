"""A relay on loopback before a model's server: passes everything on as it is, and remembers what was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

from necrocode.scripted.script import position_of

#: Seconds that a slow model may take between two bytes.
_PATIENCE = 600.0


class Relay(ThreadingHTTPServer):
    """Listens on a free port of 127.0.0.1 and asks ``behind``, a URL that ends with ``/v1``."""

    daemon_threads = True

    def __init__(self, behind: str) -> None:
        super().__init__(("127.0.0.1", 0), _Passing)
        self.behind = behind.removesuffix("/v1")
        self.lock = threading.Lock()
        #: Of each chat request, in order: the place in the conversation, as the number of answers that it holds.
        self.positions: list[int] = []

    @property
    def url(self) -> str:
        """What an ``llm_endpoint`` is set to."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that is killed hangs up: nothing is printed."""


@contextmanager
def relayed(behind: str) -> Iterator[Relay]:
    """A relay that listens until the context ends."""
    with Relay(behind) as relay:
        thread = threading.Thread(target=relay.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield relay
        finally:
            relay.shutdown()
            thread.join()


class _Passing(BaseHTTPRequestHandler):
    server: Relay

    def do_GET(self) -> None:
        self._pass(b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.server.lock:
            self.server.positions.append(position_of(json.loads(body)["messages"]))
        self._pass(body)

    def log_message(self, format: str, *args: object) -> None:
        """Requests are remembered, not printed."""

    def _pass(self, body: bytes) -> None:
        url, headers = self.server.behind + self.path, {"Content-Type": "application/json"}
        with httpx.stream(self.command, url, content=body, headers=headers, timeout=_PATIENCE) as answer:
            self.send_response(answer.status_code)
            self.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
            # without a length the end of the connection is the end of the answer
            self.send_header("Connection", "close")
            self.end_headers()
            for piece in answer.iter_raw():
                self.wfile.write(piece)
