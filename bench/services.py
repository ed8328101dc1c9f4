"""Throughput of ``necrocode serve``: asked plainly, and through our own clients.

    python -m bench.services [--clients N …] [--seconds S] [--megabytes N]

The real command in a process of its own, on a fresh home, synced at every write; clients in threads of this process,
each with a connection of its own. One client alone shows what a call takes, several show what the server can do. A
plain client is one :class:`httpx.Client`, which checks nothing; a checksum of what comes down is part of our own
client's work. Both write under idempotency keys.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import httpx
from rich.console import Console
from rich.table import Table

from necrocode.artifacts.rest import ArtifactStoreClient
from necrocode.engine.stop import StopToken
from necrocode.pool.rest import RepoPoolClient
from necrocode.registry.rest import TaskRegistryClient

Work: TypeAlias = Callable[[int], object]
"""One call (or one pair of calls); its argument is never the same twice."""

AT = datetime(2026, 1, 1, tzinfo=UTC)
MEGABYTE = 1024 * 1024
TIMEOUT = timedelta(seconds=60)


@dataclass(frozen=True)
class Call:
    """What is measured."""

    name: str
    plain: Callable[[httpx.Client, int], object]
    ours: Callable[[Ours, int], object]


@dataclass
class Ours:
    """One thread's clients of ours."""

    registry: TaskRegistryClient
    pool: RepoPoolClient
    artifacts: ArtifactStoreClient

    @classmethod
    def at(cls, urls: Mapping[str, str]) -> Ours:
        """For the services at ``urls``."""
        return cls(
            TaskRegistryClient(urls["registry"], timeout=TIMEOUT),
            RepoPoolClient(urls["pool"], timeout=TIMEOUT),
            ArtifactStoreClient(urls["artifacts"], timeout=TIMEOUT),
        )

    def close(self) -> None:
        """Close the connections."""
        for client in (self.registry, self.pool, self.artifacts):
            client.close()


@dataclass(frozen=True, slots=True)
class Measured:
    """One kind of call by some clients at once."""

    per_second: float
    median_ms: float
    p99_ms: float

    def cells(self) -> list[str]:
        """As columns of the table."""
        return [f"{self.per_second:,.0f}", f"{self.median_ms:.1f}", f"{self.p99_ms:.1f}"]


def calls(size: int, uri: str) -> list[Call]:
    """What is measured: with artifacts of ``size`` bytes, of which one lies at ``uri``."""
    content = b"x" * size
    megabytes = f"{size / MEGABYTE:g} MB"
    return [
        Call("report status", _plain_status, _status),
        Call("report event", _plain_event, _event),
        Call("lend, release", _plain_slot, _slot),
        Call(f"upload {megabytes}", partial(_plain_upload, content=content), partial(_upload, content=content)),
        Call(
            f"download {megabytes}",
            lambda client, _: _good(client.get(uri)).content,
            lambda ours, _: ours.artifacts.download(uri),
        ),
    ]


def main() -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.services", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clients", type=int, nargs="*", default=[1, 8], metavar="N", help="clients at once")
    parser.add_argument("--seconds", type=float, default=3, metavar="S", help="of each measurement")
    parser.add_argument("--megabytes", type=float, default=1, metavar="N", help="size of an artifact")
    options = parser.parse_args()
    table = Table(title="necrocode serve, every write synced: asked plainly | through our clients")
    for column in ("call", "clients", *["/s", "p50 ms", "p99 ms"] * 2):
        table.add_column(column, justify="left" if column == "call" else "right", no_wrap=True)
    numbers = itertools.count()
    with tempfile.TemporaryDirectory(prefix="necrocode-bench-") as folder, served(Path(folder)) as urls:
        size = int(options.megabytes * MEGABYTE)
        first = Ours.at(urls)
        kept = first.artifacts.upload(b"x" * size, type="log", name="x", metadata={}, at=AT, key="first")
        first.close()
        for count, call in itertools.product(options.clients, calls(size, kept.uri)):
            with ExitStack() as stack:
                # one port serves all three
                plain = [stack.enter_context(httpx.Client(base_url=urls["registry"], timeout=60)) for _ in range(count)]
                ours = [Ours.at(urls) for _ in range(count)]
                for each in ours:
                    stack.callback(each.close)
                asked = measure([partial(call.plain, each) for each in plain], numbers, options.seconds)
                through = measure([partial(call.ours, each) for each in ours], numbers, options.seconds)
            table.add_row(call.name, str(count), *asked.cells(), *through.cells())
    Console().print(table)
    return 0


