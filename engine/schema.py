"""Tables of the journal. Times are microseconds since the epoch, UTC; JSON is canonical text."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Integer, LargeBinary, MetaData, Table, Text, text

from necrocode.engine.database import Component

JOURNAL = Component(branch="journal", head="j0002")

KINDS = ("created", "transition", "intent", "outcome", "attempt", "warning", "parked", "lease", "closed")
STATUSES = ("live", "interrupted", "parked", "closed")


def _one_of(column: str, values: tuple[str, ...]) -> str:
    return f"{column} IN ({', '.join(repr(value) for value in values)})"


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "pk": "pk_%(table_name)s",
    }
)

#: The truth: append-only, numbered per run from 1, hash-chained. Triggers refuse UPDATE, and DELETE of what no
#: tombstone covers.
entries = Table(
    "entries",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("kind", Text, nullable=False),
    #: The state being worked on; of a transition, the state it leads to.
    Column("state", Text, nullable=False),
    #: Name of the effect, the trigger, the warning…
    Column("name", Text, nullable=False),
    #: The effect's declared key; of a transition, the state it leaves.
    Column("key", Text, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("payload", Text, nullable=False),
    #: SHA-256, as bytes; empty of the first entry of a run.
    Column("prev_hash", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    CheckConstraint(_one_of("kind", KINDS), name="kind"),
)

#: Large parts of payloads, compressed, each once a run; immutable like the entries.
blobs = Table(
    "blobs",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("sha256", Text, primary_key=True),
    Column("codec", Text, nullable=False),
    Column("size", Integer, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

#: A projection of the entries, moved in the same transaction and rebuildable from them.
runs = Table(
    "runs",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("lifecycle", Text, nullable=False),
    Column("version", Integer, nullable=False),
    #: What at most one live run may work on.
    Column("subject", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("stop_reason", Text),
    Column("data", Text, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("head_seq", Integer, nullable=False),
    Column("head_hash", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger),
    CheckConstraint(_one_of("status", STATUSES), name="status"),
    Index("uq_runs_live_subject", "subject", unique=True, sqlite_where=text("status != 'closed'")),
    Index("ix_runs_open", "status", sqlite_where=text("status != 'closed'")),
)

#: The right to drive a run. Never in the projection: a heartbeat is no history.
leases = Table(
    "leases",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("epoch", Integer, nullable=False),
    #: 1 while somebody holds it.
    Column("held", Integer, nullable=False),
    Column("holder", Text, nullable=False),
    #: Counts up while the holder lives.
    Column("beat", Integer, nullable=False),
)

#: What somebody other than the holder asks of a run.
requests = Table(
    "requests",
    metadata,
    Column("run_id", Text, primary_key=True),
    #: cancel
    Column("kind", Text, primary_key=True),
    Column("at", BigInteger, nullable=False),
)

#: Reports and uploads still to be delivered; outlives the run.
outbox = Table(
    "outbox",
    metadata,
    #: The idempotency key under which the sink sees it.
    Column("item_id", Text, primary_key=True),
    Column("run_id", Text, nullable=False, index=True),
    Column("sink", Text, nullable=False),
    Column("call", Text, nullable=False),
    Column("payload", Text, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("last_error", Text),
    Column("delivered_at", BigInteger),
)

#: The chain over all runs: a created and a closed link for each, so that no run can vanish unseen.
chain = Table(
    "chain",
    metadata,
    Column("n", Integer, primary_key=True),
    Column("run_id", Text, nullable=False, index=True),
    #: created, closed or pruned
    Column("event", Text, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("head_hash", Text, nullable=False),
    Column("prev_hash", Text, nullable=False),
    Column("hash", Text, nullable=False),
)

#: What stands where a pruned run was.
tombstones = Table(
    "tombstones",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("head_seq", Integer, nullable=False),
    Column("head_hash", Text, nullable=False),
    Column("pruned_at", BigInteger, nullable=False),
    Column("pruned_by", Text, nullable=False),
)

_APPEND_ONLY = ("entries", "blobs")

TRIGGERS = {
    **{
        f"{table}_no_update": f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} BEGIN "
        f"SELECT RAISE(ABORT, '{table} are append-only'); END"
        for table in (*_APPEND_ONLY, "chain", "tombstones")
    },
    **{
        f"{table}_no_delete": f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} "
        "WHEN NOT EXISTS (SELECT 1 FROM tombstones WHERE tombstones.run_id = OLD.run_id) BEGIN "
        f"SELECT RAISE(ABORT, '{table} are append-only'); END"
        for table in _APPEND_ONLY
    },
    **{
        f"{table}_no_delete": f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} BEGIN "
        f"SELECT RAISE(ABORT, '{table} are append-only'); END"
        for table in ("chain", "tombstones")
    },
}
"""SQLite's guards on the append-only tables, by name."""
