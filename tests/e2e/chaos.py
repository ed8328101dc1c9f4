"""A real run whose three services are processes that are killed, and started again, while it goes on.

``python -m tests.e2e.chaos --runs N --seed S`` tries N runs, each with outages of its own; the same seed gives the same
outages (the moments at which they hit are the machine's). A failure names the seed of its run and keeps its folder.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import random
import shutil
import socket
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal, TypeAlias

from rich.console import Console

from necrocode.engine import outbox
from necrocode.scripted.server import ScriptedServer
from tests.crash.invariants import Violation, violations
from tests.crash.scenarios import REPOSITORY, SERVED
from tests.crash.scene import Scene, rows_of
from tests.e2e.commands import Command, Forked
from tests.e2e.stage import KEY, PATIENCE, Finished, Stage, script

Part: TypeAlias = Literal["registry", "pool", "artifacts"]
PARTS: tuple[Part, ...] = ("registry", "pool", "artifacts")
VARIABLES: Mapping[Part, str] = {
    "registry": "TASK_REGISTRY_URL",
    "pool": "REPO_POOL_URL",
    "artifacts": "ARTIFACT_STORE_URL",
}
ENTRIES = 70
"""About as many journal entries as an undisturbed run of the scenario has."""


@dataclass(frozen=True)
class Outage:
    """A service is killed, and started again later."""

    part: Part
    #: It begins once the run's journal has so many entries …
    entries: int
    #: … and so many seconds have passed since; ``None``: the service has next written to its database, and has not
    #: answered yet, if we are quick.
    delay: float | None
    #: How long it lasts, in seconds.
    seconds: float


@dataclass(frozen=True)
class Weather:
    """What one run has to go through."""

    outages: tuple[Outage, ...]
    #: Attempts of the runner at a call beyond the first.
    retries: int

    @classmethod
    def of(cls, seed: int | str, *, each: int = 3) -> Weather:
        """The weather of a seed, with ``each`` outages of each service."""
        chance = random.Random(f"weather {seed}")
        outages = [
            Outage(part, chance.randrange(ENTRIES), chance.choice([None, chance.random() / 10]), chance.random() * 0.8)
            for part in PARTS
            for _ in range(each)
        ]
        # without retries runs park and reports wait in the outbox; with many of them, everything is waited for
        return cls(tuple(sorted(outages, key=lambda outage: outage.entries)), chance.choice([0, 1, 10]))


@dataclass
class Service:
    """``necrocode serve`` for one part, on a home and a port of its own, as often as it is started."""

    part: Part
    home: Path
    port: int
    kills: int = 0
    _process: Command | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, if it does not run; returns when it answers."""
        if self._process is not None:
            return
        self.home.mkdir(exist_ok=True)
        ports = [f"--{part}-port={self.port if part == self.part else 0}" for part in PARTS]
        environment = {"NECROCODE_HOME": str(self.home), "HOME": str(self.home)}
        self._process = Forked(["serve", *ports], environment, self.home)
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            assert self._process.poll() is None, f"{self.part} did not start: {self._process.communicate()}"
            assert time.monotonic() < deadline, f"{self.part} does not answer"
            time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL, if it runs."""
        if self._process is None:
            return
        self._process.kill()
        _, err = self._process.communicate()
        self._process = None
        self.kills += 1
        assert "Traceback" not in err, err

    def last_write(self) -> int:
        """When its database was last written to: grows with every write."""
        try:
            return (self.home / "services.db-wal").stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port)).close()
        except ConnectionRefusedError:
            return False
        return True


class Storm:
    """Lets the outages of a weather hit the services of a run; a context manager, whose end they all survive."""

    def __init__(self, journal: Path, services: Mapping[Part, Service], outages: Collection[Outage]) -> None:
        self._journal = journal
        self._over = threading.Event()
        self._failures: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._blow, args=(service, [each for each in outages if each.part == part]))
            for part, service in services.items()
        ]

    def __enter__(self) -> Storm:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """Nothing is killed any more, and every service runs when this returns. Raises what went wrong in it."""
        self._over.set()
        for thread in self._threads:
            thread.join()
        if self._failures:
            raise self._failures.pop()

    def _blow(self, service: Service, outages: list[Outage]) -> None:
        try:
            for outage in outages:
                while self._entries() < outage.entries and not self._over.wait(0.01):
                    pass
                if outage.delay is None:
                    written = service.last_write()
                    while service.last_write() == written and not self._over.wait(0.0005):
                        pass
                if self._over.wait(outage.delay or 0):
                    return
                service.kill()
                self._over.wait(outage.seconds)
                service.start()
        except BaseException as error:  # noqa: BLE001 - raised where the storm ends
            self._failures.append(error)

    def _entries(self) -> int:
        if not self._journal.exists():
            return 0
        with contextlib.suppress(sqlite3.OperationalError):  # it is being made
            return int(rows_of(self._journal, "SELECT coalesce(max(head_seq), 0) AS n FROM runs")[0]["n"])
        return 0


@dataclass(frozen=True)
class Aftermath(Scene):
    """A stage after its run, with the homes of its services."""

    homes: tuple[Path, ...] = ()

    def rows(self, query: str) -> list[sqlite3.Row]:
        """Rows of all the services' databases, the embedded ones included."""
        return [row for home in (*self.homes, self.stage.home) for row in rows_of(home / "services.db", query)]


