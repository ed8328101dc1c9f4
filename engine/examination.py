"""The examination of a journal: what each of its rows must agree with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sqlalchemy import Connection

from necrocode.engine.canonical import canonical, sha256
from necrocode.engine.effects import Json
from necrocode.engine.entry import COLUMNS, Entry, digits, intact, references, unpack
from necrocode.engine.errors import JournalDamaged, NoTransition
from necrocode.engine.heads import Heads
from necrocode.engine.journal import RUN_COLUMNS, link_hash, read_blob, row_of, tombstone_hash
from necrocode.engine.lifecycle import Lifecycle
from necrocode.engine.runs import RunRecord, begin, follow
from necrocode.engine.schema import TRIGGERS

Links = Mapping[tuple[str, str], tuple[int, str]]
"""(run, event) → (seq, hash), as the chain over all runs tells it."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is not as it was written."""

    #: ``None`` for what concerns the journal as a whole.
    run_id: str | None
    #: The first bad entry; ``None`` where it is not an entry.
    seq: int | None
    problem: str


@dataclass(slots=True)
class _Told:
    """What one run's entries tell besides the run itself."""

    blobs: set[str] = field(default_factory=set)
    #: Item id → the entry it was posted by.
    posted: dict[str, tuple[Entry, str]] = field(default_factory=dict)
    holder: Json = None


