"""External sessions: who may report, their sessions, and the reports that were taken."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
JSON_TEXT = sa.Text()


def upgrade() -> None:
    op.add_column("heads", sa.Column("external", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_table(
        "reporters",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("token_hash", sa.Text(), nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("title", sa.Text()),
        sa.Column("metadata", JSON_TEXT, nullable=False),
        sa.Column("folder", sa.Text()),
        sa.Column("heartbeat_s", sa.Float()),
        sa.Column("remote_approval", sa.Boolean(), nullable=False),
        sa.Column("ask_timeout_s", sa.Float(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_reporters"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_reporters_tenant_id"),
        sa.UniqueConstraint("token_hash", name="uq_reporters_token_hash"),
    )
    op.create_table(
        "external_sessions",
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("reporter_id", sa.Text(), nullable=False),
        sa.Column("agent_session_id", sa.Text()),
        sa.Column("open_calls", JSON_TEXT, nullable=False),
        sa.Column("lapse_at", MOMENT),
        sa.PrimaryKeyConstraint("session_id", name="pk_external_sessions"),
        sa.ForeignKeyConstraint(
            ["session_id"], ["sessions.id"], name="fk_external_sessions_session_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_external_sessions_reporter", "external_sessions", ["reporter_id", "agent_session_id"])
    op.create_index("ix_external_sessions_lapse", "external_sessions", ["lapse_at"])
    op.create_table(
        "reports",
        sa.Column("reporter_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("body_hash", sa.Text(), nullable=False),
        sa.Column("ask_id", sa.Text()),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("reporter_id", "id", name="pk_reports"),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"], name="fk_reports_session_id", ondelete="CASCADE"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_reports_session", "reports", ["session_id"])


def downgrade() -> None:
    op.drop_table("reports")
    op.drop_table("external_sessions")
    op.drop_table("reporters")
    op.drop_column("heads", "external")
