"""What turns used."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0002"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("turns", sa.Column("cost_source", sa.Text()))
    op.create_table(
        "turn_usage",
        sa.Column("turn_id", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text()),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("model", sa.Text()),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("day", sa.Text(), nullable=False),
        sa.Column("ended_at", MOMENT, nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cache_read_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cache_write_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cost_micro_usd", sa.BigInteger()),
        sa.Column("cost_source", sa.Text()),
        sa.Column("turn_ms", sa.BigInteger(), nullable=False),
        sa.Column("waited_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("turn_id", "attempt", name="pk_turn_usage"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_turn_usage_session", "turn_usage", ["session_id"])
    op.create_index("ix_turn_usage_tenant_day", "turn_usage", ["tenant_id", "day"])


def downgrade() -> None:
    op.drop_table("turn_usage")
    op.drop_column("turns", "cost_source")