@dataclass(slots=True)
class Examination:
    """One reading of a journal; what is wrong is added to ``problems``."""

    connection: Connection
    lifecycles: Mapping[str, Lifecycle]
    problems: list[Problem]
    entries: int = 0

    def say(self, problem: str, run_id: str | None = None, seq: int | None = None) -> None:
        """Note a problem."""
        self.problems.append(Problem(run_id, seq, problem))

    def guards_and_chain(self) -> Links:
        """The triggers that refuse changes are still there, and the chain over all runs holds; returns its links."""
        found = {row[0]: row[1] for row in self._rows("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")}
        for name, sql in TRIGGERS.items():
            if found.get(name) != sql:
                self.say(f"the trigger {name} is {'missing' if name not in found else 'not ours'}")
        links: dict[tuple[str, str], tuple[int, str]] = {}
        expected, previous = 1, ""
        for row in self._rows("SELECT n, run_id, event, seq, head_hash, prev_hash, hash FROM chain ORDER BY n"):
            n, run_id, event, seq, head_hash, prev_hash, digest = row
            if n != expected or prev_hash != previous:
                self.say(f"the chain over all runs breaks at link {expected}", run_id)
            if not _intact_link(row):
                self.say(f"link {n} of the chain over all runs was changed", run_id)
            links[run_id, event] = (seq, head_hash)
            expected, previous = expected + 1, digest
        return links

    def run(self, run_id: str, links: Links) -> None:
        """One run: its entries and blobs, its row, its lease, its reports, its links."""
        before = len(self.problems)
        told = _Told()
        run = self._replay(run_id, told)
        if len(self.problems) > before:
            return
        self._extra_blobs(run_id, told)
        if run is None:
            self._pruned(run_id, links)
            return
        if self._tombstone(run_id) is not None:
            self.say("it has a tombstone and was not pruned", run_id)
        row = self._row(f"SELECT {RUN_COLUMNS} FROM runs WHERE run_id = ?", run_id)
        if row is None:
            self.say("it has no row in the projection", run_id, run.head_seq)
        else:
            self._compare(row, row_of(run), run)
        self._lease(run, told)
        self._outbox(run_id, told)
        self._links(run, links)

    def vanished(self, links: Links, known: set[str]) -> None:
        """Runs that the chain names and nothing else does."""
        for run_id in sorted({run_id for run_id, _ in links} - known):
            self.say("the run was deleted", run_id)

    def against(self, kept: Heads) -> None:
        """Nothing that heads kept elsewhere cover is other than it was."""
        if kept.chain_n:
            found = self._row("SELECT hash FROM chain WHERE n = ?", kept.chain_n)
            if found is None or found[0] != kept.chain_hash:
                self.say(f"link {kept.chain_n} of the chain over all runs is not the one that was kept")
        for run_id, (seq, digest) in kept.runs.items():
            found = self._row("SELECT hash FROM entries WHERE run_id = ? AND seq = ?", run_id, seq)
            pruned = self._tombstone(run_id)
            if found is None and pruned is not None and seq <= pruned[1]:
                if seq == pruned[1] and digest != pruned[2]:
                    self.say("its tombstone is not for the run that was kept", run_id, seq)
            elif found is None or digits(found[0]) != digest:
                self.say(f"entry {seq} is not the one that was kept", run_id, seq)

    # --- the entries ---

    def _replay(self, run_id: str, told: _Told) -> RunRecord | None:
        run: RunRecord | None = None
        for entry in entries_of(self.connection, run_id):
            self.entries += 1
            problem = bad_link(entry, run) or self._bad_blobs(entry, told) or _bad_order(entry, run)
            if problem is None:
                payload = unpack(entry.payload, partial(read_blob, self.connection, run_id))
                problem = self._bad_move(entry, run, payload) if run is not None else None
                run = begin(entry, payload) if run is None else follow(run, entry, payload)
                _listen(entry, payload, told)
            if problem is not None:
                self.say(problem, run_id, entry.seq)
                return run
        return run

    def _bad_blobs(self, entry: Entry, told: _Told) -> str | None:
        for digest in references(entry.payload):
            told.blobs.add(digest)
            try:
                read_blob(self.connection, entry.run_id, digest)
            except JournalDamaged as error:
                return str(error)
        return None

    def _bad_move(self, entry: Entry, run: RunRecord, payload: Mapping[str, Json]) -> str | None:
        """Why ``entry`` cannot lead on from ``run``, if it cannot."""
        if entry.kind != "transition":
            if entry.state != run.state and "version" not in payload:
                return f"its state is {entry.state!r}, the run was in {run.state!r}"
        elif entry.key != run.state:
            return f"it leaves {entry.key!r}, the run was in {run.state!r}"
        lifecycle = self.lifecycles.get(run.lifecycle)
        if lifecycle is None or lifecycle.version != run.version:
            return None
        if entry.kind == "closed" and run.state not in lifecycle.terminal:
            return f"it ends the run in {run.state!r}, which is not terminal"
        if entry.kind != "closed" and run.state in lifecycle.terminal:
            return f"the run had come to its end in {run.state!r}"
        if entry.kind != "transition":
            return None
        try:
            row = lifecycle.choose(run.state, entry.name, {**run.data, **payload["patch"]})
        except NoTransition as error:
            return str(error)
        except Exception as error:  # noqa: BLE001 - a guard is the caller's code
            return f"a guard of {entry.name!r} from {run.state!r} cannot be evaluated: {error!r}"
        return None if row.target == entry.state else f"the table leads to {row.target!r}, the entry to {entry.state!r}"

    # --- what stands beside them ---

    def _extra_blobs(self, run_id: str, told: _Told) -> None:
        stored = {row[0] for row in self._rows("SELECT sha256 FROM blobs WHERE run_id = ?", run_id)}
        for digest in sorted(map(str, stored - told.blobs)):
            self.say(f"the blob {digest} belongs to no entry", run_id)

    def _compare(self, found: tuple[Any, ...], wanted: tuple[Any, ...], run: RunRecord) -> None:
        for column, is_, should in zip(RunRecord._fields, found, wanted, strict=True):
            if type(is_) is not type(should) or is_ != should:
                self.say(f"runs.{column} is {_short(is_)}, the entries say {_short(should)}", run.run_id, run.head_seq)

    def _lease(self, run: RunRecord, told: _Told) -> None:
        row = self._row("SELECT epoch, held, holder FROM leases WHERE run_id = ?", run.run_id)
        epoch, held, holder = row or (0, 0, None)
        seq = run.head_seq
        if epoch != run.epoch:
            self.say(f"its lease is of epoch {_short(epoch)}, its entries of epoch {run.epoch}", run.run_id, seq)
        elif row is not None and holder != canonical(told.holder):
            self.say("its lease names another holder than the entry that took it", run.run_id, seq)
        elif run.status != "live" and held != 0:
            self.say(f"its lease is held, and the run is {run.status}", run.run_id, seq)

    def _outbox(self, run_id: str, told: _Told) -> None:
        rows = self._rows("SELECT item_id, run_id, sink, call, payload, epoch, at FROM outbox WHERE run_id = ?", run_id)
        found = {row[0]: tuple(row) for row in rows}
        for item_id, (entry, digest) in told.posted.items():
            row = found.pop(item_id, None)
            sink = entry.name.removeprefix("outbox.")
            if row is None:
                self.say(f"the report {item_id} is missing from the outbox", run_id, entry.seq)
            elif (*row[1:4], *row[5:]) != (run_id, sink, entry.key, entry.epoch, entry.at) or _hash(row[4]) != digest:
                self.say(f"the report {item_id} in the outbox was changed", run_id, entry.seq)
        for item_id in sorted(map(str, found)):
            self.say(f"the report {item_id} in the outbox was posted by no entry", run_id)

    def _links(self, run: RunRecord, links: Links) -> None:
        first = self._row("SELECT seq, hash FROM entries WHERE run_id = ? ORDER BY seq LIMIT 1", run.run_id)
        if first is None or links.get((run.run_id, "created")) != (first[0], digits(first[1])):
            self.say("the chain over all runs does not name its first entry", run.run_id, 1)
        closed = links.get((run.run_id, "closed"))
        if run.status == "closed" and closed != (run.head_seq, run.head_hash):
            self.say("the chain over all runs does not name its last entry", run.run_id, run.head_seq)
        if run.status != "closed" and closed is not None:
            self.say(f"it was closed with entry {closed[0]}, which is missing", run.run_id, closed[0])
        if (run.run_id, "pruned") in links:
            self.say("it was pruned, and has entries", run.run_id)

    def _pruned(self, run_id: str, links: Links) -> None:
        """A run without entries must have a tombstone that the chain knows."""
        tombstone = self._tombstone(run_id)
        if tombstone is None:
            self.say("it has no entries", run_id)
            return
        if links.get((run_id, "closed")) != tombstone[1:3]:
            self.say("its tombstone does not name the head that it was closed with", run_id)
        if links.get((run_id, "pruned")) != (tombstone[1], _hash_of(tombstone)):
            self.say("its tombstone is not the one that was put there", run_id)
        for table in ("runs", "leases", "outbox"):
            if self._row(f"SELECT 1 FROM {table} WHERE run_id = ?", run_id) is not None:
                self.say(f"it was pruned, and stands in {table}", run_id)

    def _tombstone(self, run_id: str) -> tuple[Any, ...] | None:
        return self._row(
            "SELECT run_id, head_seq, head_hash, pruned_at, pruned_by FROM tombstones WHERE run_id = ?", run_id
        )

    def _rows(self, sql: str, *parameters: Any) -> Iterator[tuple[Any, ...]]:
        for row in self.connection.exec_driver_sql(sql, parameters):
            yield tuple(row)

    def _row(self, sql: str, *parameters: Any) -> tuple[Any, ...] | None:
        row = self.connection.exec_driver_sql(sql, parameters).fetchone()
        return tuple(row) if row is not None else None


