"""The embedded repo pool: slots are folders under the home, loans are rows of the services' database."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from necrocode.engine.database import Database
from necrocode.engine.errors import EnvironmentFault, TaskError, Transient
from necrocode.engine.stop import StopToken
from necrocode.errors import KeyReused, NotFound
from necrocode.git.cleaning import clean_slot, is_clean, remove_slot
from necrocode.git.layout import RemoteUrl, RepoPlace
from necrocode.pool import loans
from necrocode.pool.holder import Epoch
from necrocode.pool.holders import Holders, ProcessHolders
from necrocode.pool.loans import HELD, Loan, Slot
from necrocode.states.ports import SlotAllocation

log = logging.getLogger("necrocode.pool")


@dataclass(frozen=True, slots=True)
class Leak:
    """A slot whose holder is gone."""

    slot: Slot
    #: Its run has ended or is parked: nobody will ever give the slot back.
    run_is_over: bool


class EmbeddedPool:
    """Lends slots (:class:`necrocode.states.ports.RepoPool`), up to ``limit`` per repository.

    ``run_is_over``: whether a run has ended or is parked. ``quiesce``: kills every command that still runs for a run;
    called before a slot that was taken from it is touched. ``holders``: who borrows, and when they count as gone; by
    default this process, in the ``epoch`` in which it drives its run.
    """

    def __init__(
        self,
        database: Database,
        home: Path,
        *,
        limit: int,
        run_is_over: Callable[[str], bool],
        quiesce: Callable[[str], object],
        poll: timedelta = timedelta(milliseconds=250),
        epoch: Epoch = lambda: None,
        holders: Holders | None = None,
    ) -> None:
        if limit < 1:
            raise ValueError("a pool needs room for one slot at least")
        self._database = database
        self._home = home.resolve()
        self._limit = limit
        self._run_is_over = run_is_over
        self._quiesce = quiesce
        self._poll = poll
        self._holders = holders or ProcessHolders(epoch)

    # --- the port --------------------------------------------------------------------------------------------------

    def allocate(self, repo_url: str, *, run_id: str, key: str, timeout: timedelta, stop: StopToken) -> SlotAllocation:
        """See :class:`necrocode.states.ports.RepoPool`. :class:`TaskError` ``repo_not_found``: no address at all.

        Raises :class:`KeyReused` if another run, or this one for another repository, has a loan under ``key``.
        """
        try:
            url = RemoteUrl.parse(repo_url)
        except (ValueError, RuntimeError, OSError) as error:
            raise TaskError(str(error), stop_reason="repo_not_found") from error
        deadline = time.monotonic() + timeout.total_seconds()
        while True:
            stop.check()
            found = self._take(url, run_id, key)
            if found is not None:
                slot, was_free = found
                if slot.status == "lent" or self._prepare(slot, was_free=was_free):
                    return SlotAllocation(slot.slot_id, slot.path, slot.generation, "pool")
                continue
            left = deadline - time.monotonic()
            if left <= 0:
                raise Transient(
                    f"all {self._limit} slots of {url.url} are lent, and none came back in "
                    f"{timeout.total_seconds():.0f} s: wait for a run to end, or raise pool_size",
                    stop_reason="no_slot",
                )
            stop.wait(min(self._poll, timedelta(seconds=left)))

    def release(self, loan: SlotAllocation, *, run_id: str, key: str) -> None:
        """See :class:`necrocode.states.ports.RepoPool`."""
        with self._database.write() as connection:
            # Ours to clean, and nobody takes it away from a live process meanwhile.
            if not loans.adopt(connection, loan.slot_id, loan.generation, run_id, holder=self._holders.mine()):
                return
            slot = loans.slot_of_id(connection, loan.slot_id)
        assert slot is not None
        # before the transaction: a large slot takes its time, and nobody else could write meanwhile
        status = self._cleaned(slot)
        with self._database.write() as connection:
            loans.end(connection, slot, status=status, by="released", key=key)

    def holds(self, loan: SlotAllocation, *, run_id: str) -> bool:
        """See :class:`necrocode.states.ports.RepoPool`. The asking process is the loan's holder from then on."""
        with self._database.write() as connection:
            return loans.adopt(connection, loan.slot_id, loan.generation, run_id, holder=self._holders.mine())

    def renew(self, loan: SlotAllocation, *, run_id: str) -> None:
        """See :class:`necrocode.states.ports.RepoPool`."""
        self.holds(loan, run_id=run_id)

    # --- for doctor, prune and serve ---------------------------------------------------------------------------------

    def list_slots(self) -> list[Slot]:
        """Every slot of every repository."""
        with self._database.read() as connection:
            return loans.all_slots(connection)

    def slot(self, slot_id: str) -> Slot:
        """One slot. Raises :class:`NotFound`."""
        with self._database.read() as connection:
            found = loans.slot_of_id(connection, slot_id)
        if found is None:
            raise NotFound(f"the pool has no slot {slot_id!r}")
        return found

    def slot_released_with(self, key: str) -> str | None:
        """The id of the slot that was given back under this key, if one was."""
        with self._database.read() as connection:
            return loans.slot_released_with(connection, key)

    def history(self, slot_id: str) -> list[Loan]:
        """Every loan of a slot, the first one first; also of a slot that is gone."""
        with self._database.read() as connection:
            return loans.loans_of(connection, slot_id)

    def leaked(self) -> list[Leak]:
        """The slots that a dead process holds. One of a run that is not over belongs to it, until it is resumed."""
        return [
            Leak(slot, self._is_over(slot)) for slot in self.list_slots() if slot.status in HELD and self._is_gone(slot)
        ]

    def reclaim_leaked(self) -> list[str]:
        """Take back every slot of a run that is over and whose process is dead; returns their ids."""
        taken = []
        for leak in self.leaked():
            if not leak.run_is_over or leak.slot.run_id is None:
                continue
            with self._database.write() as connection:
                ended = loans.end(connection, leak.slot, status="dirty", by="reclaimed")
            if ended:
                taken.append(leak.slot.slot_id)
        return taken

    def remove_idle(self, older_than: timedelta) -> list[str]:
        """Remove the slots that nobody has used for so long; returns their ids. Their history stays."""
        removed = []
        for slot in self.list_slots():
            idle = slot.status in ("free", "dirty") and datetime.now(UTC) - slot.updated_at >= older_than
            if not idle and not (slot.status == "removing" and self._is_gone(slot)):
                continue
            with self._database.write() as connection:
                marked = loans.mark_removing(connection, slot, holder=self._holders.mine())
            if marked:
                self._settle_former(slot)
                remove_slot(RepoPlace(self._home, slot.repo_key), slot.number)
                with self._database.write() as connection:
                    loans.remove(connection, slot.slot_id, slot.generation)
                removed.append(slot.slot_id)
        return removed

    # --- helpers ---------------------------------------------------------------------------------------------------

    def _take(self, url: RemoteUrl, run_id: str, key: str) -> tuple[Slot, bool] | None:
        """The slot lent under ``key``, or one that is lent under it by this; and whether it was free and clean."""
        with self._database.read() as connection:
            seen = loans.all_slots(connection, url.key)
        # Asked outside the transaction: the answers come from another database, and may take their time.
        dead = [slot for slot in seen if slot.status in (*HELD, "removing") and self._is_gone(slot)]
        over = [slot for slot in dead if slot.status == "removing" or self._is_over(slot) or slot.run_id == run_id]
        orphans = [slot for slot in dead if slot not in over]
        holder = self._holders.mine()
        with self._database.write() as connection:
            known = loans.slot_of_key(connection, key)
            if known is not None:
                if known.run_id != run_id or known.repo_key != url.key:
                    raise KeyReused(key)
                loans.adopt(connection, known.slot_id, known.generation, run_id, holder=holder)
                return loans.slot_of_id(connection, known.slot_id) or known, False
            now = loans.all_slots(connection, url.key)
            # The most recently used free slot first: its files are the likeliest to be those of the base.
            free = sorted((s for s in now if s.status == "free"), key=lambda s: s.updated_at, reverse=True)
            dirty = [slot for slot in now if slot.status == "dirty"]
            for slot in [*free, *dirty, *over]:
                lent = loans.lend(connection, slot, run_id=run_id, key=key, holder=holder)
                if lent is not None:
                    return lent, slot.status == "free"
            if len(now) < self._limit:
                number = next(n for n in range(1, self._limit + 1) if all(slot.number != n for slot in now))
                place = RepoPlace(self._home, url.key)
                made = loans.add_slot(
                    connection,
                    f"{url.key}-{number}",
                    repo_key=url.key,
                    repo_url=url.url,
                    path=place.slot(number) / "work",
                )
                lent = loans.lend(connection, made, run_id=run_id, key=key, holder=holder)
                return None if lent is None else (lent, False)
            for slot in orphans:
                lent = loans.lend(connection, slot, run_id=run_id, key=key, holder=holder)
                if lent is not None:
                    log.warning("slot %s is taken from run %s, whose holder is gone", slot.slot_id, slot.run_id)
                    return lent, False
        return None

    def _prepare(self, slot: Slot, *, was_free: bool) -> bool:
        """Make a slot that was just lent fit to be used; False if it was taken away meanwhile."""
        self._settle_former(slot)
        place = RepoPlace(self._home, slot.repo_key)
        if not was_free or not is_clean(place, slot.number):
            clean_slot(place, slot.number)
        with self._database.write() as connection:
            return loans.prepared(connection, slot)

    def _settle_former(self, slot: Slot) -> None:
        """Kill what the slot's former run may have left running in it."""
        if slot.former_run is None:
            return
        with self._database.read() as connection:
            elsewhere = any(
                other.run_id == slot.former_run and other.slot_id != slot.slot_id and other.status in HELD
                for other in loans.all_slots(connection)
            )
        # A run that was resumed in another slot has killed its old commands itself, and has new ones by now.
        if not elsewhere and slot.former_run != slot.run_id:
            self._quiesce(slot.former_run)

    def _cleaned(self, slot: Slot) -> loans.Status:
        try:
            clean_slot(RepoPlace(self._home, slot.repo_key), slot.number)
        except EnvironmentFault as fault:
            # It is given back all the same: whoever gets it next tries again, or is told.
            log.warning("slot %s could not be cleaned: %s", slot.slot_id, fault)
            return "dirty"
        return "free"

    def _is_over(self, slot: Slot) -> bool:
        return slot.run_id is not None and self._run_is_over(slot.run_id)

    def _is_gone(self, slot: Slot) -> bool:
        return self._holders.is_gone(slot)
