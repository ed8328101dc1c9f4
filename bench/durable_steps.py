"""Durable steps: what the engine costs beyond a bare ``sqlite3`` loop, and what it costs to take a long run up again.

    python -m bench.durable_steps [--folder FOLDER] [--steps N] [--rounds N]

Both loops commit the same rows (the bare one those that the engine wrote) into the same schema, at the same
durability, in turns. The bare loop computes nothing: no table, no guard, no hash, no JSON. Syncs are counted as commits
in the write-ahead log, of which each is one sync at ``synchronous=FULL``; a checkpoint every thousand pages comes on
top of both loops alike.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from necrocode.engine.context import Context
from necrocode.engine.driver import Driver, Outcome, Program
from necrocode.engine.effects import Attempt, Json
from necrocode.engine.entry import COLUMNS, Entry
from necrocode.engine.journal import Journal
from necrocode.engine.lifecycle import Lifecycle, State, Transition
from tests.engine.wal import commits

TMPFS = Path("/dev/shm")

LAP = Lifecycle(
    name="lap",
    version=1,
    initial="out",
    states=[State("out"), State("back"), State("home", terminal=True)],
    transitions=[
        Transition("turn", "out", "back", "laps_left"),
        Transition("turn", "back", "out", "laps_left"),
        Transition("turn", "out", "home"),
        Transition("turn", "back", "home"),
    ],
    guards={"laps_left": lambda data: data["lap"] < data["laps"]},
)
NOTE = "one lap more, with a note of about the size that a step leaves behind: what was done, and how it went"


@dataclass(frozen=True, slots=True)
class Speed:
    """One loop's figures."""

    #: Per second, by the wall clock.
    rate: float
    #: Of this process, a step.
    cpu_microseconds: float


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="a folder on the disk")
    parser.add_argument("--steps", type=int, default=500, help="transitions a round")
    parser.add_argument("--rounds", type=int, default=25, help="rounds of each loop")
    options = parser.parse_args()
    say(
        f"sqlite {sqlite3.sqlite_version}, Python {sys.version.split()[0]}, "
        f"{options.rounds} rounds of {options.steps} steps\n"
    )
    places = [("disk", options.folder)] + ([("tmpfs", TMPFS)] if TMPFS.is_dir() else [])
    say("| on | a sync takes µs | bare steps a second | ours | of bare | bare CPU µs | ours | syncs a step |")
    say("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, folder in places:
        with folder_in(folder) as here:
            loops = compared(here, options.steps, options.rounds)
            say(f"| {name} | {sync_time(here):.0f} | {loops} | {syncs_per_step(here):.3f} |")
    say("\n| runs at once in one process | ours a second | syncs a transition |\n| --- | --- | --- |")
    for runs in (1, 8, 64):
        with folder_in(options.folder) as here:
            rate, syncs = together(here, runs, 1000 // runs + 20)
            say(f"| {runs} | {rate:,.0f} | {syncs:.3f} |")
    with folder_in(options.folder) as here:
        say("\n| taking up a run of 10,000 recorded effects | seconds |\n| --- | --- |")
        for what, seconds in resume(here, 10_000).items():
            say(f"| {what} | {seconds:.3f} |")
    with folder_in(options.folder) as here:
        say("\n| turns | bytes of rows | bytes of the file | of half as many |\n| --- | --- | --- | --- |")
        for line in growth(here, (100, 200, 400, 800)):
            say(line)


# --- steps ---


def compared(folder: Path, steps: int, rounds: int) -> str:
    """Bare and ours in turns; medians. What ours is of bare is taken of each round by itself: the speed of a machine
    that others use too changes from one round to the next.
    """
    bare: list[Speed] = []
    ours: list[Speed] = []
    for number in range(rounds + 1):
        path = folder / f"ours-{number}.db"
        speed = drive(path, steps)
        again = replay_bare(path, folder / f"bare-{number}.db")
        if number:  # the first round warms up
            ours.append(speed)
            bare.append(again)
    slow, quick = (statistics.median(each.rate for each in speeds) for speeds in (ours, bare))
    part = statistics.median(one.rate / other.rate for one, other in zip(ours, bare, strict=True))
    cpu = [statistics.median(each.cpu_microseconds for each in speeds) for speeds in (bare, ours)]
    return f"{quick:,.0f} | {slow:,.0f} | {part:.2f} | {cpu[0]:.0f} | {cpu[1]:.0f}"


def drive(path: Path, steps: int) -> Speed:
    """A run of so many transitions."""
    with Journal(path) as journal:
        run_id = journal.create(LAP, subject="race", data={"lap": 0, "laps": steps}).run_id
        driver = Driver(journal, laps())
        return measured(steps, lambda: driver.drive(run_id))


def replay_bare(path: Path, to: Path) -> Speed:
    """The same rows into the same schema, by nothing but ``sqlite3``."""
    with Journal(path) as journal:
        (run,) = journal.runs()
        entries = [entry for entry in journal.entries(run.run_id) if entry.kind == "transition"]
        with journal.database.read() as connection:
            data = str(connection.exec_driver_sql("SELECT data FROM runs").scalar_one())
    with Journal(to) as journal:
        journal.create(LAP, subject="race", data={}, run_id=run.run_id)
    bare = sqlite3.connect(to, isolation_level=None)
    bare.execute("PRAGMA synchronous = FULL")
    try:
        return measured(len(entries), lambda: bare_loop(bare, entries, data))
    finally:
        bare.close()


def bare_loop(connection: sqlite3.Connection, entries: list[Entry], data: str) -> None:
    """One transaction a step: the row, and the run's head."""
    insert = f"INSERT INTO entries ({COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?)"
    update = "UPDATE runs SET head_seq = ?, head_hash = ?, updated_at = ?, state = ?, data = ? WHERE run_id = ?"
    for entry, row in [(entry, entry.row) for entry in entries]:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(insert, row)
        connection.execute(update, (entry.seq, entry.hash, entry.at, entry.state, data, entry.run_id))
        connection.execute("COMMIT")


def sync_time(folder: Path) -> float:
    """What it takes here to write one page and have it on the disk, in microseconds: the median of a hundred."""
    times: list[float] = []
    with (folder / "sync").open("wb", buffering=0) as file:
        for _ in range(100):
            begun = time.perf_counter()
            file.write(b"x" * 4096)
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - begun)
    return statistics.median(times) * 1_000_000


def syncs_per_step(folder: Path) -> float:
    """Commits a transition, of a run short enough that its log is never started anew."""
    path = folder / "syncs.db"
    with Journal(path) as journal:
        run_id = journal.create(LAP, subject="race", data={"lap": 0, "laps": 150}).run_id
        before = commits(path)
        Driver(journal, laps()).drive(run_id)
        return (commits(path) - before - 1) / 150  # one is the claim


def together(folder: Path, runs: int, laps_each: int) -> tuple[float, float]:
    """So many runs at once over one writer: transitions a second, and commits a transition."""
    path, counted = folder / f"together-{runs}.db", 0

    class Counted(sqlite3.Cursor):
        def execute(self, sql: str, *parameters: Any) -> Any:
            nonlocal counted
            counted += sql == "COMMIT"
            return super().execute(sql, *parameters)

    class Counting(sqlite3.Connection):
        def cursor(self, factory: Any = Counted) -> Any:
            return super().cursor(factory)

    with Journal(path, connections=Counting) as journal:
        ids = [journal.create(LAP, subject=str(n), data={"lap": 0, "laps": laps_each}).run_id for n in range(runs)]
        threads = [threading.Thread(target=Driver(journal, laps()).drive, args=(each,)) for each in ids]
        before, begun = counted, time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - begun
        steps = runs * (laps_each + 1)  # the claim is a step too
        return steps / seconds, (counted - before) / steps


def laps() -> Program:
    """Handlers that do nothing but go on."""

    def turn(ctx: Context) -> Outcome:
        return Outcome("turn", {"lap": ctx.data["lap"] + 1, "note": NOTE})

    return Program(LAP, {"out": turn, "back": turn})


# --- taking up ---

_RESUME = """
import json, sys, time
begun = time.perf_counter()
from pathlib import Path
from bench.durable_steps import diary
from necrocode.engine.driver import Driver
from necrocode.engine.journal import Journal
from necrocode.engine.audit import verify
imported = time.perf_counter()
with Journal(Path(sys.argv[1])) as journal:
    (run,) = journal.runs()
    run = Driver(journal, diary(int(sys.argv[2]))).drive(run.run_id)
    assert run.state == "home", run
    resumed = time.perf_counter()
    assert verify(journal).ok
    verified = time.perf_counter()
print(json.dumps([imported - begun, resumed - imported, verified - resumed]))
"""

DIARY = Lifecycle(
    name="diary",
    version=1,
    initial="writing",
    states=[State("writing"), State("home", terminal=True)],
    transitions=[Transition("close", "writing", "home")],
)


class Enough(BaseException):
    """The process that recorded the effects goes no further."""


def diary(effects: int, *, ends: bool = True) -> Program:
    """One state with so many effects."""

    def write(number: int, _: Attempt) -> Json:
        return {"page": number, "text": NOTE}

    def writing(ctx: Context) -> Outcome:
        for number in range(effects):
            ctx.effect("write", partial(write, number), key=str(number))
        if not ends:
            raise Enough
        return Outcome("close")

    return Program(DIARY, {"writing": writing})


def resume(folder: Path, effects: int) -> dict[str, float]:
    """What a fresh process needs to get through all that is recorded."""
    path = folder / "diary.db"
    with Journal(path, durability="process-crash") as journal:
        run = journal.create(DIARY, subject="diary", data={})
        with suppress(Enough):
            Driver(journal, diary(effects, ends=False), heartbeat=timedelta(hours=1)).drive(run.run_id)
    root = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", _RESUME, path, str(effects)], cwd=root, capture_output=True, text=True, check=True
    )
    imports, resumed, verified = json.loads(done.stdout)
    return {"imports": imports, "claim, verify since the checkpoint, replay": resumed, "verify all of it": verified}


