"""What turns used, and what tenants and sessions may spend."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
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
    op.add_column("sessions", sa.Column("on_budget", sa.Text()))
    op.create_table(
        "budgets",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("day_micro_usd", sa.BigInteger(), nullable=False),
        sa.Column("turn_micro_usd", sa.BigInteger(), nullable=False),
        sa.Column("on_budget", sa.Text(), nullable=False),
        sa.Column("lifted_day", sa.Text()),
        sa.Column("lifted_micro_usd", sa.BigInteger(), nullable=False),
        sa.Column("warned_day", sa.Text()),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", name="pk_budgets"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_budgets_tenant_id", ondelete="CASCADE"),
    )
    op.create_table(
        "reservations",
        sa.Column("turn_id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("micro_usd", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("turn_id", name="pk_reservations"),
        sa.ForeignKeyConstraint(["turn_id"], ["turns.id"], name="fk_reservations_turn_id", ondelete="CASCADE"),
    )
    op.create_index("ix_reservations_tenant", "reservations", ["tenant_id"])


def downgrade() -> None:
    op.drop_table("reservations")
    op.drop_table("budgets")
    op.drop_column("sessions", "on_budget")
    op.drop_table("turn_usage")
    op.drop_column("turns", "cost_source")
