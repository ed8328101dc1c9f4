"""A SQLite database file: opened, created, switched to WAL and migrated safely by many processes at once."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import URL, Connection, Engine, create_engine, event, exc

from necrocode.engine.errors import JournalDamaged, JournalError, JournalTooNew, JournalUnavailable
from necrocode.engine.folders import make_folder

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

Durability = Literal["power-loss", "process-crash"]

MIGRATIONS = Path(__file__).parent.parent / "migrations"


@dataclass(frozen=True, slots=True)
class Component:
    """One of the databases that share the migrations folder, each a branch of its own there."""

    #: Name of the alembic branch.
    branch: str
    #: The revision this release writes; a test holds it against the folder.
    head: str


class Database:
    """One database file, at the revision its component asks for.

    ``lock_timeout`` bounds every wait for another process's transaction. ``may_migrate`` is called under the file lock
    before an existing file is migrated, and raises if this is no moment for it. ``connections`` is the class of the
    SQLite connections.

    Raises :class:`JournalTooNew` if a newer release wrote the file, :class:`JournalDamaged` if it is no database, or
    one of something else, :class:`JournalUnavailable` if it cannot be opened, locked or written.
    """

    def __init__(
        self,
        path: Path,
        component: Component,
        *,
        durability: Durability = "power-loss",
        lock_timeout: timedelta = timedelta(seconds=30),
        may_migrate: Callable[[Connection], None] | None = None,
        connections: type[sqlite3.Connection] = sqlite3.Connection,
    ) -> None:
        # Connections are opened later too, when the working directory may be another.
        self.path = path = path.absolute()
        self.component = component
        self.durability: Durability = durability
        self._lock_timeout = lock_timeout
        self._turn = threading.Lock()
        with explained(path, files=True):
            make_folder(path.parent)
            if not path.exists():
                # Made by us so that nobody else can read it: it holds prompts and source code.
                os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            self.engine = self._connect(connections)
            try:
                if self.revision() != component.head or not self._in_wal():
                    self._migrate(may_migrate)
            except BaseException:
                self.engine.dispose()
                raise

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that holds the write lock from its first statement (``BEGIN IMMEDIATE``)."""
        # SQLite has those that wait sleep and try again: with many threads, some would starve behind later ones
        if not self._turn.acquire(timeout=self._lock_timeout.total_seconds()):
            raise JournalUnavailable(f"{self.path} is locked by another thread of this process")
        try:
            with explained(self.path), self.engine.begin() as connection:
                yield connection
        finally:
            self._turn.release()

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection outside any write transaction: one consistent view from its first read to the end."""
        with explained(self.path), self.engine.connect() as connection:
            options = connection.execution_options(necrocode_read=True)
            with options.begin():
                yield options

    def rows(self, statement: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        """The rows of one statement that only reads: for what is read often or is long, with no transaction around it
        and no object made of each row.
        """
        with explained(self.path):
            pooled = self.engine.raw_connection()
            try:
                found: list[tuple[Any, ...]] = pooled.cursor().execute(statement, parameters).fetchall()
            finally:
                pooled.close()
        return found

    def revision(self) -> str | None:
        """The revision the file is at; ``None`` for an empty file."""
        with self.read() as connection:
            tables = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'").scalars().all()
            if not tables:
                return None
            found = None
            if "alembic_version" in tables:
                found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
        if found is None:
            raise JournalDamaged(f"{self.path} is a database without a revision: it is not ours, or was changed")
        return str(found)

    def _in_wal(self) -> bool:
        """Whether commits go to a write-ahead log: without it each costs four syncs, and readers block writers."""
        with self.read() as connection:
            return bool(connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal")

    def _connect(self, connections: type[sqlite3.Connection]) -> Engine:
        engine = create_engine(
            URL.create("sqlite", database=str(self.path)),
            connect_args={
                "timeout": self._lock_timeout.total_seconds(),
                "check_same_thread": False,
                "factory": connections,
            },
            # As many as there are threads: a reader that waited for another could wait for itself.
            max_overflow=-1,
        )
        synchronous = "FULL" if self.durability == "power-loss" else "NORMAL"

        @event.listens_for(engine, "connect")
        def on_connect(connection: sqlite3.Connection, _: object) -> None:
            # The driver must never begin by itself: a deferred BEGIN that reads and then writes loses updates.
            connection.isolation_level = None
            connection.execute(f"PRAGMA synchronous = {synchronous}")
            connection.execute("PRAGMA temp_store = MEMORY")

        @event.listens_for(engine, "begin")
        def on_begin(connection: Connection) -> None:
            reading = connection.get_execution_options().get("necrocode_read")
            connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

        return engine

    def _migrate(self, may_migrate: Callable[[Connection], None] | None) -> None:
        with file_lock(self.path.with_name(self.path.name + ".lock"), self._lock_timeout):
            found = self.revision()
            if found == self.component.head and self._in_wal():
                return
            from alembic.script import ScriptDirectory

            from alembic import command

            config = alembic_config()
            scripts = ScriptDirectory.from_config(config)
            if found is not None and found not in _revisions(scripts, f"{self.component.branch}@head"):
                if found in _revisions(scripts, "heads"):
                    raise JournalDamaged(f"{self.path} is not the {self.component.branch} database, but another one")
                raise JournalTooNew(
                    f"{self.path} was written by a newer release (revision {found}; this one writes "
                    f"{self.component.head}): upgrade necrocode, or name another folder with --home"
                )
            raw = self.engine.raw_connection()
            try:
                # Persistent in the file; switching needs the lock, since it fails at once when it is contended.
                mode = raw.cursor().execute("PRAGMA journal_mode = WAL").fetchone()[0]
            finally:
                raw.close()
            if mode != "wal":
                raise JournalUnavailable(f"{self.path} can have no write-ahead log here: name a folder on a local disk")
            if found == self.component.head:
                return
            with self.engine.begin() as connection:
                if found is not None and may_migrate is not None:
                    may_migrate(connection)
                config.attributes["connection"] = connection
                command.upgrade(config, f"{self.component.branch}@head")


def _revisions(scripts: ScriptDirectory, heads: str) -> set[str]:
    return {script.revision for script in scripts.walk_revisions("base", heads)}


def alembic_config() -> Config:
    """Alembic's configuration for the migrations shipped with this package."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


