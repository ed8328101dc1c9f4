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

_LOOK_AGAIN = 0.05
"""Seconds after which a thread that waits looks for itself."""


class _Step(Generic[T]):
    __slots__ = ("done", "error", "operation", "ready", "value")

    def __init__(self, operation: Callable[[sqlite3.Connection], T]) -> None:
        self.operation = operation
        #: Whether it is known what became of it.
        self.done = False
        self.value: T | None = None
        self.error: BaseException | None = None
        #: Wakes the thread that submitted it; made when that has to wait.
        self.ready: threading.Event | None = None

    def fail(self, error: BaseException) -> None:
        self.error, self.done = error, True


class Writer:
    """Commits operations durably, in the order they came, from any number of threads.

    Whoever finds nobody committing leads: it takes all that wait, runs each in a savepoint of one transaction and
    commits once, so that many runs share a sync. An operation that raises is rolled back alone.
    """

    def __init__(self, database: Database) -> None:
        self._path = database.path
        self._pooled = database.engine.raw_connection()
        connection = self._pooled.driver_connection
        assert isinstance(connection, sqlite3.Connection)
        self._connection = connection
        self._leader = threading.Lock()
        self._mutex = threading.Lock()
        self._queue: list[_Step[Any]] = []
        self._closed = False

    def submit(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``operation`` in a write transaction and return its value once that is committed.

        ``operation`` must do nothing but write through the connection it is given: it is run again if another step
        took the transaction down with it. It may not submit anything itself.

        Raises what the operation raised (then nothing of it was written), or :class:`JournalUnavailable`.
        """
        step = _Step(operation)
        if not self._queue and self._leader.acquire(blocking=False):
            # Nobody commits and nobody waits: there is no queue to stand in.
            self._take_turn(step, queued=False)
        else:
            with self._mutex:
                self._queue.append(step)
            while not step.done:
                if self._leader.acquire(blocking=False):
                    self._take_turn(step, queued=True)
                else:
                    self._wait(step)
        if step.error is not None:
            raise step.error
        return step.value  # type: ignore[return-value]

    def _take_turn(self, step: _Step[Any], *, queued: bool) -> None:
        """Lead once, and let go of the lead."""
        batch = [step]
        try:
            if queued:
                with self._mutex:
                    batch, self._queue = self._queue, []
                if not step.done and step not in batch:
                    # Whoever took it was interrupted before it could say what became of it.
                    self._fail([step], KeyboardInterrupt())
            self._lead(batch)
        finally:
            self._leader.release()
            # Whoever waits was in the queue before he found the leader's lock taken.
            if queued or self._queue:
                self._wake(batch)

    def _wait(self, step: _Step[Any]) -> None:
        """Until it is done, or nobody leads any more."""
        with self._mutex:
            if step.done or not self._leader.locked():
                return
            step.ready = step.ready or threading.Event()
        # A leader that was interrupted between letting go and waking must not leave anybody asleep for ever.
        step.ready.wait(_LOOK_AGAIN)
        step.ready.clear()

    def _wake(self, batch: list[_Step[Any]]) -> None:
        """Those whose steps are done, and one that leads next."""
        with self._mutex:
            waiting = [step.ready for step in (*batch, *self._queue[:1]) if step.ready is not None]
        for ready in waiting:
            ready.set()

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
        waiting = batch
        while waiting:
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
            waiting = [step for step in waiting if not step.done]

    def _commit(self, steps: list[_Step[Any]]) -> None:
        """One transaction for all of ``steps``, unless one takes it down: then only that one is done afterwards."""
        connection = self._connection
        if connection.in_transaction:
            # What a failing disk did not let be rolled back.
            connection.execute("ROLLBACK")
        connection.execute("BEGIN IMMEDIATE")
        alone = len(steps) == 1
        for step in steps:
            self._run(step, alone=alone)
            if not connection.in_transaction:
                # A full disk or an I/O error ends the whole transaction: the others are written without it.
                return
        kept = [step for step in steps if not step.done]
        connection.execute("COMMIT" if kept else "ROLLBACK")
        for step in kept:
            step.done = True

    def _run(self, step: _Step[Any], *, alone: bool) -> None:
        connection = self._connection
        if not alone:
            connection.execute("SAVEPOINT step")
        try:
            step.value = step.operation(connection)
            if not connection.in_transaction:
                raise JournalUnavailable(f"{self._path}: the step ended the transaction it was run in")
        except sqlite3.Error as error:
            step.fail(self._explained(error))
        except (Exception, StopSignal) as error:  # noqa: BLE001 - handed to the thread that submitted it
            step.fail(error)
        if alone or not connection.in_transaction:
            return
        if step.done:
            connection.execute("ROLLBACK TO step")
        connection.execute("RELEASE step")

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            # If not even that is possible now, it comes before the next transaction.
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")

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
