"""Durable transitions a second against a bare sqlite3 loop, and more: ``python -m bench.durable_steps``.

The bare loop writes the same rows into the same schema with the same durability and nothing else: one insert into
``entries`` and one update of ``runs`` a commit. Both sides are run in turn, in one process, several rounds each; the
medians are compared. On disk at power-loss durability an fsync dominates; on tmpfs only the processor counts.
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from necrocode.engine.context import Context
from necrocode.engine.database import Durability
from necrocode.engine.driver import Driver, Outcome, Program
from necrocode.engine.entry import COLUMNS
from necrocode.engine.journal import Journal
from necrocode.engine.lifecycle import Lifecycle, State, Transition
from tests.engine.wal import commits

TMPFS = Path("/dev/shm")

PING_PONG = Lifecycle(
    name="ping-pong",
    version=1,
    initial="ping",
    states=[State("ping"), State("pong"), State("end", terminal=True)],
    transitions=[
        Transition("hit", "ping", "pong"),
        Transition("hit", "pong", "ping"),
        Transition("miss", "ping", "end"),
        Transition("miss", "pong", "end"),
    ],
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where, and how durably, is measured."""

    name: str
    folder: Path
    durability: Durability


def main() -> int:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.durable_steps", description=__doc__)
    parser.add_argument("--steps", type=int, default=3000, help="transitions a round")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each side")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="a folder on a real disk")
    parser.add_argument("--effects", type=int, default=10_000, help="recorded effects to resume over")
    options = parser.parse_args()
    console = Console(width=120)
    places = [
        Place("disk", options.folder, "power-loss"),
        Place("disk", options.folder, "process-crash"),
    ]
    if TMPFS.is_dir():
        places.append(Place("tmpfs", TMPFS, "power-loss"))
    table = Table(title=f"durable transitions a second, median of {options.rounds} rounds of {options.steps:,}")
    for column in ("where", "durability", "bare sqlite3", "necrocode", "ratio", "commits a transition"):
        table.add_column(column, justify="right")
    for place in places:
        bare, ours = compare(place, options.steps, options.rounds)
        table.add_row(
            place.name,
            place.durability,
            f"{bare:,.0f}",
            f"{ours:,.0f}",
            f"{ours / bare:.2f}",
            f"{commits_per_transition(place):.2f}",
        )
    console.print(table)
    resumed = Table(title="resume and growth")
    resumed.add_column("figure")
    resumed.add_column("value", justify="right")
    imports, total = resume_seconds(options.folder, options.effects)
    resumed.add_row(f"imports of a fresh process, s (median of {_FRESH})", f"{imports:.2f}")
    resumed.add_row(f"the same and resuming over {options.effects:,} recorded effects, s", f"{total:.2f}")
    small, large = journaled_bytes(200), journaled_bytes(400)
    resumed.add_row("bytes journaled for 200 turns", f"{small:,}")
    resumed.add_row("bytes journaled for 400 turns", f"{large:,} ({large / small:.2f} times)")
    console.print(resumed)
    return 0


def compare(place: Place, steps: int, rounds: int) -> tuple[float, float]:
    """Medians of bare and of our transitions a second, measured in turn."""
    bare, ours = list[float](), list[float]()
    for _ in range(rounds):
        bare.append(steps / _timed(place, lambda journal: _bare_loop(journal, steps)))
        ours.append(steps / _timed(place, lambda journal: drive(journal, steps)))
    return statistics.median(bare), statistics.median(ours)


def commits_per_transition(place: Place) -> float:
    """Commits in the write-ahead log, each one sync at power-loss durability, for each transition."""
    # Few enough to stay below the automatic checkpoint, which would begin the log anew.
    steps = 100
    with _journal(place) as journal:
        run = journal.create(PING_PONG, subject="x", data={"left": 0})
        before = commits(journal.path)
        drive(journal, steps, run_id=run.run_id)
        # The claim is a commit, too.
        return (commits(journal.path) - before - 1) / steps


def drive(journal: Journal, steps: int, *, run_id: str | None = None) -> None:
    """``steps`` transitions of a run whose handlers do nothing."""
    run_id = run_id or journal.create(PING_PONG, subject="x", data={"left": steps}).run_id

    def handler(ctx: Context) -> Outcome:
        return Outcome("hit" if ctx.visit < steps - 1 else "miss", {"left": steps - ctx.visit})

    Driver(journal, Program(PING_PONG, {"ping": handler, "pong": handler})).drive(run_id)


def _timed(place: Place, work: Callable[[Journal], None]) -> float:
    with _journal(place) as journal:
        began = time.perf_counter()
        work(journal)
        return time.perf_counter() - began


