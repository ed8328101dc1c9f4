"""Hashes of entries as their 32 bytes: there are two in every row, and as digits they were half of a small one."""

from typing import Any

import sqlalchemy as sa

from alembic import op

revision = "j0002"
down_revision = "j0001"
branch_labels = None
depends_on = None

COLUMNS = "run_id, seq, kind, state, name, key, epoch, at, payload"

TRIGGERS = [
    "CREATE TRIGGER entries_no_update BEFORE UPDATE ON entries BEGIN "
    "SELECT RAISE(ABORT, 'entries are append-only'); END",
    "CREATE TRIGGER entries_no_delete BEFORE DELETE ON entries "
    "WHEN NOT EXISTS (SELECT 1 FROM tombstones WHERE tombstones.run_id = OLD.run_id) BEGIN "
    "SELECT RAISE(ABORT, 'entries are append-only'); END",
]


def upgrade() -> None:
    op.execute("DROP TRIGGER entries_no_update")
    op.execute("DROP TRIGGER entries_no_delete")
    op.rename_table("entries", "entries_of_j0001")
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
        sa.Column("prev_hash", sa.LargeBinary, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "seq", name="pk_entries"),
        sa.CheckConstraint(
            "kind IN ('created', 'transition', 'intent', 'outcome', 'attempt', 'warning', 'parked', 'lease', 'closed')",
            name="ck_entries_kind",
        ),
    )
    # SQLite's own unhex() came with 3.41.
    raw: Any = op.get_bind().connection.driver_connection
    raw.create_function("bytes_of", 1, _bytes_of, deterministic=True)
    op.execute(
        f"INSERT INTO entries ({COLUMNS}, prev_hash, hash) "
        f"SELECT {COLUMNS}, bytes_of(prev_hash), bytes_of(hash) FROM entries_of_j0001 ORDER BY rowid"
    )
    op.execute("DROP TABLE entries_of_j0001")
    for trigger in TRIGGERS:
        op.execute(trigger)


def _bytes_of(digits: object) -> bytes:
    try:
        return bytes.fromhex(digits)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        # Somebody changed it: kept, so that it is found, and found to be wrong.
        return repr(digits).encode()
