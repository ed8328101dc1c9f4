"""Audit: verify that the journal says what it said when it was written, and rebuild the projection from it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sqlalchemy import Connection

from necrocode.engine.canonical import sha256
from necrocode.engine.effects import Json
from necrocode.engine.entry import COLUMNS, Entry, entry_hash, inflate, references, unpack
from necrocode.engine.errors import JournalDamaged, NoTransition
from necrocode.engine.journal import RUN_COLUMNS, Journal, link_hash, row_of
from necrocode.engine.lifecycle import Lifecycle
from necrocode.engine.runs import RunRecord, begin, follow
from necrocode.engine.schema import TRIGGERS


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is not as it was written."""

    #: ``None`` for what concerns the journal as a whole.
    run_id: str | None
    #: The first bad entry; ``None`` where it is not an entry.
    seq: int | None
    problem: str


@dataclass(frozen=True, slots=True)
class Report:
    """What :func:`verify` found."""

    runs_checked: int
    entries_checked: int
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


@dataclass(frozen=True, slots=True)
class Heads:
    """Head hashes, to be kept elsewhere: what they cover cannot be changed unseen, by anyone."""

    #: The last link of the chain over all runs; 0 and "" for an empty journal.
    chain_n: int
    chain_hash: str
    #: Sequence number and hash of each run's last entry.
    runs: Mapping[str, tuple[int, str]]

    def to_json(self) -> dict[str, Json]:
        """As a JSON object."""
        return {
            "chain": {"n": self.chain_n, "hash": self.chain_hash},
            "runs": {run_id: {"seq": seq, "hash": digest} for run_id, (seq, digest) in sorted(self.runs.items())},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Heads:
        """From what :meth:`to_json` gave. Raises ``ValueError`` if it is something else."""
        try:
            runs = {str(run): (int(head["seq"]), str(head["hash"])) for run, head in value["runs"].items()}
            return cls(int(value["chain"]["n"]), str(value["chain"]["hash"]), runs)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("not a heads file: it needs chain {n, hash} and runs {id: {seq, hash}}") from error


def heads(journal: Journal) -> Heads:
    """The heads as they are now."""
    with journal.database.read() as connection:
        last = connection.exec_driver_sql("SELECT n, hash FROM chain ORDER BY n DESC LIMIT 1").fetchone()
        rows = connection.exec_driver_sql("SELECT run_id, head_seq, head_hash FROM runs").fetchall()
    return Heads(last[0] if last else 0, last[1] if last else "", {row[0]: (row[1], row[2]) for row in rows})


def verify(
    journal: Journal,
    *,
    run_id: str | None = None,
    lifecycles: Mapping[str, Lifecycle] | None = None,
    against: Heads | None = None,
) -> Report:
    """Check every hash, link, blob, transition and projection row, of one run or of all.

    ``lifecycles`` (by name) adds the check that each transition is declared and that its guard held; ``against`` that
    nothing covered by those heads was changed or removed. Each run's list names its first bad entry only.
    """
    with journal.database.read() as connection:
        check = _Check(connection, lifecycles or {})
        check.guards()
        links = check.chain()
        known = _run_ids(connection) if run_id is None else [run_id]
        for each in known:
            check.run(each, links)
        if run_id is None:
            check.vanished(links, set(known))
        if against is not None:
            check.against(against)
    return Report(len(known), check.entries, tuple(check.problems))


def rebuild(journal: Journal) -> int:
    """Write ``runs`` anew from ``entries``; returns how many rows differed. Raises :class:`JournalDamaged`."""
    with journal.database.write() as connection:
        wanted = {run.run_id: row_of(run) for run in _replayed(connection)}
        found = {row[0]: tuple(row) for row in connection.exec_driver_sql(f"SELECT {RUN_COLUMNS} FROM runs")}
        connection.exec_driver_sql("DELETE FROM runs")
        marks = ",".join("?" * len(RunRecord.__dataclass_fields__))
        for row in wanted.values():
            connection.exec_driver_sql(f"INSERT INTO runs ({RUN_COLUMNS}) VALUES ({marks})", row)
    return sum(1 for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key))


def _replayed(connection: Connection) -> Iterator[RunRecord]:
    """Each run as its entries tell it."""
    for run_id in _run_ids(connection):
        run: RunRecord | None = None
        for entry in _entries(connection, run_id):
            payload = unpack(entry.payload, partial(_blob, connection, run_id))
            run = begin(entry, payload) if run is None else follow(run, entry, payload)
        if run is not None:
            yield run


