"""The embedded services: slots and loans, tasks and their events, artifacts."""

import sqlalchemy as sa

from alembic import op

revision = "s0001"
down_revision = None
branch_labels = ("services",)
depends_on = None


def upgrade() -> None:
    op.create_table(
        "slots",
        sa.Column("slot_id", sa.Text, nullable=False),
        sa.Column("repo_key", sa.Text, nullable=False),
        sa.Column("repo_url", sa.Text, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("run_id", sa.Text),
        sa.Column("loan_key", sa.Text),
        sa.Column("holder", sa.Text),
        sa.Column("former_run", sa.Text),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("slot_id", name="pk_slots"),
        sa.UniqueConstraint("loan_key", name="uq_slots_loan_key"),
    )
    op.create_index("ix_slots_repo_key", "slots", ["repo_key"])
    op.create_table(
        "loans",
        sa.Column("slot_id", sa.Text, nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("loan_key", sa.Text, nullable=False),
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("lent_at", sa.BigInteger, nullable=False),
        sa.Column("renewed_at", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("ended_by", sa.Text),
        sa.PrimaryKeyConstraint("slot_id", "generation", name="pk_loans"),
    )
    op.create_index("ix_loans_loan_key", "loans", ["loan_key"])
    op.create_index("ix_loans_run_id", "loans", ["run_id"])
    op.create_table(
        "tasks",
        sa.Column("spec_name", sa.Text, nullable=False),
        sa.Column("task_id", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("metadata", sa.Text, nullable=False),
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("spec_name", "task_id", name="pk_tasks"),
    )
    op.create_table(
        "task_statuses",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("idempotency_key", sa.Text, nullable=False),
        sa.Column("spec_name", sa.Text, nullable=False),
        sa.Column("task_id", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("metadata", sa.Text, nullable=False),
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_task_statuses"),
        sa.UniqueConstraint("idempotency_key", name="uq_task_statuses_idempotency_key"),
    )
    op.create_index("ix_task_statuses_spec_name_task_id_at", "task_statuses", ["spec_name", "task_id", "at"])
    op.create_table(
        "task_fences",
        sa.Column("spec_name", sa.Text, nullable=False),
        sa.Column("task_id", sa.Text, nullable=False),
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("spec_name", "task_id", "run_id", name="pk_task_fences"),
    )
    op.create_table(
        "task_events",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("idempotency_key", sa.Text, nullable=False),
        sa.Column("spec_name", sa.Text, nullable=False),
        sa.Column("task_id", sa.Text, nullable=False),
        sa.Column("event_type", sa.Text, nullable=False),
        sa.Column("data", sa.Text, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_task_events"),
        sa.UniqueConstraint("idempotency_key", name="uq_task_events_idempotency_key"),
    )
    op.create_index("ix_task_events_spec_name_task_id_at", "task_events", ["spec_name", "task_id", "at"])
    op.create_table(
        "task_artifacts",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("idempotency_key", sa.Text, nullable=False),
        sa.Column("spec_name", sa.Text, nullable=False),
        sa.Column("task_id", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("uri", sa.Text, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("metadata", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_task_artifacts"),
        sa.UniqueConstraint("idempotency_key", name="uq_task_artifacts_idempotency_key"),
    )
    op.create_index("ix_task_artifacts_spec_name_task_id", "task_artifacts", ["spec_name", "task_id"])
    op.create_table(
        "artifacts",
        sa.Column("idempotency_key", sa.Text, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("metadata", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("idempotency_key", name="pk_artifacts"),
    )
    op.create_index("ix_artifacts_sha256", "artifacts", ["sha256"])
