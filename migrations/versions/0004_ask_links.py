"""Links that answer an ask without a key, and turns that wait for one before they run."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "ask_links",
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("ask_id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Column("used_at", MOMENT),
        sa.PrimaryKeyConstraint("hash", name="pk_ask_links"),
        sa.ForeignKeyConstraint(["ask_id"], ["asks.id"], name="fk_ask_links_ask_id", ondelete="CASCADE"),
    )
    op.create_index("ix_ask_links_ask", "ask_links", ["ask_id"])
    op.add_column("turns", sa.Column("confirm", sa.Boolean()))


def downgrade() -> None:
    op.drop_column("turns", "confirm")
    op.drop_table("ask_links")
