"""Delivering what waits in the outbox: which service gets which call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from necrocode.engine.errors import EnvironmentFault
from necrocode.engine.outbox import Parcel
from necrocode.states.loan import loan_of, recall
from necrocode.states.reports import CALLS, PRIMARY, artifact_from, artifact_json

if TYPE_CHECKING:
    from necrocode.config import RunnerConfig
    from necrocode.credentials import LoadedCredentials
    from necrocode.engine.database import Database
    from necrocode.engine.journal import Journal
    from necrocode.home import Home
    from necrocode.states.ports import TaskRegistry


def senders(
    home: Home,
    journal: Journal,
    services: Database,
    config_of: Callable[[str], RunnerConfig],
    credentials: LoadedCredentials,
    credentials_of: Callable[[str], LoadedCredentials],
) -> dict[str, Callable[[Parcel], None]]:
    """By sink: what makes the call that a parcel holds. Each raises what its port raises.

    ``config_of`` gives the configuration of a run: its services are where its parcels go, whoever delivers them;
    ``credentials_of`` the credentials that it names.
    """
    from necrocode.wiring import artifacts_of, commands_of, fallbacks_of, pool_of, registry_of

    @cache
    def registries(run_id: str) -> dict[str, TaskRegistry]:
        config = config_of(run_id)
        return {PRIMARY: registry_of(services, config, credentials), **fallbacks_of(services, config)}

    def report(parcel: Parcel) -> None:
        call, registry = CALLS.get(parcel.call), registries(parcel.run_id).get(parcel.sink)
        if call is None:
            raise EnvironmentFault(f"the outbox holds a registry call {parcel.call!r}, which is not known")
        if registry is None:
            raise EnvironmentFault(f"the report is for the {parcel.sink}, which is not configured any more")
        call(registry, parcel.payload, parcel.item_id, parcel.epoch)

    def give_back(parcel: Parcel) -> None:
        from necrocode.pool.folders import LocalFolders

        config = config_of(parcel.run_id)
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

    def upload(parcel: Parcel) -> None:
        from necrocode.artifacts.local import LocalArtifacts

        payload, config = parcel.payload, config_of(parcel.run_id)
        here = artifact_from(payload["artifact"])
        content = LocalArtifacts(services, home.artifacts).download(here.uri)
        store = artifacts_of(home, services, config, credentials_of(parcel.run_id), lambda: parcel.epoch)
        uploaded = store.upload(
            content,
            type=here.type,
            name=payload["name"],
            metadata=here.metadata,
            at=here.created_at,
            key=parcel.item_id,
        )
        report(
            replace(
                parcel,
                item_id=f"{parcel.item_id}:report",
                sink=payload["registry_sink"],
                call="artifact",
                payload={**payload, "artifact": artifact_json(uploaded)},
            )
        )

    sinks = dict.fromkeys((PRIMARY, "registry_files", "registry_embedded"), report)
    return {**sinks, "pool": give_back, "artifacts": upload}
