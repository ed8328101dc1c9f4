"""A stage after its runs, as it can be read from outside: journal, services, effects, what the model was asked."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx

from necrocode.engine.entry import Entry
from necrocode.engine.ids import idempotency_key
from necrocode.engine.runs import RunRecord
from necrocode.scripted.server import SeenRequest
from tests.crash.scenarios import Scenario
from tests.e2e.stage import Stage


@dataclass(frozen=True)
class Scene:
    """A stage after its runs, and what happened on it."""

    stage: Stage
    scenario: Scenario
    #: What reached the model's server.
    requests: Sequence[SeenRequest]
    #: Whether supervisors or commands were killed, and not runners only.
    hurt: bool = False
    #: Where commands wrote their ids, if outside of the slot.
    ledger: Path | None = None
    #: The remote's branches before: commit and number of writes.
    before: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    #: The files of the user's own folder before.
    folder_before: Mapping[str, bytes] = field(default_factory=dict)
    #: The home of the services, if it is another one.
    services: Path | None = None
    #: How long what is ending by itself (a supervisor whose runner died, a git that was cut off) may take.
    patience_seconds: float = 10.0

    @cached_property
    def runs(self) -> list[RunRecord]:
        """Every run as the projection has it."""
        return self.stage.runs()

    @cached_property
    def entries(self) -> Mapping[str, list[tuple[Entry, dict[str, Any]]]]:
        """Entries with whole payloads, by run."""
        with self.stage.journal() as journal:
            return {
                run.run_id: [(entry, journal.payload(entry)) for entry in journal.entries(run.run_id)]
                for run in self.runs
            }

    def effects(self, run_id: str, *prefixes: str) -> list[Effect]:
        """The effects of a run whose names start with one of ``prefixes``."""
        return [effect for effect in _effects(self.entries[run_id]) if effect.name.startswith(prefixes)]

    def rows(self, query: str) -> list[sqlite3.Row]:
        """Rows of the embedded services' database."""
        return rows_of((self.services or self.stage.home) / "services.db", query)

    def artifact(self, uri: str) -> bytes:
        """An artifact's content, from wherever it is kept."""
        if uri.startswith("file://"):
            return Path(uri.removeprefix("file://")).read_bytes()
        return httpx.get(urljoin(self.stage.environment["ARTIFACT_STORE_URL"], uri)).content


@dataclass
class Effect:
    """One effect as the journal tells it."""

    intent: Entry
    idempotency_key: str
    #: What the intent says for people and recovery.
    note: Any = None
    outcome: Entry | None = None
    result: Any = None
    failed_attempts: int = 0
    #: Claims of the run while it was open: each follows a death.
    claims: int = 0

    @property
    def name(self) -> str:
        return self.intent.name

    @property
    def key(self) -> str:
        return self.intent.key


def _effects(entries: Sequence[tuple[Entry, dict[str, Any]]]) -> list[Effect]:
    """Effects in the order of their intents. A recovery's own are numbered in a scope of their own."""
    found: dict[tuple[str, int], Effect] = {}
    for entry, payload in entries:
        if entry.kind == "lease" and entry.name == "claimed":
            for effect in found.values():
                effect.claims += effect.outcome is None
        if entry.kind not in ("intent", "outcome", "attempt") or "ordinal" not in payload:
            continue
        scope = payload["scope"] if "scope" in payload else f"visit-{payload['visit']}"
        place = scope, payload["ordinal"]
        if entry.kind == "intent":
            key = idempotency_key(entry.run_id, scope, payload["ordinal"], entry.name, entry.key)
            found[place] = Effect(entry, key, payload.get("note"))
        elif place in found and entry.kind == "outcome":
            found[place].outcome, found[place].result = entry, payload.get("result")
        elif place in found:
            found[place].failed_attempts += 1
    return list(found.values())


def rows_of(database: Path, query: str) -> list[sqlite3.Row]:
    if not database.exists():
        return []
    with closing(sqlite3.connect(database, timeout=30)) as connection:
        connection.row_factory = sqlite3.Row
        return connection.execute(query).fetchall()
