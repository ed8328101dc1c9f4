"""Renewal: a pool elsewhere is told, as long as a run works in its slot, that the run is alive."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import timedelta
from types import TracebackType

from necrocode.engine.errors import EngineError
from necrocode.engine.journal import Journal
from necrocode.states.loan import loan_of
from necrocode.states.ports import RepoPool, SlotAllocation
from necrocode.states.recovery import IN_SLOT

log = logging.getLogger("necrocode.pool")


class Renewal:
    """Renews the loan of ``run_id`` every ``interval`` while it is entered; a context manager, in a thread of its own.

    If the pool says that the slot is the run's no longer, ``when_lost`` is called with it, once: the run must leave it
    before it touches anything more there. ``known`` to be lost already is what a run may still name until it has
    recovered. If it says that another process drives the run, renewing is that one's from then on. A pool that cannot
    be reached is asked again; one that knows no renewal says nothing.
    """

    def __init__(
        self,
        journal: Journal,
        run_id: str,
        pool: RepoPool,
        interval: timedelta,
        when_lost: Callable[[SlotAllocation], None],
        *,
        known: frozenset[SlotAllocation] = frozenset(),
    ) -> None:
        self._journal = journal
        self._run_id = run_id
        self._pool = pool
        self._interval = interval.total_seconds()
        self._when_lost = when_lost
        self._known = known
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._live, name="necrocode-renewal", daemon=True)
        self._ended = False

    def __enter__(self) -> Renewal:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _live(self) -> None:
        while not self._ended and not self._over.wait(self._interval):
            try:
                self._renew()
            except EngineError as error:
                log.warning("run %s: its slot's loan could not be renewed: %s", self._run_id, error)
                # The journal tells the run itself, when it next appends.
                self._ended = getattr(error, "stop_reason", None) == "superseded"

    def _renew(self) -> None:
        loan = self._working_in()
        if loan is None:
            return
        try:
            self._pool.renew(loan, run_id=self._run_id)
        except EngineError as error:
            # It may have been given back meanwhile, by the run itself.
            if getattr(error, "stop_reason", None) != "slot_lost" or self._working_in() != loan:
                raise
            log.warning("run %s: %s", self._run_id, error)
            self._ended = True
            self._when_lost(loan)

    def _working_in(self) -> SlotAllocation | None:
        """The pool's slot that the run's files are in now."""
        run = self._journal.run(self._run_id)
        loan = loan_of(run.data) if run.state in IN_SLOT and run.status == "live" else None
        return loan if loan is not None and loan.kind == "pool" and loan not in self._known else None
