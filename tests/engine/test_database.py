"""The journal's file: made, switched and migrated once by however many come at once; refused with a reason."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import exc

from necrocode.engine.claim import claim
from necrocode.engine.database import Component, Database, file_lock
from necrocode.engine.effects import Attempt
from necrocode.engine.errors import JournalDamaged, JournalTooNew, JournalUnavailable
from necrocode.engine.journal import PAGE, Journal
from necrocode.engine.leases import refuse_while_driven
from necrocode.engine.schema import JOURNAL
from tests.engine.workshop import OpenJournal, Workshop, always

OPEN_AND_WRITE = """
import sys
from pathlib import Path
from necrocode.engine.journal import PAGE, Journal, refuse_while_driven
from tests.engine.workshop import TABLE
sys.stdin.read(1)
with Journal(Path(sys.argv[1])) as journal:
    print(journal.create(TABLE, subject=sys.argv[2], data={}).run_id)
"""


def test_a_crowd_of_processes_makes_one_journal(tmp_path: Path) -> None:
    path = tmp_path / "home" / "journal.db"
    crowd = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN_AND_WRITE, str(path), str(n)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for n in range(12)
    ]
    for process in crowd:
        assert process.stdin is not None
        process.stdin.write("x")
        process.stdin.flush()
    ends = [process.communicate(timeout=120) for process in crowd]
    assert [(err, process.returncode) for (_, err), process in zip(ends, crowd, strict=True)] == [("", 0)] * len(crowd)
    with Journal(path) as journal:
        assert {run.run_id for run in journal.runs()} == {out.strip() for out, _ in ends}
        assert journal.database.revision() == JOURNAL.head


def test_a_crowd_of_threads_makes_one_journal(tmp_path: Path) -> None:
    path, errors = tmp_path / "journal.db", []

    def open_it() -> None:
        try:
            Journal(path).close()
        except Exception as error:  # noqa: BLE001 - it is the result
            errors.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


def test_a_new_journal_is_nobody_elses_to_read(tmp_path: Path) -> None:
    path = tmp_path / "home" / "journal.db"
    with Journal(path) as journal:
        Workshop(journal)
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        for each in path.parent.iterdir():
            assert stat.S_IMODE(each.stat().st_mode) & 0o077 == 0, each


@pytest.mark.parametrize("name", ["a b.db", "a?b=c.db", "a#b.db", "a%20b.db", "é😀.db", ":memory:.db", "file:x.db"])
def test_a_journal_may_be_called_anything(tmp_path: Path, name: str) -> None:
    with Journal(tmp_path / name) as journal:
        run_id = Workshop(journal).run_id
    assert (tmp_path / name).stat().st_size
    with Journal(tmp_path / name) as journal:
        assert journal.run(run_id)


def test_a_relative_path_stays_what_it_was(
    open_journal: OpenJournal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_journal("here.db").close()
    monkeypatch.chdir(tmp_path)
    with Journal(Path("here.db")) as journal:
        monkeypatch.chdir("/")
        workshop = Workshop(journal)
        assert workshop.drive(lambda ctx: ctx.effect("post", lambda _: 1)).state == "done"


@pytest.mark.parametrize(("durability", "synchronous"), [("power-loss", 2), ("process-crash", 1)])
def test_durability_is_what_was_asked_for_on_every_connection(
    open_journal: OpenJournal, durability: str, synchronous: int
) -> None:
    journal = open_journal(durability=durability)
    assert journal.writer.submit(lambda c: c.execute("PRAGMA synchronous").fetchone()[0]) == synchronous
    with journal.database.read() as one, journal.database.read() as two:
        for connection in (one, two):
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == synchronous
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"


def test_a_journal_whose_log_was_switched_off_gets_it_back(open_journal: OpenJournal) -> None:
    journal = open_journal()
    journal.close()
    raw = sqlite3.connect(journal.path)
    assert raw.execute("PRAGMA journal_mode = DELETE").fetchone() == ("delete",)
    raw.close()
    with open_journal().database.read() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"


# --- refused ---


def test_a_journal_of_a_newer_release_is_refused_with_a_way_out(open_journal: OpenJournal) -> None:
    journal = open_journal()
    with journal.database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = 'j9999'")
    with pytest.raises(JournalTooNew, match=r"j9999.*upgrade necrocode"):
        open_journal()


def test_another_database_of_ours_is_no_journal(tmp_path: Path) -> None:
    path = tmp_path / "services.db"
    Database(path, Component("services", "s0001")).close()
    with pytest.raises(JournalDamaged, match="not the journal database"):
        Journal(path)


def test_a_strangers_database_is_no_journal(tmp_path: Path) -> None:
    path = tmp_path / "photos.db"
    with sqlite3.connect(path) as raw:
        raw.execute("CREATE TABLE photos (name TEXT)")
    raw.close()
    before = path.read_bytes()
    with pytest.raises(JournalDamaged, match="not ours"):
        Journal(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"this is no database at all, it is a text" * 40, os.urandom(8192)])
def test_a_file_that_is_no_database_is_damage(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(content)
    with pytest.raises(JournalDamaged, match=r"journal\.db is damaged"):
        Journal(path)
    assert path.read_bytes() == content


def test_a_folder_in_its_place_is_said(tmp_path: Path) -> None:
    (tmp_path / "journal.db").mkdir()
    with pytest.raises(JournalUnavailable, match=r"journal\.db"):
        Journal(tmp_path / "journal.db")
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalUnavailable, match="file"):
        Journal(tmp_path / "file" / "journal.db")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_a_read_only_journal_can_be_read_and_not_written(open_journal: OpenJournal, tmp_path: Path) -> None:
    journal = open_journal()
    run_id = Workshop(journal).run_id
    journal.close()
    path = tmp_path / "journal.db"
    path.chmod(0o400)
    again = open_journal()
    assert again.run(run_id)
    with pytest.raises(JournalUnavailable, match="read-only"):
        again.request_cancel(run_id)


def test_a_full_disk_is_said_and_nothing_is_half_written(open_journal: OpenJournal) -> None:
    journal = open_journal()
    workshop = Workshop(journal)
    pages = journal.writer.submit(lambda c: c.execute("PRAGMA page_count").fetchone()[0])
    journal.writer.submit(lambda c: c.execute(f"PRAGMA max_page_count = {pages + 2}").fetchone())
    done: list[int] = []

    def do(n: int) -> Callable[[Attempt], str]:
        def append(_: Attempt) -> str:
            done.append(n)
            return "x" * 1500

        return append

    with pytest.raises(JournalUnavailable, match="no space left"):
        workshop.drive(lambda ctx: [ctx.effect("post", do(n)) for n in range(99)])
    recorded = len(workshop.payloads("outcome"))
    assert 0 < recorded <= len(done) < 99
    journal.writer.submit(lambda c: c.execute("PRAGMA max_page_count = 100000").fetchone())
    run = workshop.drive(lambda ctx: [ctx.effect("post", do(n)) for n in range(99)])
    assert run.state == "done"
    assert len(done) <= 99 + 1, "at most the one whose outcome found no space was done twice"


def test_a_journal_locked_by_another_process_is_waited_for_and_then_said(open_journal: OpenJournal) -> None:
    journal = open_journal(lock_timeout=timedelta(seconds=0.8))
    workshop = Workshop(journal)
    other = sqlite3.connect(journal.path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    begun = time.monotonic()
    with pytest.raises(JournalUnavailable, match="locked by another process"):
        workshop.drive(lambda _: None)
    assert time.monotonic() - begun > 0.7
    assert workshop.run.status == "live", "reading goes on"
    release = threading.Timer(0.1, lambda: other.execute("ROLLBACK"))
    release.start()
    patient = open_journal(lock_timeout=timedelta(seconds=20))
    assert Workshop(patient, run_id=workshop.run_id).drive(lambda _: None).state == "done", "it is waited for"
    release.join()
    other.close()


def test_a_file_lock_is_waited_for_and_then_said(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with (
        file_lock(path, timedelta(seconds=1)),
        pytest.raises(JournalUnavailable, match="locked by another process"),
        file_lock(path, timedelta(seconds=0.1)),
    ):
        raise AssertionError("two have it")
    with file_lock(path, timedelta(0)):
        pass


def test_a_callers_own_errors_are_not_taken_for_the_databases(journal: Journal) -> None:
    with pytest.raises(FileNotFoundError), journal.database.read():
        Path("/no/such/file").read_text()
    with pytest.raises(exc.IntegrityError), journal.database.write() as connection:
        connection.exec_driver_sql("INSERT INTO chain (n) VALUES (NULL)")
    with pytest.raises(exc.OperationalError) as wrong, journal.database.engine.connect() as connection:
        connection.exec_driver_sql("SELECT nonsense")
    assert wrong


# --- migrating ---


def test_a_migration_waits_until_nobody_drives_a_run(open_journal: OpenJournal) -> None:
    journal = open_journal()
    held = claim(journal, Workshop(journal).run_id)
    Database(journal.path, JOURNAL, may_migrate=refuse_while_driven).close()
    newer = Component("journal", "j9999")
    with pytest.raises(JournalUnavailable, match=f"process {os.getpid()} on .* is driving a run"):
        Database(journal.path, newer, may_migrate=refuse_while_driven)
    held.abandon()
    Database(journal.path, newer, may_migrate=refuse_while_driven).close()


# --- reading ---


def test_a_reader_that_takes_its_time_keeps_no_log_from_being_emptied(journal: Journal) -> None:
    workshop = Workshop(journal)
    workshop.drive(lambda ctx: [ctx.observe("look", always(n)) for n in range(20)])
    slow = journal.entries(workshop.run_id)
    assert next(slow).seq == 1
    Workshop(journal, {"subject": "other"}).drive(lambda ctx: ctx.effect("post", lambda _: "x" * 1000))
    busy, in_log, moved = _checkpoint(journal)
    assert (busy, in_log) == (0, moved)
    assert [entry.seq for entry in slow] == list(range(2, 25))


def _checkpoint(journal: Journal) -> tuple[int, int, int]:
    raw = sqlite3.connect(journal.path)
    row = raw.execute("PRAGMA wal_checkpoint(FULL)").fetchone()
    raw.close()
    return (row[0], row[1], row[2])


def test_entries_are_read_in_pages_that_leave_nothing_out(journal: Journal) -> None:
    workshop = Workshop(journal)
    workshop.drive(lambda ctx: [ctx.observe("look", always(n)) for n in range(2 * PAGE)])
    seqs = [entry.seq for entry in journal.entries(workshop.run_id)]
    assert seqs == list(range(1, workshop.run.head_seq + 1))
    assert [e.seq for e in journal.entries(workshop.run_id, after=PAGE)] == seqs[PAGE:]


def test_more_readers_than_a_pool_holds_do_not_wait_for_each_other(journal: Journal) -> None:
    workshop = Workshop(journal)
    gate = threading.Barrier(40, timeout=20)
    statuses: list[str] = []

    def read() -> None:
        with journal.database.read():
            gate.wait()
            statuses.append(journal.run(workshop.run_id).status)

    threads = [threading.Thread(target=read) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == ["live"] * 40
