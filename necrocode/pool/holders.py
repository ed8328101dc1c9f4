"""Holders: who has a slot, and when such a one counts as gone."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from necrocode.engine.identity import ProcessIdentity
from necrocode.pool.holder import Epoch, this_process
from necrocode.pool.loans import Slot

UNSEEN = timedelta(minutes=30)
"""A holder that cannot be looked at from here counts as gone when it has not renewed for so long."""


class Holders(Protocol):
    """How a pool names the holder of what it lends, and judges holders."""

    def mine(self) -> str:
        """The holder of what is lent or renewed now, as the table keeps it: one line of JSON."""

    def is_gone(self, slot: Slot) -> bool:
        """Whether the holder of a slot will not come back to it."""


class ProcessHolders:
    """A slot is held by the process that borrowed it, for as long as it lives, in the epoch that ``epoch`` gives."""

    def __init__(self, epoch: Epoch = lambda: None) -> None:
        self._epoch = epoch

    def mine(self) -> str:
        """This process."""
        return json.dumps(this_process(self._epoch()), sort_keys=True)

    def is_gone(self, slot: Slot) -> bool:
        """Its process is dead, or could not be looked at and has not been heard of for :data:`UNSEEN`."""
        holder = {} if slot.holder_json is None else json.loads(slot.holder_json)
        alive = ProcessIdentity.from_json(holder).is_alive() if "pid" in holder else None
        if alive is None:
            return datetime.now(UTC) - slot.updated_at >= UNSEEN
        return not alive


@dataclass
class LeaseHolders:
    """A slot is held by somebody elsewhere, for as long as it is renewed within ``lease``.

    Judged by a renewal that does not change, on this process's own monotonic clock: a clock that jumps ends no lease,
    and after a restart of this process every lease begins anew.
    """

    lease: timedelta
    _seen: dict[str, tuple[Any, float]] = field(default_factory=dict)
    _processes: ProcessHolders = field(default_factory=ProcessHolders)

    def mine(self) -> str:
        """Somebody elsewhere; which run stands in the slot itself."""
        return json.dumps({"lease_seconds": self.lease.total_seconds()})

    def is_gone(self, slot: Slot) -> bool:
        """It was not renewed for as long as the lease; a process of this machine is judged as such."""
        if slot.holder_json is None or "lease_seconds" not in slot.holder_json:
            return self._processes.is_gone(slot)
        renewal = (slot.generation, slot.updated_at)
        known, since = self._seen.get(slot.slot_id, (None, 0.0))
        if known != renewal:
            since = time.monotonic()
            self._seen[slot.slot_id] = (renewal, since)
        return time.monotonic() - since >= self.lease.total_seconds()