@dataclass
class Play:
    """One run, and what became of it."""

    stage: Stage
    server: ScriptedServer
    services: Mapping[Part, Service]
    #: The remote's branches before: commit and number of writes.
    before: Mapping[str, tuple[str, int]]
    said: list[str] = field(default_factory=list)
    #: How often the command was given.
    commands: int = 0

    def run(self, weather: Weather) -> list[Violation]:
        """Run the task through the weather, to its end; returns what does not hold then."""
        self.stage.environment["NECROCODE_NETWORK_RETRY_COUNT"] = str(weather.retries)
        task = self.stage.task(**SERVED.task)
        with Storm(self.stage.home / "journal.db", self.services, weather.outages) as storm:
            self.command("run", task)
            while self.is_parked() and self.commands < 8:
                self.command("resume", "--all")
            storm.end()
            return self.settle()

    def settle(self) -> list[Violation]:
        """With every service there again: bring the run to its end, and deliver what waits. What does not hold then?"""
        if self.is_parked():
            self.command("resume", "--all")
        with self.stage.journal() as journal:
            waiting = outbox.waiting(journal)
        if waiting:
            self.command("doctor", "--fix")
        scene = Aftermath(
            self.stage,
            SERVED,
            self.server.requests,
            before=self.before,
            homes=tuple(service.home for service in self.services.values()),
        )
        return violations(scene) + [Violation("services_are_intact", words) for words in self._damage()]

    def command(self, *arguments: str | Path) -> Finished:
        """Give a command, and wait for its end."""
        self.commands += 1
        done = self.stage.necrocode(*arguments)
        self.said += [f"$ necrocode {' '.join(map(str, arguments))}", done.err, f"→ {done.code}"]
        return done

    def is_parked(self) -> bool:
        """Whether the run can be resumed."""
        return any(run.status == "parked" for run in self.stage.runs())

    def hits(self) -> int:
        """How many calls of the runner failed: attempts at effects, and what parked it."""
        entries = [entry for run in self.stage.runs() for entry, _ in self.stage.entries(run.run_id)]
        return sum(entry.kind in ("attempt", "parked") for entry in entries)

    def _damage(self) -> Iterator[str]:
        """What is wrong with the services' own data."""
        for service in self.services.values():
            database = service.home / "services.db"
            for (verdict,) in rows_of(database, "PRAGMA integrity_check"):
                if verdict != "ok":
                    yield f"{service.part}: {verdict}"
            for row in rows_of(database, "SELECT sha256, size_bytes FROM artifacts"):
                path = service.home / "artifacts" / "sha256" / row["sha256"][:2] / row["sha256"][2:]
                content = path.read_bytes() if path.exists() else b""
                if (hashlib.sha256(content).hexdigest(), len(content)) != (row["sha256"], row["size_bytes"]):
                    yield f"{service.part}: the file of the artifact {row['sha256']} is not there, or another one"


@contextlib.contextmanager
def staged(root: Path, *, missing: Collection[Part] = ()) -> Iterator[Play]:
    """A stage in ``root``, and services beside it, all but the ``missing`` ones running, that end with the block."""
    stage = Stage(root)
    stage.make_remote(REPOSITORY)
    # not below the stage's folder, where nothing may run in the end
    beside = root.with_name(f"{root.name}-services")
    beside.mkdir()
    services = {part: Service(part, beside / part, free_port()) for part in PARTS}
    stage.environment |= {VARIABLES[part]: service.url for part, service in services.items()}
    stage.environment |= {"NECROCODE_SERVICE_TIMEOUT_SECONDS": "10", "NECROCODE_SLOT_RENEW_SECONDS": "0.2"}
    try:
        with ScriptedServer(script(*SERVED.answers, key=KEY)) as server:
            stage.use(server)
            present = [service for part, service in services.items() if part not in missing]
            with ThreadPoolExecutor(len(PARTS)) as starting:
                list(starting.map(Service.start, present))
            before = {branch: (commit, stage.branch_updates(branch)) for branch, commit in stage.branches().items()}
            yield Play(stage, server, services, before)
    finally:
        for service in services.values():
            service.kill()


def free_port() -> int:
    """A port that is free, and that no outgoing connection is given while its service is down."""
    chance = random.SystemRandom()
    while True:
        # below Linux's default range of ephemeral ports
        port = chance.randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.socket() as free:
            free.bind(("127.0.0.1", port))
            return port


def main() -> int:
    """Try runs until so many were tried; the exit code is 1 if something did not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.chaos", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=20, metavar="N")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="of the first run; the next has the next one")
    parser.add_argument("--outages", type=int, default=3, metavar="N", help="of each service in each run")
    options = parser.parse_args()
    console, failed, kills = Console(highlight=False, soft_wrap=True), 0, 0
    for seed in range(options.seed, options.seed + options.runs):
        root = Path(tempfile.mkdtemp(prefix="chaos-"))
        began = time.monotonic()
        weather = Weather.of(seed, each=options.outages)
        with staged(root / "stage") as play:
            try:
                found = play.run(weather)
            except AssertionError as error:
                found = [Violation("every_process_ends", str(error))]
            hits = play.hits()
        killed = {part: service.kills - 1 for part, service in play.services.items()}
        kills += sum(killed.values())
        console.print(
            f"seed {seed}: {weather.retries} retries, kills {killed}, {hits} calls failed, {play.commands} commands, "
            f"{time.monotonic() - began:.1f} s: {'FAILED' if found else 'ok'}",
            markup=False,
        )
        if found:
            failed += 1
            (root / "said.txt").write_text("\n".join(play.said), encoding="utf-8")
            for each in found:
                console.print(f"  {each.invariant}: {each.words}", markup=False)
            console.print(f"  {root}", markup=False)
        else:
            shutil.rmtree(root)
    console.print(f"{options.runs} runs, {kills} kills, {failed or 'no'} failures", markup=False)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
