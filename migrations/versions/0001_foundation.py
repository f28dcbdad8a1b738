"""The first tables: sessions and their logs, workers, webhooks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# A migration says what it did on the day it was written: it never imports the tables of today.
MOMENT = sa.DateTime(timezone=True)
JSON_TEXT = sa.Text()


def upgrade() -> None:
    _create_tenants_and_keys()
    _create_sessions()
    _create_heads()
    _create_inputs_and_events()
    _create_turns_and_asks()
    _create_workers_and_idempotency()
    _create_endpoints_and_lanes()
    _create_deliveries()


def downgrade() -> None:
    for table in TABLES:
        op.drop_table(table)


TABLES = (
    "attempts",
    "deliveries",
    "lanes",
    "endpoints",
    "idempotency",
    "workers",
    "asks",
    "turns",
    "blobs",
    "transcripts",
    "events",
    "inputs",
    "heads",
    "sessions",
    "keys",
    "tenants",
)
"""Newest first: nothing is dropped while another table still refers to it."""


def _create_tenants_and_keys() -> None:
    op.create_table(
        "tenants",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("callback_secret", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_tenants"),
    )
    op.create_table(
        "keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("scopes", JSON_TEXT, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT),
        sa.Column("revoked_at", MOMENT),
        sa.Column("last_used_at", MOMENT),
        sa.PrimaryKeyConstraint("id", name="pk_keys"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_keys_tenant_id"),
        sa.UniqueConstraint("hash", name="uq_keys_hash"),
    )


def _create_sessions() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text()),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("workspace_kind", sa.Text(), nullable=False),
        sa.Column("workspace", JSON_TEXT, nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("model", sa.Text()),
        sa.Column("title", sa.Text()),
        sa.Column("metadata", JSON_TEXT, nullable=False),
        sa.Column("env", sa.Text(), nullable=False),
        sa.Column("mcp_servers", sa.Text(), nullable=False),
        sa.Column("allowed_domains", JSON_TEXT, nullable=False),
        sa.Column("limits", JSON_TEXT, nullable=False),
        sa.Column("on_worker_loss", sa.Text(), nullable=False),
        sa.Column("ask_timeout_s", sa.Float(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("agent_session_id", sa.Text()),
        sa.Column("turns_started", sa.Integer(), nullable=False),
        sa.Column("cost_usd", sa.Float(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_sessions"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_sessions_tenant_id"),
    )
    op.create_index("ix_sessions_tenant_created", "sessions", ["tenant_id", "created_at"])


def _create_heads() -> None:
    op.create_table(
        "heads",
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text()),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.Column("batch", sa.BigInteger(), nullable=False),
        sa.Column("first_seq", sa.BigInteger(), nullable=False),
        sa.Column("last_input", sa.BigInteger(), nullable=False),
        sa.Column("done_input", sa.BigInteger(), nullable=False),
        sa.Column("volume_id", sa.Text()),
        sa.Column("portable", sa.Boolean(), nullable=False),
        sa.Column("wanted_at", MOMENT),
        sa.Column("start_by", MOMENT),
        sa.Column("end_by", MOMENT),
        sa.Column("last_event_at", MOMENT),
        sa.Column("ended_at", MOMENT),
        sa.Column("end_reason", sa.Text()),
        sa.Column("end_detail", sa.Text()),
        sa.PrimaryKeyConstraint("session_id", name="pk_heads"),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"], name="fk_heads_session_id", ondelete="CASCADE"),
    )
    op.create_index("ix_heads_end_by", "heads", ["end_by"])
    op.create_index("ix_heads_owner", "heads", ["owner"])
    op.create_index("ix_heads_tenant_status", "heads", ["tenant_id", "status"])
    op.create_index("ix_heads_wanted", "heads", ["wanted_at"])


def _create_inputs_and_events() -> None:
    op.create_table(
        "inputs",
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("turn_id", sa.Text()),
        sa.Column("ask_id", sa.Text()),
        sa.Column("data", JSON_TEXT, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("session_id", "n", name="pk_inputs"),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"], name="fk_inputs_session_id", ondelete="CASCADE"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "events",
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("turn_id", sa.Text()),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("session_id", "seq", name="pk_events"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "transcripts",
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("agent_session_id", sa.Text(), nullable=False),
        sa.Column("entries", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("session_id", "n", name="pk_transcripts"),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"], name="fk_transcripts_session_id", ondelete="CASCADE"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "blobs",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_blobs"),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"], name="fk_blobs_session_id", ondelete="CASCADE"),
    )
    op.create_index("ix_blobs_session", "blobs", ["session_id"])


def _create_turns_and_asks() -> None:
    op.create_table(
        "turns",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("position", sa.Float(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("callback_url", sa.Text()),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("started_at", MOMENT),
        sa.Column("ended_at", MOMENT),
        sa.Column("stop_reason", sa.Text()),
        sa.Column("result_text", sa.Text()),
        sa.Column("error", sa.Text()),
        sa.Column("usage", JSON_TEXT),
        sa.Column("cost_usd", sa.Float()),
        sa.PrimaryKeyConstraint("id", name="pk_turns"),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"], name="fk_turns_session_id", ondelete="CASCADE"),
    )
    op.create_index("ix_turns_session_position", "turns", ["session_id", "position"])
    op.create_index("ix_turns_session_status", "turns", ["session_id", "status"])
    op.create_table(
        "asks",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("turn_id", sa.Text()),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("ref", sa.Text(), nullable=False),
        sa.Column("data", JSON_TEXT, nullable=False),
        sa.Column("answer", JSON_TEXT),
        sa.Column("answered_by", sa.Text()),
        sa.Column("answered_via", sa.Text()),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT),
        sa.Column("resolved_at", MOMENT),
        sa.PrimaryKeyConstraint("id", name="pk_asks"),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"], name="fk_asks_session_id", ondelete="CASCADE"),
    )
    op.create_index("ix_asks_expiry", "asks", ["status", "expires_at"])
    op.create_index("ix_asks_session", "asks", ["session_id", "status"])
    op.create_index("ix_asks_tenant", "asks", ["tenant_id", "status", "created_at"])


def _create_workers_and_idempotency() -> None:
    op.create_table(
        "workers",
        sa.Column("incarnation", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("volume_id", sa.Text()),
        sa.Column("address", sa.Text()),
        sa.Column("capacity", sa.Integer(), nullable=False),
        sa.Column("used", sa.Integer(), nullable=False),
        sa.Column("beat", sa.BigInteger(), nullable=False),
        sa.Column("agents", JSON_TEXT, nullable=False),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("beat_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("incarnation", name="pk_workers"),
    )
    op.create_index("ix_workers_role_state", "workers", ["role", "state"])
    op.create_table(
        "idempotency",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("body_hash", sa.Text(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("reply", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "route", "key", name="pk_idempotency"),
    )
    op.create_index("ix_idempotency_created", "idempotency", ["created_at"])


def _create_endpoints_and_lanes() -> None:
    op.create_table(
        "endpoints",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text()),
        sa.Column("turn_id", sa.Text()),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("description", sa.Text()),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("old_secret", sa.Text()),
        sa.Column("old_secret_until", MOMENT),
        sa.Column("event_types", JSON_TEXT, nullable=False),
        sa.Column("headers", sa.Text(), nullable=False),
        sa.Column("concurrency", sa.Integer()),
        sa.Column("rate_per_s", sa.Float()),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("disabled_reason", sa.Text()),
        sa.Column("failing_since", MOMENT),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_endpoints"),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"], name="fk_endpoints_session_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_endpoints_tenant_id"),
    )
    op.create_index("ix_endpoints_session", "endpoints", ["session_id"])
    op.create_index("ix_endpoints_tenant", "endpoints", ["tenant_id", "scope", "status"])
    op.create_index("ix_endpoints_updated", "endpoints", ["updated_at"])
    op.create_table(
        "lanes",
        sa.Column("endpoint_id", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text()),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("cursor", sa.BigInteger(), nullable=False),
        sa.Column("sent_seq", sa.BigInteger(), nullable=False),
        sa.Column("due_at", MOMENT),
        sa.Column("closed", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("endpoint_id", "session_id", name="pk_lanes"),
        sa.ForeignKeyConstraint(["endpoint_id"], ["endpoints.id"], name="fk_lanes_endpoint_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"], name="fk_lanes_session_id", ondelete="CASCADE"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_lanes_owner", "lanes", ["owner"])
    op.create_index("ix_lanes_session", "lanes", ["session_id"])


def _create_deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("endpoint_id", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text()),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("first_seq", sa.BigInteger()),
        sa.Column("last_seq", sa.BigInteger()),
        sa.Column("prev_seq", sa.BigInteger()),
        sa.Column("seqs", JSON_TEXT),
        sa.Column("render", sa.Integer(), nullable=False),
        sa.Column("body", sa.Text()),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", MOMENT),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("delivered_at", MOMENT),
        sa.Column("dead_reason", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_deliveries"),
        sa.ForeignKeyConstraint(
            ["endpoint_id"], ["endpoints.id"], name="fk_deliveries_endpoint_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_deliveries_due", "deliveries", ["status", "next_attempt_at"])
    op.create_index("ix_deliveries_endpoint", "deliveries", ["endpoint_id", "created_at"])
    op.create_index("ix_deliveries_lane", "deliveries", ["endpoint_id", "session_id", "status"])
    op.create_table(
        "attempts",
        sa.Column("delivery_id", sa.Text(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("status_code", sa.Integer()),
        sa.Column("error", sa.Text()),
        sa.Column("duration_s", sa.Float(), nullable=False),
        sa.Column("response", sa.Text()),
        sa.Column("at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("delivery_id", "n", name="pk_attempts"),
        sa.ForeignKeyConstraint(["delivery_id"], ["deliveries.id"], name="fk_attempts_delivery_id", ondelete="CASCADE"),
        sqlite_with_rowid=False,
    )
