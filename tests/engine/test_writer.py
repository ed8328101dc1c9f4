"""The writer commits steps of many threads together, and a step that fails fails alone."""

from __future__ import annotations

import random
import signal
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from necrocode.engine.audit import verify
from necrocode.engine.claim import Addition, claim
from necrocode.engine.context import Context
from necrocode.engine.driver import Outcome
from necrocode.engine.errors import JournalUnavailable, Superseded
from necrocode.engine.journal import Journal
from necrocode.engine.testing import Death
from tests.engine.wal import commits
from tests.engine.workshop import TABLE, OpenJournal, Workshop, always


class Odd(Exception):
    pass


@pytest.fixture
def notes(journal: Journal) -> Journal:
    """A journal with a table to scribble in."""
    journal.writer.submit(lambda c: c.execute("CREATE TABLE notes (thread INTEGER, step INTEGER, text TEXT)"))
    return journal


def written(journal: Journal) -> list[tuple[int, int]]:
    with journal.database.read() as connection:
        return [(row[0], row[1]) for row in connection.exec_driver_sql("SELECT thread, step FROM notes ORDER BY rowid")]


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Run all of them in threads of their own; what each returned or raised."""
    results: list[Any] = [None] * len(calls)
    gate = threading.Barrier(len(calls))

    def run(n: int) -> None:
        gate.wait()
        try:
            results[n] = calls[n]()
        except BaseException as error:  # noqa: BLE001 - it is the result
            results[n] = error

    threads = [threading.Thread(target=run, args=(n,)) for n in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def note(thread: int, step: int) -> Callable[[sqlite3.Cursor], int]:
    def operation(cursor: sqlite3.Cursor) -> int:
        cursor.execute("INSERT INTO notes VALUES (?, ?, '')", (thread, step))
        return step

    return operation


def refused(thread: int, step: int, how: str) -> Callable[[sqlite3.Cursor], int]:
    def operation(cursor: sqlite3.Cursor) -> int:
        note(thread, step)(cursor)
        match how:
            case "error":
                raise Odd
            case "signal":
                raise Superseded("over")
            case "sql":
                cursor.execute("INSERT INTO no_such_table VALUES (1)")
            case "constraint":
                cursor.execute("INSERT INTO chain (n) VALUES (NULL)")
            case "trigger":
                cursor.execute("UPDATE entries SET at = 0")
        raise AssertionError(how)

    return operation


def test_64_threads_share_commits_and_no_innocent_step_fails(notes: Journal) -> None:
    Workshop(notes)
    how = ("error", "signal", "sql", "constraint", "trigger")

    def steps(thread: int) -> list[Any]:
        done: list[Any] = []
        for step in range(30):
            try:
                operation = refused(thread, step, how[step // 3 % 5]) if step % 3 == 2 else note(thread, step)
                done.append(notes.writer.submit(operation))
            except (Odd, Superseded, JournalUnavailable) as error:
                done.append(type(error))
        return done

    before = commits(notes.path)
    for thread, done in enumerate(at_once(*(lambda n=n: steps(n) for n in range(64)))):
        assert [step for step in done if isinstance(step, int)] == [s for s in range(30) if s % 3 != 2], thread
        assert done[2::3] == [[Odd, Superseded, *[JournalUnavailable] * 3][n % 5] for n in range(10)], thread
    kept = written(notes)
    assert sorted(kept) == [(thread, step) for thread in range(64) for step in range(30) if step % 3 != 2]
    for thread in range(64):
        assert [step for t, step in kept if t == thread] == [s for s in range(30) if s % 3 != 2], "in their order"
    assert commits(notes.path) - before < len(kept), "they shared commits"


def test_steps_that_wait_together_are_one_commit(notes: Journal) -> None:
    leading, go = threading.Event(), threading.Event()

    def slow(_: sqlite3.Cursor) -> None:
        leading.set()
        assert go.wait(20)

    before = commits(notes.path)
    first = threading.Thread(target=notes.writer.submit, args=(slow,))
    first.start()
    assert leading.wait(20)
    others = [threading.Thread(target=notes.writer.submit, args=(note(n, 0),)) for n in range(10)]
    for thread in others:
        thread.start()
    while len(notes.writer._queue) < 11:
        pass
    go.set()
    for thread in (first, *others):
        thread.join()
    assert len(written(notes)) == 10
    assert commits(notes.path) - before == 1, "the first wrote nothing, the others shared one"


def test_a_step_that_takes_the_transaction_down_takes_nobody_with_it(notes: Journal) -> None:
    """A full database ends the whole transaction, whichever step met it."""
    pages = notes.writer.submit(lambda c: c.execute("PRAGMA page_count").fetchone()[0])
    notes.writer.submit(lambda c: c.execute(f"PRAGMA max_page_count = {pages + 20}").fetchone())

    def large(cursor: sqlite3.Cursor) -> None:
        cursor.execute("INSERT INTO notes VALUES (0, 0, ?)", ("x" * 1_000_000,))

    results = at_once(*(lambda n=n: notes.writer.submit(large if n % 8 == 3 else note(n, 0)) for n in range(32)))
    for n, result in enumerate(results):
        if n % 8 == 3:
            assert isinstance(result, JournalUnavailable)
            assert "no space left" in str(result)
        else:
            assert result == 0
    assert sorted(written(notes)) == [(n, 0) for n in range(32) if n % 8 != 3]


def test_a_thread_that_is_ended_while_it_commits_for_others_reports_no_success(notes: Journal) -> None:
    leading, go = threading.Event(), threading.Event()

    def slow(_: sqlite3.Cursor) -> None:
        leading.set()
        assert go.wait(20)

    def dying(cursor: sqlite3.Cursor) -> None:
        note(99, 0)(cursor)
        raise KeyboardInterrupt

    first = threading.Thread(target=notes.writer.submit, args=(slow,))
    first.start()
    assert leading.wait(20)
    results: dict[int, Any] = {}

    def submit(n: int) -> None:
        try:
            results[n] = notes.writer.submit(dying if n == 5 else note(n, 0))
        except BaseException as error:  # noqa: BLE001 - it is the result
            results[n] = error

    others = [threading.Thread(target=submit, args=(n,)) for n in range(10)]
    for thread in others:
        thread.start()
    while len(notes.writer._queue) < 11:
        pass
    go.set()
    for thread in (first, *others):
        thread.join()
    kept = {thread for thread, _ in written(notes)}
    assert any(isinstance(result, KeyboardInterrupt) for result in results.values())
    for n, result in results.items():
        assert (result == 0) == (n in kept), (n, result)
    assert notes.writer.submit(note(100, 7)) == 7, "the next finds the writer in order"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_at_any_moment_leaves_the_writer_to_the_next(open_journal: OpenJournal) -> None:
    class Rung(BaseException):
        pass

    def ring(*_: object) -> None:
        raise Rung

    journal = open_journal(durability="process-crash")
    journal.writer.submit(lambda c: c.execute("CREATE TABLE notes (thread INTEGER, step INTEGER, text TEXT)"))
    chance, times, returned = random.Random(7), 2000, 0

    def submit_until_it_rings() -> None:
        nonlocal returned
        try:
            signal.setitimer(signal.ITIMER_REAL, chance.uniform(5e-6, 300e-6))
            # Not for ever: an exception that comes in the middle of some C code is lost.
            for _ in range(20):
                journal.writer.submit(note(0, 0))
                returned += 1
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    before = signal.signal(signal.SIGALRM, ring)
    try:
        for _ in range(times):
            with suppress(Rung):
                submit_until_it_rings()
    finally:
        signal.signal(signal.SIGALRM, before)
    results = at_once(*(lambda n=n: journal.writer.submit(note(n, 1)) for n in range(1, 9)))
    assert results == [1] * 8
    kept = written(journal)
    assert returned <= kept.count((0, 0)) <= returned + times, "what was reported is there, and nothing twice"


def test_a_closed_writer_refuses(open_journal: OpenJournal) -> None:
    journal = open_journal()
    workshop = Workshop(journal)
    held = claim(journal, workshop.run_id)
    journal.close()
    journal.close()
    with pytest.raises(JournalUnavailable, match="closed"):
        held.append([Addition("warning", "late", {})])
    held.abandon()


def test_many_runs_of_one_process_are_driven_at_once_over_one_writer(journal: Journal) -> None:
    """Some are refused, some die, some park: each for itself."""

    def drive(n: int) -> str:
        workshop = Workshop(journal, {"subject": str(n)})

        def work(ctx: Context) -> Any:
            for step in range(5):
                ctx.effect("post", always([n, step]))
            if n % 4 == 1 and ctx.epoch == 1:
                raise Death
            if n % 4 == 2 and ctx.visit < 4:
                return Outcome("nowhere")
            return Outcome("finish") if ctx.visit >= 4 else Outcome("rest")

        if n % 4 == 1:
            workshop.die(work, resting=lambda _: Outcome("again"))
        if n % 4 == 3:
            old = claim(journal, workshop.run_id)
            old.abandon()
            run = workshop.drive(work, resting=lambda _: Outcome("again"))
            with pytest.raises((Superseded, JournalUnavailable)):
                old.append([Addition("warning", "late", {})])
            return run.status
        return workshop.drive(work, resting=lambda _: Outcome("again")).status

    statuses = at_once(*(lambda n=n: drive(n) for n in range(32)))
    assert statuses == ["closed", "closed", "parked", "closed"] * 8
    assert verify(journal, lifecycles={"workshop": TABLE}).ok


def test_two_processes_writers_take_turns(open_journal: OpenJournal) -> None:
    """Two journals on one file stand for two processes: SQLite's lock is between connections."""
    first, second = open_journal(), open_journal()

    def runs(journal: Journal, name: str) -> list[str]:
        return [Workshop(journal, {"subject": f"{name}{n}"}).drive(lambda ctx: ctx.random()).status for n in range(20)]

    assert at_once(lambda: runs(first, "a"), lambda: runs(second, "b")) == [["closed"] * 20] * 2