@contextlib.contextmanager
def file_lock(path: Path, timeout: timedelta) -> Iterator[None]:
    """Hold an exclusive lock on ``path`` (made if missing, left in place).

    Raises :class:`JournalUnavailable` if it is not free within ``timeout``.
    """
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + timeout.total_seconds()
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise JournalUnavailable(f"{path} is locked by another process") from None
                time.sleep(0.02)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def explained(path: Path, *, files: bool = False) -> Iterator[None]:
    """Turn what SQLite raises about ``path`` into the journal's errors; with ``files``, what the system raises too.

    A broken constraint and wrong SQL are bugs of the caller, not of the surroundings: they pass.
    """
    try:
        yield
    except (exc.IntegrityError, exc.ProgrammingError):
        raise
    except (exc.DBAPIError, sqlite3.Error) as error:
        raise explain(error, path) from error
    except OSError as error:
        if not files:
            raise
        raise explain(error, path) from error


def explain(error: Exception, path: Path) -> JournalError:
    """What ``error`` means for the user of the database at ``path``."""
    original = getattr(error, "orig", None) or error
    words = str(original)
    name = getattr(original, "sqlite_errorname", "") or ""
    if isinstance(original, sqlite3.DatabaseError) and name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return JournalDamaged(f"{path} is damaged: {words}")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return JournalUnavailable(f"{path} is locked by another process: {words}")
    number = getattr(original, "errno", None)
    if name.startswith("SQLITE_FULL") or number in (errno.ENOSPC, errno.EDQUOT) or "disk is full" in words:
        return JournalUnavailable(f"no space left for {path}: free some, then resume", stop_reason="disk_full")
    if name.startswith("SQLITE_READONLY") or number == errno.EROFS:
        return JournalUnavailable(
            f"{path} is read-only: make it writable, then resume ({words})", stop_reason="disk_read_only"
        )
    if name.startswith("SQLITE_IOERR") or number == errno.EIO or "disk I/O error" in words:
        return JournalUnavailable(
            f"{path} cannot be read or written ({words}): see whether its disk is full or fails, then resume",
            stop_reason="disk_error",
        )
    return JournalUnavailable(f"{path}: {words}")
