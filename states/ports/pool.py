"""The repo pool: slots, and the right to one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal, Protocol

from necrocode.engine.stop import StopToken


@dataclass(frozen=True, slots=True)
class SlotAllocation:
    """A slot on loan: a folder that holds a working copy and belongs to one run."""

    slot_id: str
    slot_path: Path
    #: Grows with every loan of the slot; ``None`` if the pool knows no generations.
    generation: int | None = None
    #: ``pool`` (a pool of slots) or ``folder`` (the task's own ``slot_path``).
    kind: Literal["pool", "folder"] = "pool"


class RepoPool(Protocol):
    """Lends slots, each to one run at a time."""

    def allocate(self, repo_url: str, *, run_id: str, key: str, timeout: timedelta, stop: StopToken) -> SlotAllocation:
        """Lend a slot of ``repo_url``.

        Nothing of a former run may be in it but files of the repository's own history: :meth:`Workspace.lay` makes the
        files right before anything else looks at them, and is fast where most of them already are.
        If ``key`` was answered before and that loan has not ended, it must return the same loan.
        If every slot is lent and no more may be made, it must wait up to ``timeout``, looking at ``stop``, and then
        raise :class:`Transient` (``stop_reason`` ``no_slot``).
        If a slot's holder is dead and its run has ended or parked, it must take the slot back by itself.
        """

    def release(self, loan: SlotAllocation, *, run_id: str, key: str) -> None:
        """Take the slot back and clean it.

        If the loan has already ended (any generation but the current one, or no loan), it must do nothing and return.
        """

    def holds(self, loan: SlotAllocation, *, run_id: str) -> bool:
        """Whether ``loan`` is still this run's: same generation, not ended. Must not touch a file in the slot.

        A pool that is told epochs refuses here, and in ``allocate`` and ``release``, one older than it has seen
        (:class:`EnvironmentFault` ``superseded``).
        """

    def renew(self, loan: SlotAllocation, *, run_id: str) -> None:
        """Say that the run is alive. A pool without renewal does nothing."""
