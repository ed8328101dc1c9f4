"""verify finds what somebody did to the journal with the sqlite3 tool, and names it."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from pathlib import Path

import pytest

from tests.e2e.stage import Stage

TAMPERING = {
    "an entry edited": ("UPDATE entries SET payload = replace(payload, 'greet', 'great') WHERE seq = 1", 1),
    "an entry deleted": ("DELETE FROM entries WHERE seq = 5", 6),
    "two entries swapped": (
        "UPDATE entries SET seq = -3 WHERE seq = 3; UPDATE entries SET seq = 3 WHERE seq = 4; "
        "UPDATE entries SET seq = 4 WHERE seq = -3",
        3,
    ),
    "the last entry deleted": ("DELETE FROM entries WHERE kind = 'closed'", None),
    "the projection edited": ("UPDATE runs SET state = 'failed'", None),
    "the projection deleted": ("DELETE FROM runs", None),
    "a blob edited": ("UPDATE blobs SET data = x'00'", None),
}


@pytest.mark.parametrize("how", list(TAMPERING))
def test_any_change_is_found_and_named(done: Stage, tmp_path: Path, how: str) -> None:
    statements, seq = TAMPERING[how]
    home = tmp_path / "home"
    shutil.copytree(done.home, home)
    run = done.runs()[0]
    with contextlib.closing(sqlite3.connect(home / "journal.db")) as connection, connection:
        triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements.split("; "):
            where = "AND" if "WHERE" in statement else "WHERE"
            assert connection.execute(f"{statement} {where} run_id = '{run.run_id}'").rowcount > 0
        for _, definition in triggers:
            connection.execute(definition)
    report = done.necrocode("verify", "--json", "--home", home)
    assert report.code == 5, report.out
    assert report.json["ok"] is False
    problems = report.json["problems"]
    assert problems[0]["run_id"] == run.run_id
    if seq is not None:
        assert problems[0]["seq"] == seq
    if how == "an entry deleted":
        assert "entry 5 is missing" in problems[0]["problem"]
    if how in ("the last entry deleted", "a blob edited"):
        assert problems[0]["seq"] is not None
    spoken = done.necrocode("verify", "--all", "--home", home)
    assert spoken.code == 5
    assert run.run_id in spoken.err


def test_triggers_that_were_dropped_are_found(done: Stage, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(done.home, home)
    with contextlib.closing(sqlite3.connect(home / "journal.db")) as connection, connection:
        connection.execute(
            "DROP TRIGGER " + connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchone()[0]
        )
    report = done.necrocode("verify", "--json", "--home", home)
    assert report.code == 5
    assert "trigger" in report.json["problems"][0]["problem"]


def test_the_journal_itself_refuses_edits(done: Stage) -> None:
    with contextlib.closing(sqlite3.connect(done.home / "journal.db")) as connection:
        for statement in ("UPDATE entries SET name = 'x'", "DELETE FROM entries"):
            with pytest.raises(sqlite3.IntegrityError):
                connection.execute(statement)
