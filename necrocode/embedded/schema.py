"""Tables of the embedded services. Times are microseconds since the epoch, UTC."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, Table, Text

from necrocode.embedded.database import metadata

slots = Table(
    "slots",
    metadata,
    Column("slot_id", Text, primary_key=True),
    #: Folder name of the repository's place under the home.
    Column("repo_key", Text, nullable=False, index=True),
    Column("repo_url", Text, nullable=False),
    Column("path", Text, nullable=False),
    #: free, dirty (to be cleaned first), preparing (lent, being cleaned), lent, removing
    Column("status", Text, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("run_id", Text),
    Column("loan_key", Text, unique=True),
    #: The holder's process identity, as JSON.
    Column("holder", Text),
    #: Run that the slot was taken from and whose commands may still run in it.
    Column("former_run", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)

loans = Table(
    "loans",
    metadata,
    Column("slot_id", Text, primary_key=True),
    Column("generation", Integer, primary_key=True, autoincrement=False),
    #: A key that is asked for again after its loan has ended gets another loan.
    Column("loan_key", Text, nullable=False, index=True),
    Column("run_id", Text, nullable=False, index=True),
    Column("lent_at", BigInteger, nullable=False),
    Column("renewed_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    #: released, reclaimed
    Column("ended_by", Text),
)

tasks = Table(
    "tasks",
    metadata,
    Column("spec_name", Text, primary_key=True),
    Column("task_id", Text, primary_key=True),
    Column("status", Text, nullable=False),
    Column("metadata", Text, nullable=False),
    #: The run that set the status; empty if it did not say.
    Column("run_id", Text, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)

#: Every status a task was given, once a key.
task_statuses = Table(
    "task_statuses",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("idempotency_key", Text, nullable=False, unique=True),
    Column("spec_name", Text, nullable=False),
    Column("task_id", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("metadata", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("at", BigInteger, nullable=False),
    Index(None, "spec_name", "task_id", "at"),
)

#: The newest epoch seen of each run of a task (epochs count per run): an older one is refused.
task_fences = Table(
    "task_fences",
    metadata,
    Column("spec_name", Text, primary_key=True),
    Column("task_id", Text, primary_key=True),
    Column("run_id", Text, primary_key=True),
    Column("epoch", Integer, nullable=False),
)

task_events = Table(
    "task_events",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("idempotency_key", Text, nullable=False, unique=True),
    Column("spec_name", Text, nullable=False),
    Column("task_id", Text, nullable=False),
    Column("event_type", Text, nullable=False),
    Column("data", Text, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("at", BigInteger, nullable=False),
    Index(None, "spec_name", "task_id", "at"),
)

task_artifacts = Table(
    "task_artifacts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("idempotency_key", Text, nullable=False, unique=True),
    Column("spec_name", Text, nullable=False),
    Column("task_id", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("uri", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("metadata", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index(None, "spec_name", "task_id"),
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("idempotency_key", Text, primary_key=True),
    Column("sha256", Text, nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("metadata", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)
