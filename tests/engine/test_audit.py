"""Verify finds what was changed by anyone who does not compute hashes anew, and names the first bad entry.

The changes are made with the real sqlite3 module, the triggers that refuse them taken off first and put back after.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from necrocode.engine import audit, outbox
from necrocode.engine.audit import Problem, rebuild, verify
from necrocode.engine.claim import Addition, claim
from necrocode.engine.context import Context
from necrocode.engine.driver import Driver, Outcome, Program
from necrocode.engine.entry import Entry, entry_hash
from necrocode.engine.errors import EnvironmentFault, JournalDamaged
from necrocode.engine.journal import Journal, link_hash
from necrocode.engine.lifecycle import Lifecycle, State, Transition
from necrocode.engine.pruning import prune
from necrocode.engine.schema import KINDS, STATUSES, TRIGGERS, metadata
from tests.engine.workshop import TABLE, Calls, Workshop, die

LIFECYCLES = {"workshop": TABLE}

#: The runs of the told story, by what became of them.
ENDED, PARKED, DEAD, YOUNG, PRUNED = (f"{n}0000000-0000-7000-8000-000000000000" for n in range(1, 6))


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, blank: Path) -> Path:
    """A closed journal in which about everything has happened."""
    path = tmp_path_factory.mktemp("told") / "journal.db"
    shutil.copyfile(blank, path)
    with Journal(path) as journal:
        for run_id in (ENDED, PARKED, DEAD, YOUNG, PRUNED):
            journal.create(TABLE, subject=run_id, data={"task": "t"}, settings={"a": 1}, run_id=run_id)

        def work(ctx: Context) -> Any:
            ctx.warn("odd", {"message": "look"})
            ctx.observe("look", lambda: "x" * 5000)
            ctx.post("registry", "event", {"type": "done"})
            return Outcome("finish") if ctx.visit else Outcome("rest", {"large": "y" * 5000})

        for run_id in (ENDED, PRUNED):
            workshop = Workshop(journal, run_id=run_id)
            assert workshop.drive(work, resting=lambda _: Outcome("again")).status == "closed"
        assert Workshop(journal, run_id=PARKED).drive(Calls([EnvironmentFault("broken")])).status == "parked"
        Workshop(journal, run_id=DEAD).die(lambda ctx: [ctx.effect("post", lambda _: 1), ctx.effect("b", die)])
        parcels = {parcel.run_id: parcel for parcel in audit_waiting(journal)}
        with journal.database.write() as connection:
            connection.exec_driver_sql("UPDATE outbox SET delivered_at = 1 WHERE run_id = ?", (PRUNED,))
        assert set(parcels) == {ENDED, PRUNED}
        assert prune(journal, [PRUNED], by="a test") == 1
        assert verify(journal, lifecycles=LIFECYCLES).problems == ()
    return path


def audit_waiting(journal: Journal) -> list[Any]:
    return list(outbox.waiting(journal))


@pytest.fixture
def path(told: Path, tmp_path: Path) -> Path:
    """A copy to be changed."""
    return Path(shutil.copyfile(told, tmp_path / "journal.db"))


def change(path: Path, *statements: tuple[str, tuple[Any, ...]]) -> int:
    """Do it with the triggers off; how many rows it touched."""
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        for name in TRIGGERS:
            raw.execute(f"DROP TRIGGER {name}")
        touched = sum(raw.execute(sql, parameters).rowcount for sql, parameters in statements)
        for sql in TRIGGERS.values():
            raw.execute(sql)
    return touched


def examined(path: Path, **options: Any) -> tuple[Problem, ...]:
    with Journal(path) as journal:
        return verify(journal, lifecycles=LIFECYCLES, **options).problems


def rows(path: Path, table: str) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(path)) as raw:
        raw.row_factory = sqlite3.Row
        return [dict(row) for row in raw.execute(f"SELECT rowid AS rowid, * FROM {table} ORDER BY rowid")]


def ends_and_middle(path: Path, table: str) -> list[dict[str, Any]]:
    """The first, a middle and the last row of the ended run, and the last of every other."""
    found = rows(path, table)
    ours = [row for row in found if row["run_id"] == ENDED]
    picked = [ours[0], ours[len(ours) // 2]] if ours else []
    last = {row["run_id"]: row for row in found}
    return [*picked, *(row for row in last.values() if row not in picked)]


def other(column: str, value: Any) -> Sequence[Any]:
    """What a value might be changed to."""
    if column in ("kind", "status"):
        return [each for each in (KINDS if column == "kind" else STATUSES) if each != value]
    if isinstance(value, bytes):
        return [value[:-1], b"", b"\xff", "text", 5]
    if isinstance(value, str):
        return [value + " ", "", "other", b"\xff\xfe"]
    if isinstance(value, int):
        return [value + 1, value - 1, "many", 1.5]
    return ["something", 1]


#: What changes all the time, by design, and is in no hash: a heartbeat, a delivery, a wish.
MUTABLE = {
    ("leases", "beat"),
    ("leases", "held"),
    ("outbox", "attempts"),
    ("outbox", "last_error"),
    ("outbox", "delivered_at"),
}
COLUMNS = [
    (table.name, column.name)
    for table in metadata.sorted_tables
    if table.name != "requests"
    for column in table.columns
    if (table.name, column.name) not in MUTABLE
]


@pytest.mark.parametrize(("table", "column"), COLUMNS)
def test_any_change_to_any_column_of_any_row_is_found(path: Path, told: Path, table: str, column: str) -> None:
    seen = 0
    for row in ends_and_middle(told, table):
        for value in other(column, row[column]):
            shutil.copyfile(told, path)
            try:
                change(path, (f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (value, row["rowid"])))
            except sqlite3.IntegrityError:
                continue
            if rows(path, table) == rows(told, table):
                continue  # SQLite turned it into what it was
            problems = examined(path)
            assert problems, f"{row['rowid']}.{column} = {value!r} was not found"
            seen += 1
            if table == "entries" and column not in ("run_id", "seq"):
                assert problems[0].run_id == row["run_id"]
                assert problems[0].seq in (row["seq"], row["seq"] + 1), "the first bad one is named"
            if table == "runs" and column != "run_id":
                assert any(p.run_id == row["run_id"] and column in p.problem for p in problems)
    assert seen


@pytest.mark.parametrize("table", sorted({table for table, _ in COLUMNS}))
def test_any_row_that_is_taken_away_is_missed(path: Path, told: Path, table: str) -> None:
    for row in rows(told, table):
        shutil.copyfile(told, path)
        assert change(path, (f"DELETE FROM {table} WHERE rowid = ?", (row["rowid"],))) == 1
        problems = examined(path)
        assert problems, f"row {row['rowid']} was not missed"
        if table == "entries":
            assert problems[0].run_id == row["run_id"]
            last = max(r["seq"] for r in rows(told, table) if r["run_id"] == row["run_id"])
            assert problems[0].seq in ((row["seq"] + 1,) if row["seq"] < last else (last, last - 1, None))


@pytest.mark.parametrize("apart", [1, 2])
def test_any_two_entries_that_change_places_are_found(path: Path, told: Path, apart: int) -> None:
    entries = [row for row in rows(told, "entries") if row["run_id"] == ENDED]
    for first, second in zip(entries, entries[apart:], strict=False):
        shutil.copyfile(told, path)
        sql = "UPDATE entries SET seq = ? WHERE rowid = ?"
        change(
            path,
            (sql, (-1, first["rowid"])),
            (sql, (first["seq"], second["rowid"])),
            (sql, (second["seq"], first["rowid"])),
        )
        problem = examined(path)[0]
        assert (problem.run_id, problem.seq) == (ENDED, first["seq"])


def test_entries_that_change_runs_are_found(path: Path) -> None:
    sql = "UPDATE entries SET run_id = ? WHERE run_id = ? AND seq = 1"
    change(path, (sql, ("x", ENDED)), (sql, (ENDED, PARKED)), (sql, (PARKED, "x")))
    assert {problem.run_id for problem in examined(path)} >= {ENDED, PARKED}


def test_an_entry_that_was_added_at_the_end_is_found(path: Path) -> None:
    change(
        path,
        (
            "INSERT INTO entries SELECT run_id, seq + 1, 'warning', state, 'forged', '', epoch, at, '{}', hash, hash "
            "FROM entries WHERE run_id = ? ORDER BY seq DESC LIMIT 1",
            (ENDED,),
        ),
    )
    with Journal(path) as journal:
        last = journal.run(ENDED).head_seq
    assert Problem(ENDED, last + 1, "it was changed") in examined(path)


def test_replacing_a_row_slips_past_the_triggers_and_not_past_verify(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.execute(
            "INSERT OR REPLACE INTO entries SELECT run_id, seq, kind, state, 'other', key, epoch, at, payload, "
            "prev_hash, hash FROM entries WHERE run_id = ? AND seq = 3",
            (ENDED,),
        )
    assert examined(path)[0] == Problem(ENDED, 3, "it was changed")


@pytest.mark.parametrize("table", ["entries", "blobs", "chain", "tombstones"])
@pytest.mark.parametrize("what", ["UPDATE {} SET rowid = rowid + 1000", "DELETE FROM {}"])
def test_the_triggers_refuse_changes(path: Path, table: str, what: str) -> None:
    with closing(sqlite3.connect(path)) as raw, pytest.raises(sqlite3.IntegrityError, match=f"{table} are append-only"):
        raw.execute(what.format(table))


@pytest.mark.parametrize("name", TRIGGERS)
@pytest.mark.parametrize("instead", [None, "CREATE TRIGGER {} BEFORE UPDATE ON runs BEGIN SELECT 1; END"])
def test_a_trigger_that_is_gone_or_another_is_said(path: Path, name: str, instead: str | None) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.execute(f"DROP TRIGGER {name}")
        if instead:
            raw.execute(instead.format(name))
    (problem,) = examined(path)
    assert problem == Problem(None, None, f"the trigger {name} is {'not ours' if instead else 'missing'}")


def test_a_whole_run_that_was_deleted_is_missed(path: Path) -> None:
    for run_id in (ENDED, PARKED, YOUNG, PRUNED):
        change(
            path,
            *(
                (f"DELETE FROM {table.name} WHERE run_id = ?", (run_id,))
                for table in metadata.sorted_tables
                if table.name != "chain"
            ),
        )
        assert Problem(run_id, None, "the run was deleted") in examined(path)


def test_a_parked_run_whose_lease_is_held_is_said(path: Path) -> None:
    change(path, ("UPDATE leases SET held = 1 WHERE run_id = ?", (PARKED,)))
    (problem,) = examined(path)
    assert problem.problem == "its lease is held, and the run is parked"


def test_what_belongs_to_no_run_is_said(path: Path) -> None:
    for table in ("blobs", "leases", "outbox", "tombstones"):
        copied = f"INSERT INTO {table} SELECT "
        names = [c.name for c in metadata.tables[table].columns]
        values = ["'nobody'" if n == "run_id" else "'x' || item_id" if n == "item_id" else n for n in names]
        change(path, (f"{copied}{', '.join(values)} FROM {table} LIMIT 1", ()))
    assert len([problem for problem in examined(path) if problem.run_id == "nobody"]) >= 2


def test_only_the_run_that_is_asked_for_is_examined(path: Path) -> None:
    change(path, ("UPDATE entries SET at = at + 1 WHERE run_id = ? AND seq = 2", (PARKED,)))
    assert examined(path, run_id=ENDED) == ()
    assert examined(path, run_id=PARKED) == (Problem(PARKED, 2, "it was changed"),)
    assert examined(path, run_id="no such run") == (Problem("no such run", None, "it has no entries"),)


def test_a_file_that_sqlite_cannot_read_is_a_problem_like_any_other(path: Path) -> None:
    content = bytearray(path.read_bytes())
    with closing(sqlite3.connect(path)) as raw:
        root = raw.execute("SELECT rootpage FROM sqlite_master WHERE name = 'entries'").fetchone()[0]
    size = int.from_bytes(content[16:18], "big")
    content[(root - 1) * size : root * size] = b"\xee" * size
    path.write_bytes(content)
    with Journal(path) as journal:
        report = verify(journal)
    assert not report.ok
    assert "is damaged" in report.problems[-1].problem


# --- the table ---


def test_a_transition_that_the_table_does_not_declare_is_named(journal: Journal) -> None:
    """Written by the engine itself, under another table: only the table can tell."""
    workshop = Workshop(journal)
    held = claim(journal, workshop.run_id)
    held.append([Addition("transition", "teleport", {"visit": 1, "patch": {}}, key="working", state="resting")])
    held.abandon()
    assert verify(journal).ok
    (problem,) = verify(journal, lifecycles=LIFECYCLES).problems
    assert (problem.run_id, problem.seq) == (workshop.run_id, 3)
    assert "'teleport' is not declared from 'working'" in problem.problem


@pytest.mark.parametrize(
    ("addition", "words"),
    [
        (Addition("transition", "rest", {"visit": 1, "patch": {}}, key="working", state="done"), "leads to 'resting'"),
        (Addition("transition", "rest", {"visit": 1, "patch": {}}, key="resting", state="resting"), "leaves 'resting'"),
        (Addition("warning", "odd", {}, state="resting"), "its state is 'resting', the run was in 'working'"),
        (Addition("closed", "working", {}), "ends the run in 'working', which is not terminal"),
    ],
)
def test_a_step_that_contradicts_the_table_is_named(journal: Journal, addition: Addition, words: str) -> None:
    workshop = Workshop(journal)
    held = claim(journal, workshop.run_id)
    held.append([addition])
    held.abandon()
    problem = verify(journal, lifecycles=LIFECYCLES).problems[0]
    assert (problem.run_id, problem.seq) == (workshop.run_id, 3)
    assert words in problem.problem


def test_a_guard_is_held_against_the_recorded_data(journal: Journal) -> None:
    def table(limit: int) -> Lifecycle:
        return Lifecycle(
            name="guarded",
            version=1,
            initial="a",
            states=[State("a"), State("end", terminal=True)],
            transitions=[Transition("go", "a", "end", "small")],
            guards={"small": lambda data: data["n"] < limit},
        )

    run = journal.create(table(10), subject="s", data={"n": 0})
    Driver(journal, Program(table(10), {"a": lambda _: Outcome("go", {"n": 7})})).drive(run.run_id)
    assert verify(journal, lifecycles={"guarded": table(10)}).ok
    (problem,) = verify(journal, lifecycles={"guarded": table(5)}).problems
    assert (problem.seq, problem.problem) == (3, "guarded: every guard of 'go' from 'a' refuses")


# --- heads kept elsewhere ---


@pytest.fixture
def kept(path: Path) -> audit.Heads:
    with Journal(path) as journal:
        heads = audit.heads(journal)
        assert audit.Heads.from_json(heads.to_json()) == heads
        assert verify(journal, against=heads).ok
    return heads


def rehashed(path: Path, run_id: str, alter: Callable[[dict[str, Any]], None]) -> None:
    """What someone can do who computes every hash anew: the run, its row, and the chain over all runs."""
    entries = [row for row in rows(path, "entries") if row["run_id"] == run_id]
    previous, statements = "", list[tuple[str, tuple[Any, ...]]]()
    for row in sorted(entries, key=lambda each: each["seq"]):
        alter(row)
        row["prev_hash"] = previous
        row["hash"] = previous = entry_hash(*(row[name] for name in Entry._fields[:-1]))
        names = ", ".join(f"{name} = ?" for name in Entry._fields)
        written = Entry(*(row[name] for name in Entry._fields)).row
        statements.append((f"UPDATE entries SET {names} WHERE rowid = ?", (*written, row["rowid"])))
    statements.append(("UPDATE runs SET head_hash = ? WHERE run_id = ?", (previous, run_id)))
    hashes = {row["seq"]: row["hash"] for row in entries}
    previous = ""
    for link in rows(path, "chain"):
        if link["run_id"] == run_id:
            link["head_hash"] = hashes.get(link["seq"], link["head_hash"])
        digest = link_hash(link["n"], link["run_id"], link["event"], link["seq"], link["head_hash"], previous)
        statements.append(
            (
                "UPDATE chain SET head_hash = ?, prev_hash = ?, hash = ? WHERE n = ?",
                (link["head_hash"], previous, digest, link["n"]),
            )
        )
        previous = digest
    change(path, *statements)


def test_heads_kept_elsewhere_find_what_was_computed_anew(path: Path, kept: audit.Heads) -> None:
    rehashed(path, ENDED, lambda row: row.update(at=row["at"] + 1) if row["kind"] == "warning" else None)
    assert examined(path) == (), "inside the journal it all agrees"
    problems = examined(path, against=kept)
    assert any(problem.run_id == ENDED and problem.seq is not None for problem in problems)
    assert any("of the chain over all runs is not the one that was kept" in problem.problem for problem in problems)


def test_heads_kept_elsewhere_miss_a_run_that_was_deleted_with_its_links(path: Path, kept: audit.Heads) -> None:
    tables = [table.name for table in metadata.sorted_tables if table.name != "chain"]
    change(path, *((f"DELETE FROM {table} WHERE run_id = ?", (YOUNG,)) for table in tables))
    with closing(sqlite3.connect(path)) as raw:
        last = raw.execute("SELECT max(n) FROM chain").fetchone()[0]
    change(path, ("DELETE FROM chain WHERE n = ?", (last,)))
    assert any("is not the one that was kept" in p.problem for p in examined(path, against=kept))


def test_heads_of_a_tail_that_was_cut_off_are_missed(path: Path, kept: audit.Heads) -> None:
    """The last entry of a run that has not ended, taken away with its trace in the projection."""
    with Journal(path) as journal:
        entries = list(journal.entries(DEAD))
    before, last = entries[-2:]
    change(
        path,
        ("DELETE FROM entries WHERE run_id = ? AND seq = ?", (DEAD, last.seq)),
        (
            "UPDATE runs SET head_seq = ?, head_hash = ?, updated_at = ? WHERE run_id = ?",
            (before.seq, before.hash, before.at, DEAD),
        ),
    )
    assert examined(path) == ()
    assert examined(path, against=kept) == (Problem(DEAD, last.seq, f"entry {last.seq} is not the one that was kept"),)


def test_what_happens_after_heads_were_kept_is_no_problem(path: Path, kept: audit.Heads) -> None:
    with Journal(path) as journal:
        Workshop(journal, run_id=PARKED).drive(lambda _: None)
        Workshop(journal, {"subject": "new"}).drive(lambda _: None)
        with journal.database.write() as connection:
            connection.exec_driver_sql("UPDATE outbox SET delivered_at = 1")
        prune(journal, [ENDED, PARKED], by="a test")
    assert examined(path, against=kept) == ()


def test_a_tombstone_for_another_head_is_found_against_the_one_that_was_kept(path: Path, kept: audit.Heads) -> None:
    with Journal(path) as journal:
        with journal.database.write() as connection:
            connection.exec_driver_sql("UPDATE outbox SET delivered_at = 1")
        prune(journal, [ENDED], by="a test")
    change(path, ("UPDATE tombstones SET head_hash = ? WHERE run_id = ?", ("0" * 64, ENDED)))
    problems = [problem.problem for problem in examined(path, against=kept)]
    assert "its tombstone is not for the run that was kept" in problems


@pytest.mark.parametrize("value", [{}, {"chain": {}}, {"chain": {"n": 1, "hash": "x"}, "runs": {"r": 5}}, {"runs": []}])
def test_a_file_that_holds_no_heads_is_refused(value: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not a heads file"):
        audit.Heads.from_json(value)


# --- rebuilding ---


def test_rebuilding_an_undamaged_projection_changes_nothing(path: Path) -> None:
    before = rows(path, "runs")
    with Journal(path) as journal:
        assert rebuild(journal) == 0
    for row in (after := rows(path, "runs")) + before:
        del row["rowid"]
    assert sorted(after, key=str) == sorted(before, key=str)


def test_a_damaged_projection_is_rebuilt_from_the_entries(path: Path) -> None:
    before = sorted((tuple(row.values())[1:] for row in rows(path, "runs")), key=str)
    change(
        path,
        ("UPDATE runs SET state = 'done', data = '{}' WHERE run_id = ?", (PARKED,)),
        ("DELETE FROM runs WHERE run_id = ?", (ENDED,)),
        ("UPDATE runs SET head_seq = 1 WHERE run_id = ?", (DEAD,)),
    )
    assert examined(path)
    with Journal(path) as journal:
        assert rebuild(journal) == 3
    assert examined(path) == ()
    assert sorted((tuple(row.values())[1:] for row in rows(path, "runs")), key=str) == before


def test_nothing_is_rebuilt_from_entries_that_were_changed(path: Path) -> None:
    change(path, ("UPDATE entries SET payload = '{}' WHERE run_id = ? AND seq = 2", (PARKED,)))
    before = rows(path, "runs")
    with Journal(path) as journal, pytest.raises(JournalDamaged, match=f"run {PARKED}, entry 2: it was changed"):
        rebuild(journal)
    assert rows(path, "runs") == before


def test_a_run_whose_present_part_was_changed_is_not_driven(path: Path) -> None:
    with Journal(path) as journal:
        seq = next(entry.seq for entry in journal.entries(DEAD) if entry.kind == "outcome")
    change(path, ("UPDATE entries SET payload = '{}' WHERE run_id = ? AND seq = ?", (DEAD, seq)))
    with Journal(path) as journal:
        with pytest.raises(JournalDamaged, match=f"entry {seq} was changed"):
            Workshop(journal, run_id=DEAD).drive(lambda _: None)
        assert journal.holder(DEAD) is None


def test_a_row_of_the_projection_that_cannot_be_read_is_damage(path: Path) -> None:
    change(path, ("UPDATE runs SET data = '{' WHERE run_id = ?", (DEAD,)))
    with Journal(path) as journal, pytest.raises(JournalDamaged, match=DEAD):
        journal.runs()
