"""The journal: entries, blobs, runs, leases, requests, outbox, chain, tombstones, and their guards."""

import sqlalchemy as sa

from alembic import op

revision = "j0001"
down_revision = None
branch_labels = ("journal",)
depends_on = None

TRIGGERS = [
    f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} BEGIN "
    f"SELECT RAISE(ABORT, '{table} are append-only'); END"
    for table in ("entries", "blobs", "chain", "tombstones")
]
TRIGGERS += [
    f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} "
    "WHEN NOT EXISTS (SELECT 1 FROM tombstones WHERE tombstones.run_id = OLD.run_id) BEGIN "
    f"SELECT RAISE(ABORT, '{table} are append-only'); END"
    for table in ("entries", "blobs")
]
TRIGGERS += [
    f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} BEGIN "
    f"SELECT RAISE(ABORT, '{table} are append-only'); END"
    for table in ("chain", "tombstones")
]


def upgrade() -> None:
    op.create_table(
        "entries",
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("prev_hash", sa.Text, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "seq", name="pk_entries"),
        sa.CheckConstraint(
            "kind IN ('created', 'transition', 'intent', 'outcome', 'attempt', 'warning', 'parked', 'lease', 'closed')",
            name="ck_entries_kind",
        ),
    )
    op.create_table(
        "blobs",
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("codec", sa.Text, nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "sha256", name="pk_blobs"),
    )
    op.create_table(
        "runs",
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("lifecycle", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("stop_reason", sa.Text),
        sa.Column("data", sa.Text, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("head_seq", sa.Integer, nullable=False),
        sa.Column("head_hash", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("finished_at", sa.BigInteger),
        sa.PrimaryKeyConstraint("run_id", name="pk_runs"),
        sa.CheckConstraint("status IN ('live', 'interrupted', 'parked', 'closed')", name="ck_runs_status"),
    )
    live = sa.text("status != 'closed'")
    op.create_index("uq_runs_live_subject", "runs", ["subject"], unique=True, sqlite_where=live)
    op.create_index("ix_runs_open", "runs", ["status"], sqlite_where=live)
    op.create_table(
        "leases",
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("held", sa.Integer, nullable=False),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("beat", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("run_id", name="pk_leases"),
    )
    op.create_table(
        "requests",
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "kind", name="pk_requests"),
    )
    op.create_table(
        "outbox",
        sa.Column("item_id", sa.Text, nullable=False),
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("sink", sa.Text, nullable=False),
        sa.Column("call", sa.Text, nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("last_error", sa.Text),
        sa.Column("delivered_at", sa.BigInteger),
        sa.PrimaryKeyConstraint("item_id", name="pk_outbox"),
    )
    op.create_index("ix_outbox_run_id", "outbox", ["run_id"])
    op.create_table(
        "chain",
        sa.Column("n", sa.Integer, nullable=False),
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("head_hash", sa.Text, nullable=False),
        sa.Column("prev_hash", sa.Text, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("n", name="pk_chain"),
    )
    op.create_index("ix_chain_run_id", "chain", ["run_id"])
    op.create_table(
        "tombstones",
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("head_seq", sa.Integer, nullable=False),
        sa.Column("head_hash", sa.Text, nullable=False),
        sa.Column("pruned_at", sa.BigInteger, nullable=False),
        sa.Column("pruned_by", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("run_id", name="pk_tombstones"),
    )
    for trigger in TRIGGERS:
        op.execute(trigger)
