"""Throughput of ``necrocode serve`` through its own clients: ``python -m bench.serve``.

The real command in a process of its own, on a fresh home, synced at every write; clients in threads of this process,
each with a connection of its own. One client alone shows what a call takes, several show what the server can do.
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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeAlias

from rich.console import Console
from rich.table import Table

from necrocode.artifacts.rest import ArtifactStoreClient
from necrocode.engine.stop import StopToken
from necrocode.pool.rest import RepoPoolClient
from necrocode.registry.rest import TaskRegistryClient

Work: TypeAlias = Callable[[int], object]
"""One call (or one pair of calls); its argument is never the same twice."""

AT = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Clients:
    """One thread's clients."""

    registry: TaskRegistryClient
    pool: RepoPoolClient
    artifacts: ArtifactStoreClient

    def work(self, content: bytes) -> dict[str, Work]:
        """What is measured, by name."""
        kept = self.artifacts.upload(content, type="log", name="x", metadata={}, at=AT, key="shared")
        self.registry.set_status("read", "bench", "running", metadata={}, at=AT, key="read", epoch=1)

        def event(number: int) -> None:
            key = f"event-{number}"
            self.registry.add_event(f"t{number % 100}", "bench", "E", data={"n": number}, at=AT, key=key, epoch=1)

        def status(number: int) -> None:
            at = AT + timedelta(microseconds=number)
            task, run = f"s{number}", f"run-{number}"
            self.registry.set_status(task, "bench", "running", metadata={"run_id": run}, at=at, key=run, epoch=1)

        def upload(number: int) -> None:
            each = content + str(number).encode()
            self.artifacts.upload(each, type="log", name="x", metadata={}, at=AT, key=f"upload-{number}")

        def slot(number: int) -> None:
            run = f"slot-{number}"
            repo = f"https://git.example/{threading.get_ident()}.git"
            loan = self.pool.allocate(repo, run_id=run, key=run, timeout=timedelta(seconds=30), stop=StopToken())
            self.pool.release(loan, run_id=run, key=f"{run}/release")

        return {
            "health": lambda _: self.registry.health_check(),
            "get a task": lambda _: self.registry.get_task("read", "bench"),
            "report an event": event,
            "set a status": status,
            f"upload {len(content) // 1024} kB": upload,
            f"download {len(content) // 1024} kB": lambda _: self.artifacts.download(kept.uri),
            "borrow a slot and give it back": slot,
        }


@dataclass(frozen=True, slots=True)
class Measured:
    """One kind of work by some clients at once."""

    per_second: float
    median_ms: float
    p99_ms: float


def main() -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.serve", description=__doc__)
    parser.add_argument("--clients", type=int, nargs="*", default=[1, 8], help="clients at once")
    parser.add_argument("--seconds", type=float, default=3, help="of each measurement")
    parser.add_argument("--kilobytes", type=int, default=10, help="size of an artifact")
    options = parser.parse_args()
    table = Table(title="necrocode serve, through its clients, every write synced")
    for column in ("call", "clients", "a second", "median ms", "p99 ms"):
        table.add_column(column, justify="left" if column == "call" else "right")
    numbers = itertools.count()
    with tempfile.TemporaryDirectory(prefix="necrocode-bench-") as folder, served(Path(folder)) as urls:
        for count in options.clients:
            crowd = [
                Clients(
                    TaskRegistryClient(urls["registry"]),
                    RepoPoolClient(urls["pool"]),
                    ArtifactStoreClient(urls["artifacts"]),
                )
                for _ in range(count)
            ]
            kinds = [clients.work(b"x" * options.kilobytes * 1024) for clients in crowd]
            for name in kinds[0]:
                found = measure([kind[name] for kind in kinds], numbers, options.seconds)
                table.add_row(
                    name, str(count), f"{found.per_second:,.0f}", f"{found.median_ms:.1f}", f"{found.p99_ms:.1f}"
                )
    Console().print(table)
    return 0


def measure(crowd: list[Work], numbers: Iterator[int], seconds: float) -> Measured:
    """Everybody works for so long."""
    times: list[float] = []
    until = time.perf_counter() + seconds

    def work(once: Work) -> None:
        own = []
        while (began := time.perf_counter()) < until:
            once(next(numbers))
            own.append(time.perf_counter() - began)
        times.extend(own)

    threads = [threading.Thread(target=work, args=(once,)) for once in crowd]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - began
    ordered = sorted(times)
    return Measured(
        len(ordered) / took, statistics.median(ordered) * 1000, ordered[int(len(ordered) * 0.99) - 1] * 1000
    )


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


if __name__ == "__main__":
    raise SystemExit(main())
