"""Task sets of the embedded registry: kept in versions, their tasks ready or blocked by what they depend on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, select, update
from sqlalchemy.dialects.sqlite import insert

from necrocode.embedded.instants import from_microseconds, to_microseconds
from necrocode.embedded.schema import task_dependencies, task_set_keys, task_set_versions, task_sets, tasks
from necrocode.engine.canonical import canonical
from necrocode.engine.database import Database
from necrocode.errors import KeyReused, NotFound
from necrocode.registry.definitions import TaskDefinition, check_set
from necrocode.registry.progress import settle
from necrocode.registry.records import TaskSetVersion
from necrocode.registry.tasksets import check_version


class EmbeddedTaskSets:
    """The task sets in the services' database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(
        self,
        spec_name: str,
        definitions: Sequence[TaskDefinition],
        metadata: Mapping[str, Any],
        *,
        expected: int | None = None,
        key: str | None = None,
    ) -> TaskSetVersion:
        """Make these the tasks of the set, as its next version (none if nothing differs).

        Tasks that run or have ended keep their state; the others become ready or blocked. Tasks that are no longer in
        the set are forgotten, unless something was reported of them. ``expected``: the version that is replaced (0: the
        set must be new). The same ``key`` again gives the version it gave before.

        Raises :class:`~necrocode.registry.definitions.InvalidTaskSet`, :class:`VersionConflict`, :class:`KeyReused`.
        """
        check_set(spec_name, definitions)
        given = [definition.model_dump(mode="json", exclude_unset=True) for definition in definitions]
        document = canonical({"tasks": given, "metadata": dict(metadata)})
        when = to_microseconds(datetime.now(UTC))
        with self._database.write() as connection:
            if key is not None:
                known = connection.execute(select(task_set_keys).where(task_set_keys.c.idempotency_key == key)).first()
                if known is not None:
                    found = _load(connection, spec_name, known.version) if known.spec_name == spec_name else None
                    if found is None or found.document != document:
                        raise KeyReused(key)
                    return _task_set(found)
            now = _load(connection, spec_name)
            version = now.version if now is not None else 0
            check_version(f"task set {spec_name!r}", expected, version)
            if now is None or now.document != document:
                version += 1
                _write(connection, spec_name, version, document, when)
                _set_tasks(connection, spec_name, definitions, given, when)
            if key is not None:
                connection.execute(
                    insert(task_set_keys).values(idempotency_key=key, spec_name=spec_name, version=version)
                )
            made = _load(connection, spec_name)
        assert made is not None
        return _task_set(made)

    def get(self, spec_name: str, version: int | None = None) -> TaskSetVersion:
        """The set, at its newest version or at one before. Raises :class:`NotFound`."""
        with self._database.read() as connection:
            found = _load(connection, spec_name, version)
        if found is None:
            at = "" if version is None else f" at version {version}"
            raise NotFound(f"the registry knows no task set {spec_name!r}{at}")
        return _task_set(found)

    def list_sets(self, *, after: str = "", limit: int = 100) -> list[TaskSetVersion]:
        """The newest version of each set, by name, from behind ``after`` on."""
        names = select(task_sets.c.spec_name).where(task_sets.c.spec_name > after)
        with self._database.read() as connection:
            found = [
                _load(connection, name)
                for name in connection.execute(names.order_by(task_sets.c.spec_name).limit(limit)).scalars().all()
            ]
        return [_task_set(row) for row in found if row is not None]


def _load(connection: Connection, spec_name: str, version: int | None = None) -> Row[Any] | None:
    query = (
        select(task_set_versions, task_sets.c.created_at)
        .join(task_sets, task_sets.c.spec_name == task_set_versions.c.spec_name)
        .where(task_set_versions.c.spec_name == spec_name)
        .where(task_set_versions.c.version == (task_sets.c.version if version is None else version))
    )
    return connection.execute(query).one_or_none()


def _task_set(row: Row[Any]) -> TaskSetVersion:
    document = json.loads(row.document)
    return TaskSetVersion(
        spec_name=row.spec_name,
        version=row.version,
        tasks=tuple(document["tasks"]),
        metadata=document["metadata"],
        created_at=from_microseconds(row.created_at),
        updated_at=from_microseconds(row.at),
    )


def _write(connection: Connection, spec_name: str, version: int, document: str, when: int) -> None:
    new = insert(task_sets).values(spec_name=spec_name, version=version, created_at=when, updated_at=when)
    changed = {"version": version, "updated_at": when}
    connection.execute(new.on_conflict_do_update(index_elements=["spec_name"], set_=changed))
    connection.execute(
        insert(task_set_versions).values(spec_name=spec_name, version=version, document=document, at=when)
    )


def _set_tasks(
    connection: Connection,
    spec_name: str,
    definitions: Sequence[TaskDefinition],
    given: Sequence[Mapping[str, Any]],
    when: int,
) -> None:
    of_set = tasks.c.spec_name == spec_name
    connection.execute(delete(task_dependencies).where(task_dependencies.c.spec_name == spec_name))
    edges = [
        {"spec_name": spec_name, "task_id": definition.id, "depends_on": name}
        for definition in definitions
        for name in sorted(set(definition.dependencies))
    ]
    if edges:
        connection.execute(insert(task_dependencies), edges)
    names = {definition.id for definition in definitions}
    rows = {row.task_id: row for row in connection.execute(select(tasks).where(of_set))}
    for gone in rows.keys() - names:
        this = of_set & (tasks.c.task_id == gone)
        if rows[gone].status in ("ready", "blocked"):
            connection.execute(delete(tasks).where(this))
        elif rows[gone].definition is not None:
            connection.execute(
                update(tasks).where(this).values(definition=None, position=0, version=tasks.c.version + 1)
            )
    for position, (definition, whole) in enumerate(zip(definitions, given, strict=True), 1):
        text, row = canonical(whole), rows.get(definition.id)
        if row is None:
            state = "blocked" if definition.dependencies else "ready"
            values: dict[str, Any] = {
                "spec_name": spec_name,
                "task_id": definition.id,
                "status": state,
                "metadata": canonical({}),
            }
            values |= {"run_id": "", "epoch": 0, "created_at": when, "updated_at": when, "version": 1}
            connection.execute(insert(tasks).values(definition=text, position=position, **values))
        elif row.definition != text or row.position != position:
            connection.execute(
                update(tasks)
                .where(of_set, tasks.c.task_id == definition.id)
                .values(definition=text, position=position, version=row.version + 1, updated_at=when)
            )
    settle(connection, spec_name, [definition.id for definition in definitions], when)
