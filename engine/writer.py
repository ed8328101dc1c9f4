"""The one writer of a process: waiting steps are committed together, a savepoint each."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from necrocode.engine.database import Database, explain
from necrocode.engine.errors import JournalError, JournalUnavailable, StopSignal

T = TypeVar("T")


class _Step(Generic[T]):
    __slots__ = ("done", "error", "operation", "value")

    def __init__(self, operation: Callable[[sqlite3.Cursor], T]) -> None:
        self.operation = operation
        #: Whether it is known what became of it.
        self.done = False
        self.value: T | None = None
        self.error: BaseException | None = None

    def fail(self, error: BaseException) -> None:
        self.error, self.done = error, True


class Writer:
    """Commits operations durably, in the order they came, from any number of threads.

    Whoever gets to commit leads: it takes all that wait, runs each in a savepoint of one transaction and commits once,
    so that many runs share a sync; the others find it done when their turn comes. An operation that raises is rolled
    back alone.
    """

    def __init__(self, database: Database) -> None:
        self._path = database.path
        self._pooled = database.engine.raw_connection()
        connection = self._pooled.driver_connection
        assert isinstance(connection, sqlite3.Connection)
        self._connection = connection
        #: The one that every step is written through: a new one for each statement takes longer than some statements.
        self._cursor = connection.cursor()
        self._leader = threading.Lock()
        #: Never replaced: who appends to it needs no lock.
        self._queue: list[_Step[Any]] = []
        self._closed = False

    def submit(self, operation: Callable[[sqlite3.Cursor], T]) -> T:
        """Run ``operation`` in a write transaction and return its value once that is committed.

        ``operation`` must do nothing but write through the cursor it is given: it is run again if another step
        took the transaction down with it. It may not submit anything itself.

        Raises what the operation raised (then nothing of it was written), or :class:`JournalUnavailable`.
        """
        step = _Step(operation)
        self._queue.append(step)
        # `with`, and no asking first whether it is free: no interrupt comes between having it and being sure to let go.
        with self._leader:
            if not step.done:
                taken = self._queue[:]
                self._lead(taken)
                # Only now: what an interrupt leaves undone, the next one takes.
                del self._queue[: len(taken)]
        if step.error is not None:
            raise step.error
        return step.value  # type: ignore[return-value]

    def close(self) -> None:
        """Give the connection back. What is submitted after that is refused."""
        with self._leader:
            if not self._closed:
                self._closed = True
                self._pooled.close()

    def _lead(self, batch: list[_Step[Any]]) -> None:
        if self._closed:
            self._fail(batch, sqlite3.ProgrammingError("it was closed"))
            return
        while waiting := [step for step in batch if not step.done]:
            try:
                self._commit(waiting)
            except (sqlite3.Error, OSError) as error:
                self._fail(waiting, error)
                self._roll_back()
            except BaseException as error:
                # This thread is being ended (Ctrl-C): the others must not take that for success.
                self._fail(waiting, error)
                self._roll_back()
                raise

    def _commit(self, steps: list[_Step[Any]]) -> None:
        """One transaction for all of ``steps``, unless one takes it down: then only that one is done afterwards."""
        connection, cursor = self._connection, self._cursor
        if connection.in_transaction:
            # What a failing disk did not let be rolled back.
            cursor.execute("ROLLBACK")
        cursor.execute("BEGIN IMMEDIATE")
        alone, wrote = len(steps) == 1, False
        for step in steps:
            self._run(step, alone=alone)
            if not connection.in_transaction:
                # A full disk or an I/O error ends the whole transaction: the others are written without it.
                return
            wrote = wrote or not step.done
        cursor.execute("COMMIT" if wrote else "ROLLBACK")
        for step in steps:
            step.done = True

    def _run(self, step: _Step[Any], *, alone: bool) -> None:
        connection, cursor = self._connection, self._cursor
        if not alone:
            cursor.execute("SAVEPOINT step")
        try:
            step.value = step.operation(cursor)
            if not connection.in_transaction:
                raise JournalUnavailable(f"{self._path}: the step ended the transaction it was run in")
        except sqlite3.Error as error:
            step.fail(self._explained(error))
        except (Exception, StopSignal) as error:  # noqa: BLE001 - handed to the thread that submitted it
            step.fail(error)
        if alone or not connection.in_transaction:
            return
        if step.done:
            cursor.execute("ROLLBACK TO step")
        cursor.execute("RELEASE step")

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            # If not even that is possible now, it comes before the next transaction.
            with contextlib.suppress(sqlite3.Error):
                self._cursor.execute("ROLLBACK")

    def _fail(self, steps: Iterable[_Step[Any]], error: BaseException) -> None:
        for step in steps:
            if not step.done:
                # Each its own: they are raised in different threads.
                step.fail(self._explained(error))

    def _explained(self, error: BaseException) -> JournalError:
        if isinstance(error, Exception):
            explained = explain(error, self._path)
        else:
            explained = JournalUnavailable(f"{self._path}: the thread that was committing was interrupted")
        explained.__cause__ = error
        return explained