def measure(crowd: list[Work], numbers: Iterator[int], seconds: float) -> Measured:
    """Everybody works for so long. Raises what went wrong in one of them."""
    times: list[float] = []
    failures: list[Exception] = []
    for once in crowd:
        # connections are made, and certificates loaded, before anybody looks at the clock
        once(next(numbers))
    until = time.perf_counter() + seconds

    def work(once: Work) -> None:
        own = []
        try:
            while (began := time.perf_counter()) < until:
                once(next(numbers))
                own.append(time.perf_counter() - began)
        except Exception as error:  # noqa: BLE001 - raised where the table is made
            failures.append(error)
        times.extend(own)

    threads = [threading.Thread(target=work, args=(once,)) for once in crowd]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - began
    if failures:
        raise failures[0]
    ordered = sorted(times)
    p99 = ordered[max(0, int(len(ordered) * 0.99) - 1)]
    return Measured(len(ordered) / took, statistics.median(ordered) * 1000, p99 * 1000)


@contextmanager
def served(home: Path) -> Iterator[dict[str, str]]:
    """The command, running; gives the URLs."""
    line = [sys.executable, "-m", "necrocode", "serve", "--json", "--port", "0", "--home", str(home)]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        document = ""
        while not document.rstrip().endswith("}"):
            read = process.stdout.readline()
            if not read:
                raise SystemExit("necrocode serve did not start")
            document += read
        try:
            yield json.loads(document)
        finally:
            process.terminate()


# --- asked plainly ---


def _plain_status(client: httpx.Client, number: int) -> object:
    about = {"spec_name": "bench", "run_id": f"run-{number}"}
    body = {"status": "running", "metadata": about, "updated_at": AT.timestamp()}
    return _good(client.put(f"/tasks/s{number}/status", json=body, headers=_key(number)))


def _plain_event(client: httpx.Client, number: int) -> object:
    body = {"event_type": "E", "data": {"spec_name": "bench", "n": number}, "timestamp": AT.timestamp()}
    return _good(client.post(f"/tasks/t{number % 100}/events", json=body, headers=_key(number)))


def _plain_slot(client: httpx.Client, number: int) -> object:
    ask: dict[str, Any] = {"repo_url": _repository(), "required_by": f"run-{number}", "timeout_seconds": 5}
    slot = _good(client.post("/slots/allocate", json=ask, headers=_key(number))).json()["slot_id"]
    return _good(client.post(f"/slots/{slot}/release"))


def _plain_upload(client: httpx.Client, number: int, *, content: bytes) -> object:
    files = {"file": ("x", content + str(number).encode())}
    return _good(client.post("/artifacts", files=files, data={"type": "log"}, headers=_key(number)))


def _key(number: int) -> dict[str, str]:
    return {"Idempotency-Key": f"plain-{number}"}


def _good(answer: httpx.Response) -> httpx.Response:
    return answer.raise_for_status()


# --- through our clients ---


def _status(ours: Ours, number: int) -> None:
    task, run = f"s{number}", f"run-{number}"
    ours.registry.set_status(task, "bench", "running", metadata={"run_id": run}, at=AT, key=run, epoch=1)


def _event(ours: Ours, number: int) -> None:
    ours.registry.add_event(f"t{number % 100}", "bench", "E", data={"n": number}, at=AT, key=f"event-{number}", epoch=1)


def _slot(ours: Ours, number: int) -> None:
    run = f"run-{number}"
    loan = ours.pool.allocate(_repository(), run_id=run, key=run, timeout=timedelta(seconds=5), stop=StopToken())
    ours.pool.release(loan, run_id=run, key=f"{run}/release")


def _upload(ours: Ours, number: int, *, content: bytes) -> None:
    each = content + str(number).encode()
    ours.artifacts.upload(each, type="log", name="x", metadata={}, at=AT, key=f"upload-{number}")


def _repository() -> str:
    """One for each client: they do not wait for each other's slots."""
    return f"https://git.example/{threading.get_ident()}.git"


if __name__ == "__main__":
    raise SystemExit(main())
