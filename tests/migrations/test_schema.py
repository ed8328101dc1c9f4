"""A migrated database equals one made from the models, and a fresh home can be opened by a crowd."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import MetaData, create_engine, inspect
from sqlalchemy.engine import Connection

import necrocode.embedded.schema
from necrocode.embedded.database import SERVICES, open_services
from necrocode.embedded.database import metadata as services
from necrocode.engine.database import Component, Database, alembic_config
from necrocode.engine.errors import JournalTooNew

assert necrocode.embedded.schema.tasks.metadata is services

# Each database: its component, its tables, and what stands in it besides tables.
DATABASES: dict[str, tuple[Component, MetaData]] = {"services": (SERVICES, services)}


def fingerprint(connection: Connection) -> dict[str, Any]:
    """All that can differ between two databases: what the inspector sees, and what only SQLite says."""
    inspector = inspect(connection)
    tables = [table for table in inspector.get_table_names() if table != "alembic_version"]
    kinds = connection.exec_driver_sql("PRAGMA table_list").mappings().all()
    return {
        table: {
            "columns": [
                (column["name"], str(column["type"]), column["nullable"], column["default"])
                for column in inspector.get_columns(table)
            ],
            "primary key": inspector.get_pk_constraint(table),
            "unique": sorted(inspector.get_unique_constraints(table), key=str),
            "foreign keys": sorted(inspector.get_foreign_keys(table), key=str),
            "checks": sorted(inspector.get_check_constraints(table), key=str),
            "indexes": sorted(
                str((index["name"], index["column_names"], index["unique"], _predicate(connection, index["name"])))
                for index in inspector.get_indexes(table)
            ),
            "kind": [(row["type"], row["wr"], row["strict"]) for row in kinds if row["name"] == table],
        }
        for table in sorted(tables)
    }


def _predicate(connection: Connection, index: str | None) -> str:
    sql = connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE name = ?", (index,)).scalar_one_or_none()
    return str(sql or "").partition(" WHERE ")[2]


@pytest.mark.parametrize("name", DATABASES)
def test_the_migrated_schema_is_the_one_of_the_models(tmp_path: Path, name: str) -> None:
    component, metadata = DATABASES[name]
    database = Database(tmp_path / "migrated.db", component)
    with database.read() as connection:
        migrated = fingerprint(connection)
    database.close()
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        metadata.create_all(connection)
        modelled = fingerprint(connection)
    engine.dispose()
    assert modelled
    assert migrated == modelled


@pytest.mark.parametrize("name", DATABASES)
def test_the_release_writes_the_newest_revision_of_its_branch(name: str) -> None:
    from alembic.script import ScriptDirectory

    component, _ = DATABASES[name]
    script = ScriptDirectory.from_config(alembic_config())
    newest = script.get_revision(f"{component.branch}@head")
    assert newest is not None
    assert newest.revision == component.head


def test_a_database_of_a_newer_release_is_refused_with_a_way_out(tmp_path: Path) -> None:
    database = open_services(tmp_path)
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = 's9999'")
    database.close()
    with pytest.raises(JournalTooNew, match="upgrade necrocode"):
        open_services(tmp_path)


def test_twenty_processes_open_a_fresh_home_at_once(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from necrocode.embedded.database import open_services\n"
        "sys.stdin.read(1)\n"
        "database = open_services(Path(sys.argv[1]))\n"
        "with database.write() as connection: connection.exec_driver_sql('DELETE FROM tasks')\n"
        "database.close(); print('opened')"
    )
    home = tmp_path / "home"
    crowd = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(20)
    ]
    for process in crowd:
        assert process.stdin is not None
        process.stdin.write("x")
        process.stdin.flush()
    ends = [process.communicate(timeout=120) for process in crowd]
    assert [(out.strip(), err, process.returncode) for (out, err), process in zip(ends, crowd, strict=True)] == [
        ("opened", "", 0)
    ] * 20