# --- growth ---


def growth(folder: Path, turns: tuple[int, ...]) -> Iterator[str]:
    """What a run of so many turns leaves in the journal: an answer and what a tool said, each turn."""
    sizes: dict[int, int] = {}
    for count in turns:
        path = folder / f"turns-{count}.db"
        with Journal(path, durability="process-crash") as journal:
            run = journal.create(DIARY, subject="talk", data={})
            Driver(journal, Program(DIARY, {"writing": talk(count)})).drive(run.run_id)
            with journal.database.read() as connection:
                rows = connection.exec_driver_sql(
                    "SELECT (SELECT sum(length(CAST(payload AS BLOB)) + length(name) + length(key) + 200) FROM entries)"
                    " + (SELECT coalesce(sum(length(data) + 120), 0) FROM blobs)"
                ).scalar_one()
        sizes[count] = int(rows)
        ratio = f"{sizes[count] / sizes[count // 2]:.2f}" if count // 2 in sizes else ""
        yield f"| {count} | {rows:,} | {path.stat().st_size:,} | {ratio} |"


def talk(turns: int) -> Callable[[Context], Outcome]:
    """A handler that asks and looks, turn by turn, and never records the conversation so far."""

    def answer(turn: int, _: Attempt) -> Json:
        return {"text": f"turn {turn:06}: " + NOTE * 8, "tokens": 1000 + turn}

    def look(turn: int) -> Json:
        return "\n".join(f"{line:04} of file {turn:06} {hash((turn, line)):020}" for line in range(80))

    def handle(ctx: Context) -> Outcome:
        for turn in range(turns):
            ctx.effect("ask", partial(answer, turn), key=f"{turn:06}")
            ctx.observe("read", partial(look, turn), key=f"{turn:06}")
        return Outcome("close")

    return handle


# --- small matters ---


def measured(steps: int, call: Callable[[], Any]) -> Speed:
    """How fast ``call`` made so many steps."""
    cpu, wall = time.process_time(), time.perf_counter()
    call()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return Speed(steps / wall, cpu / steps * 1_000_000)


@contextmanager
def folder_in(folder: Path) -> Iterator[Path]:
    """A folder of our own, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="durable-steps-", dir=folder) as here:
        yield Path(here)


def say(line: str) -> None:
    """A line of the table."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