def run_ids(connection: Connection) -> list[str]:
    """Every run that any table knows of."""
    tables = ("runs", "entries", "blobs", "tombstones", "leases", "outbox", "requests")
    rows = connection.exec_driver_sql(" UNION ".join(f"SELECT run_id FROM {table}" for table in tables) + " ORDER BY 1")
    return [row[0] for row in rows]


def entries_of(connection: Connection, run_id: str) -> Iterator[Entry]:
    """A run's rows in order."""
    rows = connection.exec_driver_sql(f"SELECT {COLUMNS} FROM entries WHERE run_id = ? ORDER BY seq", (run_id,))
    for row in rows:
        yield Entry.of(row)


def bad_link(entry: Entry, run: RunRecord | None) -> str | None:
    """Why ``entry`` is not the one that was written after those that make ``run``, if it is not."""
    expected = 1 if run is None else run.head_seq + 1
    if entry.seq != expected:
        return f"entry {expected} is missing"
    if entry.prev_hash != ("" if run is None else run.head_hash):
        return "it does not follow the entry before it"
    return None if intact(entry) else "it was changed"


def _bad_order(entry: Entry, run: RunRecord | None) -> str | None:
    if (entry.kind == "created") != (run is None):
        return f"{entry.kind!r} stands where it cannot"
    if run is not None and run.status == "closed":
        return "it follows the end of the run"
    if run is not None and entry.epoch < run.epoch:
        return f"its epoch is {entry.epoch}, after epoch {run.epoch}"
    return None


def _listen(entry: Entry, payload: Mapping[str, Json], told: _Told) -> None:
    if entry.kind == "lease" and entry.name == "claimed":
        told.holder = payload["holder"]
    elif entry.kind == "outcome" and entry.name.startswith("outbox."):
        result = payload.get("result")
        if isinstance(result, dict) and {"item_id", "sha256"} <= result.keys():
            # One item is posted once: who posts it again under the same id adds nothing.
            told.posted.setdefault(result["item_id"], (entry, result["sha256"]))


def _intact_link(row: tuple[Any, ...]) -> bool:
    try:
        return bool(link_hash(*row[:-1]) == row[-1])
    except (TypeError, ValueError):
        return False


def _hash_of(tombstone: tuple[Any, ...]) -> str | None:
    try:
        return tombstone_hash(*tombstone)
    except (TypeError, ValueError):
        return None


def _hash(text: Any) -> str | None:
    try:
        return sha256(text.encode())
    except (AttributeError, ValueError):
        return None


def _short(value: Any) -> str:
    text = json.dumps(value, default=repr)
    return text if len(text) <= 60 else f"{text[:57]}…"
