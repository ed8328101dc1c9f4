"""The services on a real port of loopback: in a thread of the test, or as the command in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import uvicorn

from necrocode.artifacts.local import LocalArtifacts
from necrocode.embedded.database import open_services
from necrocode.pool.embedded import EmbeddedPool
from necrocode.pool.holders import LeaseHolders
from necrocode.serve.application import PARTS, Part, Services, application
from necrocode.serve.gate import Limits
from necrocode.serve.listening import listen
from necrocode.serve.tokens import Tokens
from tests.e2e.commands import Forked

LEASE = timedelta(minutes=10)


@contextlib.contextmanager
def stores(home: Path, *, lease: timedelta = LEASE, slots: int = 2) -> Iterator[Services]:
    """The stores of a home, as the command opens them; every run is over as soon as its lease is."""
    database = open_services(home)
    pool = EmbeddedPool(
        database, home, limit=slots, run_is_over=lambda _: True, quiesce=lambda _: None, holders=LeaseHolders(lease)
    )
    yield Services(database, pool, LocalArtifacts(database, home / "artifacts"), lease)
    database.close()


@contextlib.contextmanager
def listening(
    services: Services, *, tokens: Tokens | None = None, limits: Limits | None = None, parts: Collection[Part] = PARTS
) -> Iterator[str]:
    """Serve ``services`` from a thread; gives the URL."""
    app = application(services, tokens or Tokens(), limits or Limits(), parts)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=10))
    with listen("127.0.0.1", 0) as socket:
        port = socket.getsockname()[1]
        thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            thread.join()


@dataclass
class Served:
    """The command, running."""

    process: Forked
    urls: Mapping[str, str]
    home: Path

    @property
    def url(self) -> str:
        """Of the registry."""
        return self.urls["registry"]


@contextlib.contextmanager
def command(home: Path, *arguments: str, environ: Mapping[str, str] | None = None, port: int = 0) -> Iterator[Served]:
    """``necrocode serve`` in a process of its own, killed at the end if it is still there."""
    line = ["serve", "--json", "--home", str(home), "--port", str(port), *arguments]
    process = Forked(line, os.environ if environ is None else environ, Path.cwd())

    def listens() -> bool:
        assert process.poll() is None, process.said()
        return process.said()[0].endswith("}\n")

    try:
        eventually(listens)
        yield Served(process, json.loads(process.said()[0]), home)
    finally:
        process.kill()
        process.communicate()


def eventually(condition: Callable[[], object]) -> None:
    """Wait until ``condition`` holds; it must within a minute."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not become true"
        time.sleep(0.02)
