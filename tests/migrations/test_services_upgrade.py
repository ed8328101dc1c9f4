"""A services database of the first release is upgraded with what stands in it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from necrocode.embedded.database import open_services
from necrocode.engine.database import Component, Database, alembic_config
from necrocode.registry.embedded import EmbeddedRegistry

AT = datetime(2026, 1, 1, tzinfo=UTC)


def test_tasks_of_the_first_release_are_still_there_and_can_go_on(tmp_path: Path) -> None:
    from sqlalchemy import create_engine

    from alembic import command

    engine = create_engine(f"sqlite:///{tmp_path / 'services.db'}")
    config = alembic_config()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "s0001")
        connection.exec_driver_sql(
            "INSERT INTO tasks VALUES ('auth', '1', 'running', '{\"run_id\":\"r\"}', 'r', 1, 0, 1000000)"
        )
    engine.dispose()
    old = Database(tmp_path / "services.db", Component("services", "s0001"))
    assert old.revision() == "s0001"
    old.close()

    database = open_services(tmp_path)
    registry = EmbeddedRegistry(database)
    task = registry.get_task("1")
    assert (task.status, task.version, task.definition) == ("running", 1, None)
    registry.set_status("1", "auth", "done", metadata={"run_id": "r"}, at=AT + timedelta(seconds=1), key="k", epoch=1)
    task = registry.get_task("1")
    assert (task.status, task.version) == ("done", 2)
    database.close()