@dataclass(slots=True)
class _Check:
    connection: Connection
    lifecycles: Mapping[str, Lifecycle]
    problems: list[Problem] = field(default_factory=list)
    entries: int = 0

    def say(self, problem: str, run_id: str | None = None, seq: int | None = None) -> None:
        self.problems.append(Problem(run_id, seq, problem))

    def guards(self) -> None:
        """The triggers that refuse changes are still there."""
        found = dict(
            tuple(row)
            for row in self.connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
        )
        for name, sql in TRIGGERS.items():
            if found.get(name) != sql:
                self.say(f"the trigger {name} is {'missing' if name not in found else 'not ours'}")

    def chain(self) -> dict[tuple[str, str], tuple[int, str]]:
        """Verify the chain over all runs; returns (run, event) → (seq, head hash)."""
        links: dict[tuple[str, str], tuple[int, str]] = {}
        expected, previous = 1, ""
        rows = self.connection.exec_driver_sql(
            "SELECT n, run_id, event, seq, head_hash, prev_hash, hash FROM chain ORDER BY n"
        )
        for n, run_id, event, seq, head_hash, prev_hash, digest in rows:
            if n != expected or prev_hash != previous:
                self.say(f"the chain over all runs breaks at link {expected}", run_id)
            if link_hash(n, run_id, event, seq, head_hash, prev_hash) != digest:
                self.say(f"link {n} of the chain over all runs was changed", run_id)
            links[run_id, event] = (seq, head_hash)
            expected, previous = n + 1, digest
        return links

    def run(self, run_id: str, links: Mapping[tuple[str, str], tuple[int, str]]) -> None:
        """One run: its entries, its blobs, its row, its lease, its links."""
        before = len(self.problems)
        run = self._replay(run_id)
        if len(self.problems) > before:
            return
        pruned = self._tombstone(run_id)
        if run is None:
            if pruned is None:
                self.say("it has no entries", run_id)
            elif links.get((run_id, "closed")) != pruned:
                self.say("its tombstone does not name the head that it was closed with", run_id)
            return
        row = self.connection.exec_driver_sql(f"SELECT {RUN_COLUMNS} FROM runs WHERE run_id = ?", (run_id,)).fetchone()
        if row is None:
            self.say("its row in runs is missing", run_id, run.head_seq)
        else:
            self._compare(tuple(row), row_of(run), run)
        self._lease(run)
        first = self.connection.exec_driver_sql(
            "SELECT seq, hash FROM entries WHERE run_id = ? ORDER BY seq LIMIT 1", (run_id,)
        ).one()
        if links.get((run_id, "created")) != tuple(first):
            self.say("the chain over all runs does not name its first entry", run_id, 1)
        closed = links.get((run_id, "closed"))
        if run.status == "closed" and closed != (run.head_seq, run.head_hash):
            self.say("the chain over all runs does not name its last entry", run_id, run.head_seq)
        if run.status != "closed" and closed is not None:
            self.say(f"it was closed with entry {closed[0]}, which is missing", run_id, closed[0])

    def vanished(self, links: Mapping[tuple[str, str], tuple[int, str]], known: set[str]) -> None:
        """Runs that the chain names and nothing else does."""
        for run_id in sorted({run_id for run_id, _ in links} - known):
            self.say("the run was deleted", run_id)

    def against(self, kept: Heads) -> None:
        """Nothing that heads kept elsewhere cover is other than it was."""
        if kept.chain_n:
            found = self.connection.exec_driver_sql("SELECT hash FROM chain WHERE n = ?", (kept.chain_n,)).fetchone()
            if found is None or found[0] != kept.chain_hash:
                self.say(f"link {kept.chain_n} of the chain over all runs is not the one that was kept")
        for run_id, (seq, digest) in kept.runs.items():
            found = self.connection.exec_driver_sql(
                "SELECT hash FROM entries WHERE run_id = ? AND seq = ?", (run_id, seq)
            ).fetchone()
            pruned = self._tombstone(run_id)
            if found is None and pruned is not None and seq <= pruned[0]:
                if seq == pruned[0] and digest != pruned[1]:
                    self.say("its tombstone is not for the run that was kept", run_id, seq)
            elif found is None or found[0] != digest:
                self.say(f"entry {seq} is not the one that was kept", run_id, seq)

    def _replay(self, run_id: str) -> RunRecord | None:
        run: RunRecord | None = None
        known: set[str] = set()
        for entry in _entries(self.connection, run_id):
            self.entries += 1
            problem = _bad_link(entry, run) or self._bad_blobs(entry, known) or _bad_order(entry, run)
            if problem is None:
                payload = unpack(entry.payload, lambda digest: _blob(self.connection, run_id, digest))
                problem = self._bad_transition(entry, run, payload) if run is not None else None
                run = begin(entry, payload) if run is None else follow(run, entry, payload)
            if problem is not None:
                self.say(problem, run_id, entry.seq)
                return run
        stored = {
            row[0] for row in self.connection.exec_driver_sql("SELECT sha256 FROM blobs WHERE run_id = ?", (run_id,))
        }
        for digest in sorted(stored - known):
            self.say(f"the blob {digest} belongs to no entry", run_id)
        return run

    def _bad_blobs(self, entry: Entry, known: set[str]) -> str | None:
        for digest in references(entry.payload):
            known.add(digest)
            try:
                content = _blob(self.connection, entry.run_id, digest)
            except JournalDamaged as error:
                return str(error)
            if sha256(content.decode()) != digest:
                return f"the blob {digest} was changed"
        return None

    def _bad_transition(self, entry: Entry, run: RunRecord, payload: Mapping[str, Json]) -> str | None:
        lifecycle = self.lifecycles.get(run.lifecycle)
        if entry.kind != "transition":
            if entry.state != run.state and entry.kind != "lease":
                return f"its state is {entry.state!r}, the run was in {run.state!r}"
            return None
        if entry.key != run.state:
            return f"it leaves {entry.key!r}, the run was in {run.state!r}"
        if lifecycle is None or lifecycle.version != run.version:
            return None
        try:
            row = lifecycle.choose(run.state, entry.name, {**run.data, **payload["patch"]})
        except NoTransition as error:
            return str(error)
        return None if row.target == entry.state else f"the table leads to {row.target!r}, the entry to {entry.state!r}"

    def _compare(self, found: tuple[Any, ...], wanted: tuple[Any, ...], run: RunRecord) -> None:
        for column, is_, should in zip(RunRecord.__dataclass_fields__, found, wanted, strict=True):
            if is_ != should:
                self.say(f"runs.{column} is {_short(is_)}, the entries say {_short(should)}", run.run_id, run.head_seq)

    def _lease(self, run: RunRecord) -> None:
        row = self.connection.exec_driver_sql("SELECT epoch FROM leases WHERE run_id = ?", (run.run_id,)).fetchone()
        epoch = row[0] if row else 0
        if epoch != run.epoch:
            self.say(f"its lease is of epoch {epoch}, its entries of epoch {run.epoch}", run.run_id, run.head_seq)

    def _tombstone(self, run_id: str) -> tuple[int, str] | None:
        row = self.connection.exec_driver_sql(
            "SELECT head_seq, head_hash FROM tombstones WHERE run_id = ?", (run_id,)
        ).fetchone()
        return (row[0], row[1]) if row else None


