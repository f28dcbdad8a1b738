"""The tables of external sessions, beside those of `tables.py`. Who needs every table takes `metadata` from here."""

from __future__ import annotations

import sqlalchemy as sa

from shared.store import tables
from shared.store.types import UTC, Json

metadata = tables.metadata

reporters = sa.Table(
    "reporters",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("tenant_id", sa.Text, sa.ForeignKey("tenants.id"), nullable=False),
    sa.Column("token_hash", sa.Text, nullable=False, unique=True),
    # What its sessions are made of.
    sa.Column("agent", sa.Text, nullable=False),
    sa.Column("title", sa.Text),
    sa.Column("metadata", Json, nullable=False),
    sa.Column("folder", sa.Text),
    sa.Column("heartbeat_s", sa.Float),
    sa.Column("remote_approval", sa.Boolean, nullable=False, default=False),
    sa.Column("ask_timeout_s", sa.Float, nullable=False),
    sa.Column("created_at", UTC, nullable=False),
)

external_sessions = sa.Table(
    "external_sessions",
    metadata,
    sa.Column("session_id", sa.Text, sa.ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
    # No foreign key: a token is withdrawn by removing its reporter, and the sessions stay.
    sa.Column("reporter_id", sa.Text, nullable=False),
    sa.Column("agent_session_id", sa.Text),
    sa.Column("open_calls", Json, nullable=False),
    # Nothing heard by then: it has ended.
    sa.Column("lapse_at", UTC),
    sa.Index("ix_external_sessions_reporter", "reporter_id", "agent_session_id"),
    sa.Index("ix_external_sessions_lapse", "lapse_at"),
)

reports = sa.Table(
    "reports",
    metadata,
    sa.Column("reporter_id", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("session_id", sa.Text, sa.ForeignKey("sessions.id", ondelete="CASCADE"), nullable=False),
    sa.Column("body_hash", sa.Text, nullable=False),
    # The ask it opened, whose answer is the report's.
    sa.Column("ask_id", sa.Text),
    sa.Column("created_at", UTC, nullable=False),
    sa.Index("ix_reports_session", "session_id"),
    sqlite_with_rowid=False,
)
