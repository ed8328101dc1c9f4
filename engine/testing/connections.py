"""SQLite connections of a mortal process, and what its death leaves of the file."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from necrocode.engine.testing.mortality import Mortal

Image: TypeAlias = Mapping[str, bytes]
"""A database at one instant: the bytes of the file, and of its write-ahead log, by the ending of their names."""

_SUFFIXES = ("", "-wal")


def mortal_connections(mortal: Mortal) -> type[sqlite3.Connection]:
    """The class of connections for ``Journal(connections=…)``: every statement and every commit a crossing."""

    class MortalCursor(sqlite3.Cursor):
        def execute(self, sql: str, parameters: Any = (), /) -> MortalCursor:
            word = sql.split(None, 1)[0].upper()
            with mortal.crossing("commit" if word == "COMMIT" else "statement", word):
                before = mortal.log_size() if word == "COMMIT" else 0
                done = super().execute(sql, parameters)
                # Said before the place after it: whoever stands there keeps everybody else from writing, or no longer.
                if word in ("BEGIN", "COMMIT", "ROLLBACK"):
                    mortal.writing = sql == "BEGIN IMMEDIATE"
                if word == "COMMIT":
                    mortal.midway(lambda: _torn(mortal.image(), before))
            return done

    class MortalConnection(sqlite3.Connection):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            # While it lives the log only grows, so that what a commit added to it can be told, and cut.
            super().execute("PRAGMA wal_autocheckpoint = 0")

        def cursor(self, factory: Any = MortalCursor) -> Any:
            return super().cursor(factory)

        def execute(self, sql: str, parameters: Any = (), /) -> Any:
            # The shortcut makes a cursor of the plain class, whatever cursor() would make.
            return self.cursor().execute(sql, parameters)

        def commit(self) -> None:
            mortal.check()
            super().commit()

    return MortalConnection


def image_of(path: Path) -> Image:
    """The database at ``path`` as it is now."""
    files = ((suffix, path.with_name(path.name + suffix)) for suffix in _SUFFIXES)
    return {suffix: file.read_bytes() for suffix, file in files if file.exists()}


def log_size_of(path: Path) -> int:
    """Bytes in the write-ahead log of the database at ``path``."""
    log = path.with_name(path.name + "-wal")
    return log.stat().st_size if log.exists() else 0


def lay_out(image: Image, path: Path) -> None:
    """Make the database at ``path`` what ``image`` says. Nobody may have it open."""
    for suffix in (*_SUFFIXES, "-shm"):
        file = path.with_name(path.name + suffix)
        if suffix in image:
            file.write_bytes(image[suffix])
        else:
            file.unlink(missing_ok=True)


def _torn(after: Image, before: int) -> Image:
    """What a commit that was cut off leaves: half of what it added to a log of ``before`` bytes."""
    log = after.get("-wal", b"")
    return {**after, "-wal": log[: (before + len(log)) // 2]}
