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
    #: The idempotency key that the release came with.
    Column("release_key", Text, index=True),
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
    #: Grows with every change of the row.
    Column("version", Integer, nullable=False, server_default="1"),
    #: As its task set describes it, as JSON; null: in no set, only reported.
    Column("definition", Text),
    #: Its place in the set.
    Column("position", Integer, nullable=False, server_default="0"),
    Index(None, "spec_name", "position", "task_id"),
)

task_sets = Table(
    "task_sets",
    metadata,
    Column("spec_name", Text, primary_key=True),
    #: The newest one.
    Column("version", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)

#: Every version of a set, whole.
task_set_versions = Table(
    "task_set_versions",
    metadata,
    Column("spec_name", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("document", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
)

#: Which version a key was answered with.
task_set_keys = Table(
    "task_set_keys",
    metadata,
    Column("idempotency_key", Text, primary_key=True),
    Column("spec_name", Text, nullable=False),
    Column("version", Integer, nullable=False),
)

#: Of the newest version of each set.
task_dependencies = Table(
    "task_dependencies",
    metadata,
    Column("spec_name", Text, primary_key=True),
    Column("task_id", Text, primary_key=True),
    Column("depends_on", Text, primary_key=True),
    Index(None, "spec_name", "depends_on"),
)

#: The newest epoch seen of each run by the pool and the artifact store.
run_fences = Table(
    "run_fences",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("epoch", Integer, nullable=False),
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
