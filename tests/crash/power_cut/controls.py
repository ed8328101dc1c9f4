"""Negative controls: journals and disks that do not sync as they should, which the examination must catch."""

from __future__ import annotations

import sqlite3
from collections.abc import Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from necrocode.engine.database import Durability
from necrocode.engine.testing.powercut import Lies, swept
from necrocode.engine.testing.recording import Created, NamesSynced, Operation, Recording, Synced
from tests.crash.power_cut.examining import Examiner, Tally
from tests.crash.power_cut.lives import CHECKPOINTS, ERRANDS, Connections, Life, as_recorded, record


def never_syncing(recorded: type[sqlite3.Connection]) -> type[sqlite3.Connection]:
    """Connections that leave all syncing to the system, whatever the journal asks for."""

    class Unsynced(recorded):  # type: ignore[misc, valid-type]
        def execute(self, sql: str, *parameters: Any) -> Any:
            return super().execute("PRAGMA synchronous = OFF" if "synchronous" in sql else sql, *parameters)

    return Unsynced


@dataclass(frozen=True)
class Control:
    """A disk or a journal that does not sync as it should."""

    name: str
    life: Life = ERRANDS
    durability: Durability = "power-loss"
    connections: Connections = as_recorded
    #: Of the recording's files: which names the disk only says it had synced; ``"/"`` is the folder.
    unsynced: frozenset[str] = frozenset()
    promised: Durability = "power-loss"


_LOG, _DATABASE = "journal.db-wal", "journal.db"
CONTROLS = (
    Control("the journal syncs at checkpoints only", durability="process-crash"),
    Control("the journal never syncs", connections=never_syncing),
    Control("the disk syncs nothing", unsynced=frozenset({_LOG, _DATABASE, "/"})),
    Control("the disk does not sync the log", unsynced=frozenset({_LOG})),
    Control("the disk does not sync names", unsynced=frozenset({"/"})),
    Control(
        "the disk does not sync the database before the log starts anew", CHECKPOINTS, unsynced=frozenset({_DATABASE})
    ),
    Control(
        "the disk does not sync the log before the database is written",
        CHECKPOINTS,
        "process-crash",
        unsynced=frozenset({_LOG}),
        promised="process-crash",
    ),
    Control(
        "the journal never syncs, and promises no more than to be whole",
        CHECKPOINTS,
        connections=never_syncing,
        promised="process-crash",
    ),
)


def caught(control: Control, folder: Path, *, seed: int = 1) -> int | None:
    """How many disks were looked at until something was found; ``None``: nothing was."""
    recorded = record(control.life, control.durability, folder / "life", control.connections)
    recorded = replace(recorded, durability=control.promised)
    tally, place = Tally(), folder / "cut"
    examiner = Examiner(recorded, place, tally)
    lies = _unsynced(recorded.recording, control.unsynced)
    for cut in swept(recorded.recording, share=0.1, seed=seed, lies=lies):
        examiner.look_at(cut)
        if tally.violations:
            return sum(tally.states.values())
    return None


def _unsynced(recording: Recording, names: Set[str]) -> Lies:
    files = {number for name, number in recording.files.items() if name in names}
    files |= {each.file for each in recording.operations if isinstance(each, Created) and each.name in names}

    def lies(operation: Operation) -> bool:
        if isinstance(operation, NamesSynced):
            return "/" in names
        return isinstance(operation, Synced) and operation.file in files

    return lies