def _bad_link(entry: Entry, run: RunRecord | None) -> str | None:
    expected = 1 if run is None else run.head_seq + 1
    if entry.seq != expected:
        return f"entry {expected} is missing"
    if entry.prev_hash != ("" if run is None else run.head_hash):
        return "it does not follow the entry before it"
    if entry_hash(*entry[:-1]) != entry.hash:
        return "it was changed"
    return None


def _bad_order(entry: Entry, run: RunRecord | None) -> str | None:
    if (entry.kind == "created") != (run is None):
        return f"{entry.kind!r} stands where it cannot"
    if run is not None and run.status == "closed":
        return "it follows the end of the run"
    if run is not None and entry.epoch < run.epoch:
        return f"its epoch is {entry.epoch}, after epoch {run.epoch}"
    return None


def _run_ids(connection: Connection) -> list[str]:
    rows = connection.exec_driver_sql(
        "SELECT run_id FROM runs UNION SELECT DISTINCT run_id FROM entries "
        "UNION SELECT run_id FROM tombstones ORDER BY 1"
    )
    return [row[0] for row in rows]


def _entries(connection: Connection, run_id: str) -> Iterator[Entry]:
    rows = connection.exec_driver_sql(f"SELECT {COLUMNS} FROM entries WHERE run_id = ? ORDER BY seq", (run_id,))
    for row in rows:
        yield Entry(*row)


def _blob(connection: Connection, run_id: str, digest: str) -> bytes:
    row = connection.exec_driver_sql(
        "SELECT codec, data FROM blobs WHERE run_id = ? AND sha256 = ?", (run_id, digest)
    ).fetchone()
    if row is None:
        raise JournalDamaged(f"the blob {digest} is missing")
    return inflate(row[0], row[1], digest)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