@contextmanager
def _journal(place: Place) -> Iterator[Journal]:
    with (
        tempfile.TemporaryDirectory(dir=place.folder) as folder,
        Journal(Path(folder) / "journal.db", durability=place.durability) as journal,
    ):
        yield journal


def _bare_loop(journal: Journal, steps: int) -> None:
    """What one would write by hand: the same schema, row size and durability, nothing checked, nothing hashed."""
    run = journal.create(PING_PONG, subject="bare", data={"left": steps})
    connection = sqlite3.connect(journal.path, isolation_level=None)
    full = "FULL" if journal.database.durability == "power-loss" else "NORMAL"
    connection.execute(f"PRAGMA synchronous = {full}")
    insert = f"INSERT INTO entries ({COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?)"
    update = "UPDATE runs SET head_seq = ?, head_hash = ?, state = ?, data = ?, updated_at = ? WHERE run_id = ?"
    digest = "0" * 64
    for n in range(steps):
        payload = f'{{"patch":{{"left":{steps - n}}},"visit":{n}}}'
        row = (run.run_id, n + 2, "transition", "pong", "hit", "ping", 1, n, payload, digest, digest)
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(insert, row)
        connection.execute(update, (n + 2, digest, "pong", f'{{"left":{steps - n}}}', n, run.run_id))
        connection.execute("COMMIT")
    connection.close()


_FRESH = 5
_IMPORTS = "import necrocode.engine.driver, necrocode.engine.journal\n"
_RESUME = (
    _IMPORTS
    + "import sys\nfrom pathlib import Path\nfrom bench.durable_steps import resume\nresume(Path(sys.argv[1]), {n})\n"
)


def resume_seconds(folder: Path, effects: int) -> tuple[float, float]:
    """Seconds that a fresh process takes for its imports, and for those and a resume over ``effects`` effects."""
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        path = Path(temporary) / "journal.db"
        with Journal(path, durability="process-crash") as journal:
            journal.create(PING_PONG, subject="x", data={})
            _record(journal, effects)
        imports, whole = list[float](), list[float]()
        for _ in range(_FRESH):
            imports.append(_process("import bench.durable_steps\n" + _IMPORTS, path))
            whole.append(_process(_RESUME.format(n=effects), path))
        return statistics.median(imports), statistics.median(whole)


def _process(code: str, path: Path) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    return time.perf_counter() - began


def _record(journal: Journal, effects: int) -> None:
    (run,) = journal.runs()
    driver = Driver(journal, Program(PING_PONG, {"ping": _stopping(effects, lambda: driver), "pong": _stopping(0)}))
    driver.drive(run.run_id)


def _stopping(effects: int, driver: Callable[[], Driver] | None = None) -> Callable[[Context], Outcome]:
    """A handler of ``effects`` effects, which then interrupts its driver if it has one."""

    def handler(ctx: Context) -> Outcome:
        for n in range(effects):
            ctx.effect("step", lambda _, n=n: {"n": n, "said": "x" * 200}, key=str(n))  # type: ignore[misc]
        if driver is not None:
            driver().interrupt()
            while ctx.stop.signal is None:
                time.sleep(0.001)
            ctx.stop.check()
        return Outcome("miss")

    return handler


def resume(path: Path, effects: int) -> None:
    """Take the run up until its handler has passed over every recorded effect, then interrupt it again."""
    with Journal(path, durability="process-crash") as journal:
        _record(journal, effects)


def journaled_bytes(turns: int) -> int:
    """Bytes of entries and blobs after so many turns of a model that writes 1,000 new characters a turn."""
    with tempfile.TemporaryDirectory() as folder, Journal(Path(folder) / "journal.db") as journal:
        run = journal.create(PING_PONG, subject="x", data={})

        def handler(ctx: Context) -> Outcome:
            for n in range(turns):
                ctx.effect("llm.chat", lambda _, n=n: {"text": f"{n} " * 250}, key=f"turn {n}")  # type: ignore[misc]
                ctx.effect("tool.bash", lambda _, n=n: {"content": f"{n}\n" * 250}, key=f"{n}")  # type: ignore[misc]
            return Outcome("miss")

        Driver(journal, Program(PING_PONG, {"ping": handler, "pong": handler})).drive(run.run_id)
        with journal.database.read() as connection:
            return int(
                connection.exec_driver_sql(
                    "SELECT (SELECT sum(length(payload) + length(name) + length(key) + 200) FROM entries) "
                    "+ coalesce((SELECT sum(length(data)) FROM blobs), 0)"
                ).scalar_one()
            )


if __name__ == "__main__":
    raise SystemExit(main())
