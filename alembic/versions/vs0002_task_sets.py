"""Task sets, dependencies and versions of tasks; fences of runs; the key a slot was given back with."""

import sqlalchemy as sa

from alembic import op

revision = "s0002"
down_revision = "s0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tasks", sa.Column("version", sa.Integer, nullable=False, server_default="1"))
    op.add_column("tasks", sa.Column("definition", sa.Text))
    op.add_column("tasks", sa.Column("position", sa.Integer, nullable=False, server_default="0"))
    op.create_index("ix_tasks_spec_name_position_task_id", "tasks", ["spec_name", "position", "task_id"])
    op.create_table(
        "task_sets",
        sa.Column("spec_name", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("spec_name", name="pk_task_sets"),
    )
    op.create_table(
        "task_set_versions",
        sa.Column("spec_name", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("spec_name", "version", name="pk_task_set_versions"),
    )
    op.create_table(
        "task_set_keys",
        sa.Column("idempotency_key", sa.Text, nullable=False),
        sa.Column("spec_name", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("idempotency_key", name="pk_task_set_keys"),
    )
    op.create_table(
        "task_dependencies",
        sa.Column("spec_name", sa.Text, nullable=False),
        sa.Column("task_id", sa.Text, nullable=False),
        sa.Column("depends_on", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("spec_name", "task_id", "depends_on", name="pk_task_dependencies"),
    )
    op.create_index("ix_task_dependencies_spec_name_depends_on", "task_dependencies", ["spec_name", "depends_on"])
    op.create_table(
        "run_fences",
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("run_id", name="pk_run_fences"),
    )
    op.add_column("loans", sa.Column("release_key", sa.Text))
    op.create_index("ix_loans_release_key", "loans", ["release_key"])
