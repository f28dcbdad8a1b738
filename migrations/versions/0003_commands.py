"""Turns that are slash commands, and sessions that begin with an earlier conversation."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

JSON_TEXT = sa.Text()


def upgrade() -> None:
    op.add_column("turns", sa.Column("command", sa.Text()))
    op.add_column("sessions", sa.Column("origin", JSON_TEXT))


def downgrade() -> None:
    op.drop_column("sessions", "origin")
    op.drop_column("turns", "command")
