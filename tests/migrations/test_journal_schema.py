"""The journal's migrations make what its tables declare, and refuse what a newer release wrote."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.engine import Connection

from necrocode.engine.database import Component, Database, alembic_config
from necrocode.engine.entry import Entry
from necrocode.engine.errors import JournalTooNew
from necrocode.engine.journal import Journal
from necrocode.engine.runs import RunRecord
from necrocode.engine.schema import JOURNAL, KINDS, STATUSES, TRIGGERS, metadata


def fingerprint(connection: Connection) -> dict[str, Any]:
    """All that can differ between two databases: what the inspector sees, and what only SQLite says."""
    inspector = inspect(connection)
    kinds = connection.exec_driver_sql("PRAGMA table_list").mappings().all()
    found: dict[str, Any] = {}
    for table in sorted(set(inspector.get_table_names()) - {"alembic_version"}):
        indexes = connection.exec_driver_sql(
            "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = ? AND sql IS NOT NULL", (table,)
        )
        found[table] = {
            "columns": [
                (column["name"], str(column["type"]), column["nullable"], column["default"])
                for column in inspector.get_columns(table)
            ],
            "primary key": inspector.get_pk_constraint(table),
            "unique": sorted(inspector.get_unique_constraints(table), key=str),
            "checks": sorted((check["name"], check["sqltext"]) for check in inspector.get_check_constraints(table)),
            "indexes": sorted((row[0], " ".join(row[1].split())) for row in indexes),
            "kind": [(row["type"], row["wr"], row["strict"]) for row in kinds if row["name"] == table],
        }
    return found


def triggers(connection: Connection) -> dict[str, str]:
    rows = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"))
    return {row[0]: row[1] for row in rows}


def test_a_migrated_journal_is_what_its_tables_declare(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.db") as journal, journal.database.read() as connection:
        migrated, guards = fingerprint(connection), triggers(connection)
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        metadata.create_all(connection)
        declared = fingerprint(connection)
    engine.dispose()
    assert declared
    assert migrated == declared
    assert guards == TRIGGERS


def test_this_release_writes_the_newest_revision_of_the_journal() -> None:
    from alembic.script import ScriptDirectory

    newest = ScriptDirectory.from_config(alembic_config()).get_revision(f"{JOURNAL.branch}@head")
    assert newest is not None
    assert newest.revision == JOURNAL.head


def test_rows_and_tables_have_the_same_columns() -> None:
    assert Entry._fields == tuple(column.name for column in metadata.tables["entries"].columns)
    assert tuple(RunRecord._fields) == tuple(column.name for column in metadata.tables["runs"].columns)


@pytest.mark.parametrize(("table", "column", "allowed"), [("entries", "kind", KINDS), ("runs", "status", STATUSES)])
def test_a_word_that_no_release_knows_is_refused(
    tmp_path: Path, table: str, column: str, allowed: tuple[str, ...]
) -> None:
    with Journal(tmp_path / "journal.db") as journal:
        names = [each.name for each in metadata.tables[table].columns]

        def insert(word: str, n: int) -> None:
            values = [word if name == column else f"{n}" for name in names]
            marks = ", ".join("?" * len(names))
            journal.writer.submit(lambda c: c.execute(f"INSERT INTO {table} VALUES ({marks})", values))

        for n, word in enumerate(allowed):
            insert(word, n)
        with pytest.raises(Exception, match="CHECK constraint failed"):
            insert("unheard-of", 99)


def test_a_journal_of_a_newer_release_is_refused_and_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    Journal(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.execute("UPDATE alembic_version SET version_num = 'j9999'")
    before = path.read_bytes()
    with pytest.raises(JournalTooNew, match="upgrade necrocode"):
        Journal(path)
    assert path.read_bytes() == before


def test_a_migration_that_fails_leaves_nothing_half_done(tmp_path: Path) -> None:
    class Refused(Exception):
        pass

    path = tmp_path / "journal.db"

    class Breaking(sqlite3.Connection):
        def cursor(self, _: Any = None) -> Any:
            class Cursor(sqlite3.Cursor):
                def execute(self, sql: str, parameters: Any = (), /) -> Any:
                    if "CREATE TABLE outbox" in sql:
                        raise Refused
                    return super().execute(sql, parameters)

            return super().cursor(Cursor)

    with pytest.raises(Refused):
        Journal(path, connections=Breaking)
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("SELECT name FROM sqlite_master").fetchall() == []
    with Journal(path) as journal:
        assert journal.database.revision() == JOURNAL.head


def test_opening_an_up_to_date_journal_does_not_load_alembic(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    Journal(path).close()
    program = (
        "import sys; from pathlib import Path; from necrocode.engine.journal import Journal\n"
        "Journal(Path(sys.argv[1])).close(); print('alembic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_component_knows_its_own_branch_only(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    Database(path, Component("journal", JOURNAL.head)).close()
    with closing(sqlite3.connect(path)) as raw:
        tables = {row[0] for row in raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert tables == set(metadata.tables) | {"alembic_version"}
