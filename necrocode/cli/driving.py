"""Driving runs from the command line: one or several at once, with progress, Ctrl-C and results."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING

from necrocode import exits
from necrocode.cli.progress import Display, display
from necrocode.cli.session import counted, note, print_json
from necrocode.engine.errors import EngineError, JournalDamaged, LeaseHeld
from necrocode.views import entry_json, run_json

if TYPE_CHECKING:
    from necrocode.engine.runs import RunRecord
    from necrocode.runner import Orphan, Runner


@dataclass(frozen=True, slots=True)
class Job:
    """One run to drive."""

    run_id: str
    #: It was begun before: this is a resume.
    attached: bool = False


def recoverable(orphans: Sequence[Orphan], *, interrupted: bool = False, take_over: bool = False) -> list[Orphan]:
    """Those that are picked up unasked: never what a user stopped, what kills its runner, or, but for a take-over, what
    somebody else may be driving; what is left out is said.
    """
    taken = []
    for orphan in orphans:
        if orphan.why == "poison":
            note(f"run {orphan.run.run_id} is left alone (poison): resume it with --force")
        elif orphan.why == "interrupted" and not interrupted:
            note(f"run {orphan.run.run_id} is left alone (stopped by a user): necrocode resume {orphan.run.run_id}")
        elif orphan.why == "unseen" and not take_over:
            note(f"run {orphan.run.run_id} is left alone (its process cannot be seen from here): --take-over")
        else:
            taken.append(orphan)
    return taken


def drive_all(
    runner: Runner,
    jobs_to_do: Sequence[Job],
    *,
    jobs: int,
    as_json: bool,
    force: bool = False,
    take_over: bool = False,
) -> list[int]:
    """Drive each run, up to ``jobs`` at once, and print what became of it; returns their exit codes.

    To be called within :func:`stopping`, which must be in force before a run exists.
    """
    if jobs_to_do:
        runner.prepare()
        _warn_unconfined(runner)
    if take_over:
        seconds = max((runner.patience(job.run_id).total_seconds() for job in jobs_to_do), default=0)
        note(f"--take-over: a process that drives a run already is watched for {seconds:g} s, and keeps it if it lives")
    results: list[tuple[Job, RunRecord | None, int]] = []
    with display(quiet=as_json, many=len(jobs_to_do) > 1) as shown:
        if jobs == 1 or len(jobs_to_do) == 1:
            # After a Ctrl-C the rest is not worked on, but marked as stopped by the user, too.
            results = [_drive_one(runner, job, shown, force=force, take_over=take_over) for job in jobs_to_do]
        else:
            with ThreadPoolExecutor(max_workers=jobs, thread_name_prefix="necrocode-run") as pool:
                waiting = [
                    pool.submit(_drive_one, runner, job, shown, force=force, take_over=take_over) for job in jobs_to_do
                ]
                results = [future.result() for future in waiting]
    delivered, still = runner.deliver()
    if delivered:
        note(f"delivered what had been waiting: {counted(delivered, 'report')}")
    if still:
        note(f"{counted(len(still), 'report')} to be delivered once the service is back: necrocode doctor --fix")
    if as_json:
        _print_results(runner, [run for _, run, _ in results if run is not None])
    return [code for _, _, code in results]


def _drive_one(
    runner: Runner, job: Job, shown: Display, *, force: bool, take_over: bool
) -> tuple[Job, RunRecord | None, int]:
    watcher = shown.run(runner, job.run_id, resumed=job.attached)
    try:
        run = runner.drive(
            job.run_id, observer=watcher.entry, progress=watcher.progress, force=force, take_over=take_over
        )
    except LeaseHeld as error:
        watcher.failed(f"{error}; to follow it: necrocode watch {job.run_id}")
        return job, runner.journal.run(job.run_id), exits.DRIVEN_ELSEWHERE
    except EngineError as error:
        watcher.failed(str(error))
        return job, None, exits.DAMAGED if isinstance(error, JournalDamaged) else exits.ENVIRONMENT
    watcher.ended(run)
    return job, run, exits.exit_code(run)


def _warn_unconfined(runner: Runner) -> None:
    report = runner.sandbox_report()
    if report.kind == "none" and runner.config.sandbox == "auto":
        note(f"warning: commands run WITHOUT a sandbox, with your rights: {report.why}")
    if report.kind == "none" and not isinstance(runner.config.network, bool):
        from necrocode.commands.sandbox import unenforced

        note(f"warning: commands reach what they like: network is a list of hosts, {unenforced(report)}")


@contextmanager
def stopping(runner: Runner) -> Iterator[None]:
    """The first Ctrl-C (or SIGTERM) leaves every run resumable; the second ends the process at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, _: FrameType | None) -> None:
        if runner.stopping:
            os._exit(exits.INTERRUPTED)
        runner.interrupt(f"stopped by {signal.Signals(number).name}")
        # No buffered stream: a signal handler may interrupt a write to it.
        os.write(2, b"\nstopping, the run stays resumable; once more ends at once\n")

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _print_results(runner: Runner, runs: Sequence[RunRecord]) -> None:
    documents = [
        {
            "run": run_json(runner.journal, run),
            "entries": [entry_json(runner.journal, entry) for entry in runner.journal.entries(run.run_id)],
        }
        for run in runs
    ]
    print_json(documents[0] if len(documents) == 1 else {"results": documents})
