"""The holder of a loan as a pool keeps it: a process, and the epoch in which it drives the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from necrocode.engine.errors import EnvironmentFault
from necrocode.engine.identity import ProcessIdentity

Epoch: TypeAlias = Callable[[], int | None]
"""The run's epoch as the asking process knows it; ``None`` for who drives no run, and is refused nothing."""


def this_process(epoch: int | None) -> dict[str, Any]:
    """This process as a holder, as JSON that ``ProcessIdentity.from_json`` reads, too."""
    return {**ProcessIdentity.current().to_json(), "epoch": epoch}


def refuse_older(epoch: int | None, holder: Mapping[str, Any], slot_id: str) -> None:
    """Raise :class:`EnvironmentFault` ``superseded`` if ``holder`` drives the run in a later epoch than ``epoch``.

    A loan outlives a take-over, and its generation with it: only the epoch tells the old process from the new one.
    """
    latest = holder.get("epoch")
    if epoch is not None and latest is not None and epoch < latest:
        raise EnvironmentFault(
            f"slot {slot_id} is held in epoch {latest}, not {epoch}: another process drives the run now",
            stop_reason="superseded",
        )
