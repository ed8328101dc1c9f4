"""Delivering what waits in the outbox: which service gets which call."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from necrocode.engine.errors import EnvironmentFault
from necrocode.engine.outbox import Parcel
from necrocode.states.loan import loan_of, recall
from necrocode.states.reports import CALLS

if TYPE_CHECKING:
    from necrocode.config import RunnerConfig
    from necrocode.credentials import LoadedCredentials
    from necrocode.engine.database import Database
    from necrocode.engine.journal import Journal
    from necrocode.home import Home


def senders(
    home: Home, journal: Journal, services: Database, config: RunnerConfig, credentials: LoadedCredentials
) -> dict[str, Callable[[Parcel], None]]:
    """By sink: what makes the call that a parcel holds. Each raises what its port raises."""
    from necrocode.wiring import commands_of, pool_of, registry_of

    registry = registry_of(services, config, credentials)

    def report(parcel: Parcel) -> None:
        call = CALLS.get(parcel.call)
        if call is None:
            raise EnvironmentFault(f"the outbox holds a registry call {parcel.call!r}, which is not known")
        call(registry, parcel.payload, parcel.item_id, parcel.epoch)

    def give_back(parcel: Parcel) -> None:
        from necrocode.pool.folders import LocalFolders

        payload, loan = parcel.payload, loan_of(parcel.payload)
        kind, key = loan.kind if loan is not None else payload["kind"], payload["key"]
        with commands_of(home, config, credentials) as commands:
            commands.reap(parcel.run_id)
            pool = (
                LocalFolders(home.locks, epoch=lambda: parcel.epoch)
                if kind == "folder"
                else pool_of(home, journal, services, config, credentials, commands, lambda: parcel.epoch)
            )
            if parcel.call == "call_back":
                loan = recall(pool, payload["source"], run_id=parcel.run_id, key=key)
            if loan is not None:
                pool.release(loan, run_id=parcel.run_id, key=key)

    return {"registry": report, "pool": give_back}
