"""The crash campaign: simulated deaths, real ones, every negative control; one table, one report.

``python -m tests.crash.campaign --deaths 100000 --kills 2000 --report report.json`` tries until there were so many. A
campaign that is interrupted (Ctrl-C, SIGTERM) prints and writes what it has; ``--add`` makes the figures of earlier
reports, with other seeds, part of this one's. A failure says what to give to ``--trial`` to see it again.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.crash.parts import Asked, Job, Part
from tests.crash.real import REAL
from tests.crash.report import Report, tables
from tests.crash.simulation.campaign import SIMULATED
from tests.crash.simulation.controls import NEGATIVE_CONTROLS
from tests.crash.tally import Failure, Tally

PARTS: tuple[Part, ...] = (NEGATIVE_CONTROLS, SIMULATED, REAL)

WRITE_SECONDS = 10.0
"""How often an unfinished report is written."""

MOST_FAILURES = 100
"""A part that has so many failures is given up: there is enough to look at."""


@dataclass
class Campaign:
    """Parts, one after the other, until each is done or somebody asks to stop."""

    report: Report
    asked: Asked
    #: Deaths that a part is to reach, what the report holds already included.
    deaths: Mapping[str, int]
    jobs: int
    parts: Sequence[Part] = PARTS
    told: Callable[[Part, Tally], None] = lambda *_: None
    stopping: bool = field(default=False, init=False)

    def run(self) -> None:
        """Do it. Every failure is in the report; what raises is no trial's fault."""
        with ProcessPoolExecutor(self.jobs, initializer=_work_quietly, initargs=(os.getpid(),)) as workers:
            for part in self.parts:
                if not self.stopping and self.deaths.get(part.name) != 0:
                    self._do(part, workers)
        self.report.complete = not self.stopping

    def stop(self, *_: object) -> None:
        """Begin nothing more."""
        self.stopping = True

    def _do(self, part: Part, workers: Executor) -> None:
        tally = self.report.part(part.name)
        self.told(part, tally)
        jobs = part.jobs(self.asked, workers)
        under_way: dict[Future[Tally], Job] = {}
        while True:
            while len(under_way) < 2 * self.jobs and not self._enough(part, tally):
                job = next(jobs, None)
                if job is None:
                    break
                under_way[workers.submit(job)] = job
            if not under_way:
                return
            for future in wait(under_way, return_when=FIRST_COMPLETED, timeout=1).done:
                tally.add(_result(future, under_way.pop(future)))
                self.told(part, tally)

    def _enough(self, part: Part, tally: Tally) -> bool:
        if len(tally.failures) >= MOST_FAILURES:
            return True
        return self.stopping or (part.until == "deaths" and tally.died >= self.deaths[part.name])


def _result(future: Future[Tally], job: Job) -> Tally:
    try:
        return future.result()
    except Exception as error:  # noqa: BLE001 - what goes wrong with one trial is a finding, not the end of the others
        return Tally(failures=[Failure(str(job)[:300], (f"it could not be tried: {type(error).__name__}: {error}",))])


def _work_quietly(parent: int) -> None:
    """In a worker: Ctrl-C and SIGTERM are the parent's business, even if the whole group hears of them; when the parent
    ends, so does the worker, and with it what it has started.
    """
    for each in (signal.SIGINT, signal.SIGTERM):
        # not SIG_IGN, which what a worker starts would inherit
        signal.signal(each, lambda *_: None)
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    logging.disable(logging.CRITICAL)
    # What is imported lives as long as the worker does: to look through it again and again is a tenth of the time.
    gc.freeze()
    gc.set_threshold(30_000, 50, 100)


@contextmanager
def _interrupted_by_signals(campaign: Campaign) -> Iterator[None]:
    before = {each: signal.signal(each, campaign.stop) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns 1 if something was violated or a control was missed."""
    given = _parser().parse_args(arguments)
    asked = Asked(given.seed, given.only, given.sweep)
    console = Console()
    if given.trial is not None:
        return _again(given.trial, asked, console)
    report = Report.of_here(given.seed)
    for file in given.add:
        report.add(Report.read(file))
    kills = given.deaths // 50 if given.kills is None else given.kills
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        shower = _Shower(progress, report, given.report)
        campaign = Campaign(
            report, asked, {SIMULATED.name: given.deaths, REAL.name: kills}, given.jobs, told=shower.told
        )
        shower.campaign = campaign
        try:
            with _interrupted_by_signals(campaign):
                campaign.run()
        finally:
            shower.write()
    for table in tables(report):
        console.print(table)
    console.print(report.verdict, highlight=False)
    return 0 if report.good else 1


@dataclass
class _Shower:
    """Shows how far a campaign is, and keeps its report up to date."""

    progress: Progress
    report: Report
    file: Path | None
    campaign: Campaign | None = None
    began: float = field(default_factory=time.monotonic)
    before: float = field(default=0.0, init=False)
    written: float = field(default=0.0, init=False)
    shown: int = field(default=0, init=False)
    bars: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.before = self.report.seconds

    def told(self, part: Part, tally: Tally) -> None:
        assert self.campaign is not None
        if part.name not in self.bars:
            self.shown = len(tally.failures)
            self.bars[part.name] = self.progress.add_task(part.name, total=self.campaign.deaths.get(part.name))
        done = tally.died if part.until == "deaths" else tally.trials.total()
        self.progress.update(self.bars[part.name], completed=done)  # type: ignore[arg-type]
        for failure in tally.failures[self.shown :]:
            self.progress.console.print(escape(str(failure)), style="red", soft_wrap=True, highlight=False)
        self.shown = len(tally.failures)
        if time.monotonic() - self.written > WRITE_SECONDS:
            self.write()

    def write(self) -> None:
        self.written = time.monotonic()
        self.report.seconds = self.before + self.written - self.began
        if self.file is not None:
            self.report.write(self.file)


def _again(trial: str, asked: Asked, console: Console) -> int:
    name, _, words = trial.partition("/")
    for part in PARTS:
        if part.name == name:
            tally = part.again(words, asked)
            for failure in tally.failures:
                console.print(escape(str(failure)), soft_wrap=True, highlight=False)
            console.print(f"{tally.died} deaths, {len(tally.failures) or 'no'} failures", highlight=False)
            return 1 if tally.failures else 0
    raise SystemExit(f"{trial!r} is no trial: it should begin with one of {', '.join(part.name for part in PARTS)}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.crash.campaign", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--deaths", type=int, default=2000, metavar="N", help="simulated deaths")
    parser.add_argument("--kills", type=int, default=None, metavar="N", help="real SIGKILLs; a fiftieth, if not given")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="worker processes; one a core")
    parser.add_argument("--sweep", action="store_true", help="real deaths: first at every seam and entry, in turn")
    parser.add_argument("--report", type=Path, default=None, metavar="FILE", help="where to write the figures")
    parser.add_argument("--add", type=Path, action="append", default=[], metavar="FILE", help="an earlier report")
    parser.add_argument("--only", default="", metavar="WORDS", help="scenarios and controls whose names hold these")
    parser.add_argument("--trial", default=None, metavar="TRIAL", help="one trial again, as a failure names it")
    return parser


if __name__ == "__main__":
    sys.exit(main())
