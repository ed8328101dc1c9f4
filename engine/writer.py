"""The one writer of a process: waiting steps are committed together, a savepoint each."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

from necrocode.engine.database import Database, explain
from necrocode.engine.errors import JournalUnavailable

T = TypeVar("T")


class _Waiting(Generic[T]):
    __slots__ = ("done", "error", "operation", "value")

    def __init__(self, operation: Callable[[sqlite3.Connection], T]) -> None:
        self.operation = operation
        self.done = False
        self.value: T | None = None
        self.error: BaseException | None = None


class Writer:
    """Commits operations durably, in the order they came, from any number of threads.

    Whoever finds nobody committing leads: it takes all that wait, runs each in a savepoint of one transaction and
    commits once, so that many runs share an fsync. An operation that raises is rolled back alone.
    """

    def __init__(self, database: Database) -> None:
        self._path: Path = database.path
        self._pooled = database.engine.raw_connection()
        connection = self._pooled.driver_connection
        assert isinstance(connection, sqlite3.Connection)
        self._connection = connection
        self._leader = threading.Lock()
        self._mutex = threading.Lock()
        self._queue: list[_Waiting[Any]] = []

    def submit(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``operation`` in a write transaction and return its value once that is committed.

        Raises what the operation raised (then nothing of it was written), or :class:`JournalUnavailable`.
        """
        waiting = _Waiting(operation)
        with self._mutex:
            self._queue.append(waiting)
        with self._leader:
            if not waiting.done:
                with self._mutex:
                    batch, self._queue = self._queue, []
                self._commit(batch)
        if waiting.error is not None:
            raise waiting.error
        return waiting.value  # type: ignore[return-value]

    def close(self) -> None:
        """Give the connection back. Nothing may be submitted any more."""
        with self._leader:
            self._pooled.close()

    def _commit(self, batch: list[_Waiting[Any]]) -> None:
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            for waiting in batch:
                self._run(waiting, alone=len(batch) == 1)
            if all(waiting.error is not None for waiting in batch):
                return
            if connection.in_transaction:
                connection.execute("COMMIT")
            else:
                # A full disk or an I/O error ends the whole transaction, whichever step met it.
                self._fail(batch, JournalUnavailable(f"{self._path}: an error in another step ended the transaction"))
        except (sqlite3.Error, OSError) as error:
            self._fail(batch, explain(error, self._path))
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            for waiting in batch:
                waiting.done = True

    def _run(self, waiting: _Waiting[Any], *, alone: bool) -> None:
        connection = self._connection
        if not connection.in_transaction:
            return
        if not alone:
            connection.execute("SAVEPOINT step")
        try:
            waiting.value = waiting.operation(connection)
        except (sqlite3.Error, OSError) as error:
            waiting.error = explain(error, self._path)
        except BaseException as error:  # noqa: BLE001 - handed to the thread that submitted it
            waiting.error = error
        if alone or not connection.in_transaction:
            return
        if waiting.error is not None:
            connection.execute("ROLLBACK TO step")
        connection.execute("RELEASE step")

    @staticmethod
    def _fail(batch: list[_Waiting[Any]], error: Exception) -> None:
        for waiting in batch:
            if waiting.error is None:
                waiting.error = error
