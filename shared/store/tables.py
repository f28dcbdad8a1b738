"""Every table of the store. Migrations under `migrations/versions/` must match; a test compares them.

Facts that order a session's life (`heads`, `inputs`, `events`) are apart from what a caller may edit (`sessions`).
"""

from __future__ import annotations

import sqlalchemy as sa

from shared.store.types import UTC, Json

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    }
)

tenants = sa.Table(
    "tenants",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    # Sealed; signs callbacks that name no endpoint.
    sa.Column("callback_secret", sa.Text, nullable=False),
    sa.Column("created_at", UTC, nullable=False),
)

keys = sa.Table(
    "keys",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("tenant_id", sa.Text, sa.ForeignKey("tenants.id"), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("hash", sa.Text, nullable=False, unique=True),
    sa.Column("scopes", Json, nullable=False),
    sa.Column("created_at", UTC, nullable=False),
    sa.Column("expires_at", UTC),
    sa.Column("revoked_at", UTC),
    sa.Column("last_used_at", UTC),
)

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("tenant_id", sa.Text, sa.ForeignKey("tenants.id"), nullable=False),
    sa.Column("key_id", sa.Text),
    sa.Column("agent", sa.Text, nullable=False),
    sa.Column("workspace_kind", sa.Text, nullable=False),
    sa.Column("workspace", Json, nullable=False),
    sa.Column("mode", sa.Text, nullable=False),
    sa.Column("model", sa.Text),
    sa.Column("title", sa.Text),
    sa.Column("metadata", Json, nullable=False),
    # Sealed: callers put keys in there.
    sa.Column("env", sa.Text, nullable=False),
    sa.Column("mcp_servers", sa.Text, nullable=False),
    sa.Column("allowed_domains", Json, nullable=False),
    sa.Column("limits", Json, nullable=False),
    sa.Column("on_worker_loss", sa.Text, nullable=False),
    sa.Column("ask_timeout_s", sa.Float, nullable=False),
    # Null: stop.
    sa.Column("on_budget", sa.Text),
    sa.Column("version", sa.Integer, nullable=False, default=1),
    sa.Column("agent_session_id", sa.Text),
    # The agent's conversation it begins with (fork, attach); null: a fresh one.
    sa.Column("origin", Json),
    sa.Column("turns_started", sa.Integer, nullable=False, default=0),
    sa.Column("cost_usd", sa.Float, nullable=False, default=0.0),
    sa.Column("created_at", UTC, nullable=False),
    sa.Column("updated_at", UTC, nullable=False),
    sa.Index("ix_sessions_tenant_created", "tenant_id", "created_at"),
)

heads = sa.Table(
    "heads",
    metadata,
    sa.Column("session_id", sa.Text, sa.ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("tenant_id", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    # The incarnation that hosts it, and the fence: every append by an owner names the epoch.
    sa.Column("owner", sa.Text),
    sa.Column("epoch", sa.BigInteger, nullable=False, default=0),
    sa.Column("last_seq", sa.BigInteger, nullable=False, default=0),
    # Number of the owner's last committed batch in this epoch: makes a retry after a COMMIT of unknown outcome safe.
    sa.Column("batch", sa.BigInteger, nullable=False, default=0),
    # Oldest seq still held; retention raises it.
    sa.Column("first_seq", sa.BigInteger, nullable=False, default=1),
    sa.Column("last_input", sa.BigInteger, nullable=False, default=0),
    # Inputs up to here have been taken into account by an owner.
    sa.Column("done_input", sa.BigInteger, nullable=False, default=0),
    # Null until a worker first opens the workspace; then only workers of this volume may claim it.
    sa.Column("volume_id", sa.Text),
    sa.Column("portable", sa.Boolean, nullable=False, default=False),
    # Somebody else runs its agent: no worker ever claims it, and its log is written by reports.
    sa.Column("external", sa.Boolean, nullable=False, default=False, server_default=sa.false()),
    # Set while something waits to be hosted: when it began to wait. Claim order and no_capacity come from it.
    sa.Column("wanted_at", UTC),
    # A session nobody could take by then ends no_capacity.
    sa.Column("start_by", UTC),
    # Lifetime limit, if any.
    sa.Column("end_by", UTC),
    sa.Column("last_event_at", UTC),
    sa.Column("ended_at", UTC),
    sa.Column("end_reason", sa.Text),
    sa.Column("end_detail", sa.Text),
    sa.Index("ix_heads_tenant_status", "tenant_id", "status"),
    sa.Index("ix_heads_owner", "owner"),
    sa.Index("ix_heads_wanted", "wanted_at"),
    sa.Index("ix_heads_end_by", "end_by"),
)

inputs = sa.Table(
    "inputs",
    metadata,
    sa.Column("session_id", sa.Text, sa.ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("n", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("turn_id", sa.Text),
    sa.Column("ask_id", sa.Text),
    sa.Column("data", Json, nullable=False),
    sa.Column("created_at", UTC, nullable=False),
    sqlite_with_rowid=False,
)

turns = sa.Table(
    "turns",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("session_id", sa.Text, sa.ForeignKey("sessions.id", ondelete="CASCADE"), nullable=False),
    sa.Column("tenant_id", sa.Text, nullable=False),
    sa.Column("position", sa.Float, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("callback_url", sa.Text),
    sa.Column("attempt", sa.Integer, nullable=False, default=1),
    sa.Column("created_at", UTC, nullable=False),
    sa.Column("started_at", UTC),
    sa.Column("ended_at", UTC),
    sa.Column("stop_reason", sa.Text),
    sa.Column("result_text", sa.Text),
    sa.Column("error", sa.Text),
    sa.Column("usage", Json),
    sa.Column("cost_usd", sa.Float),
    # The slash command this turn is; null: a prompt.
    sa.Column("command", sa.Text),
    # Null where a release before checkpoints made it.
    sa.Column("confirm", sa.Boolean),
    sa.Column("cost_source", sa.Text),
    sa.Index("ix_turns_session_position", "session_id", "position"),
    sa.Index("ix_turns_session_status", "session_id", "status"),
)

events = sa.Table(
    "events",
    metadata,
    sa.Column("session_id", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("turn_id", sa.Text),
    # Text as rendered (RFC 3339, fixed width): the log is read far more often than compared by time.
    sa.Column("created_at", sa.Text, nullable=False),
    sa.Column("data", sa.Text, nullable=False),
    sqlite_with_rowid=False,
)

blobs = sa.Table(
    "blobs",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("session_id", sa.Text, sa.ForeignKey("sessions.id", ondelete="CASCADE"), nullable=False),
    sa.Column("media_type", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
    sa.Column("created_at", UTC, nullable=False),
    sa.Index("ix_blobs_session", "session_id"),
)

asks = sa.Table(
    "asks",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("session_id", sa.Text, sa.ForeignKey("sessions.id", ondelete="CASCADE"), nullable=False),
    sa.Column("tenant_id", sa.Text, nullable=False),
    sa.Column("turn_id", sa.Text),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("ref", sa.Text, nullable=False),
    sa.Column("data", Json, nullable=False),
    sa.Column("answer", Json),
    sa.Column("answered_by", sa.Text),
    sa.Column("answered_via", sa.Text),
    sa.Column("created_at", UTC, nullable=False),
    sa.Column("expires_at", UTC),
    sa.Column("resolved_at", UTC),
    sa.Index("ix_asks_session", "session_id", "status"),
    sa.Index("ix_asks_tenant", "tenant_id", "status", "created_at"),
    sa.Index("ix_asks_expiry", "status", "expires_at"),
)

ask_links = sa.Table(
    "ask_links",
    metadata,
    # Keyed hash of the secret in the address, which is kept nowhere.
    sa.Column("hash", sa.Text, primary_key=True),
    sa.Column("ask_id", sa.Text, sa.ForeignKey("asks.id", ondelete="CASCADE"), nullable=False),
    sa.Column("tenant_id", sa.Text, nullable=False),
    sa.Column("key_id", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("created_at", UTC, nullable=False),
    sa.Column("expires_at", UTC, nullable=False),
    sa.Column("used_at", UTC),
    sa.Index("ix_ask_links_ask", "ask_id"),
)

transcripts = sa.Table(
    "transcripts",
    metadata,
    sa.Column("session_id", sa.Text, sa.ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("n", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("agent_session_id", sa.Text, nullable=False),
    # JSON lines, as the agent wrote them.
    sa.Column("entries", sa.Text, nullable=False),
    sqlite_with_rowid=False,
)

workers = sa.Table(
    "workers",
    metadata,
    sa.Column("incarnation", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    # worker or delivery: both hold things under a lease that lapses with their beat.
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("volume_id", sa.Text),
    sa.Column("address", sa.Text),
    sa.Column("capacity", sa.Integer, nullable=False, default=0),
    sa.Column("used", sa.Integer, nullable=False, default=0),
    sa.Column("beat", sa.BigInteger, nullable=False, default=0),
    sa.Column("agents", Json, nullable=False),
    sa.Column("started_at", UTC, nullable=False),
    sa.Column("beat_at", UTC, nullable=False),
    sa.Index("ix_workers_role_state", "role", "state"),
)

endpoints = sa.Table(
    "endpoints",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("tenant_id", sa.Text, sa.ForeignKey("tenants.id"), nullable=False),
    # tenant (all its sessions), session (made with one session), turn (a callback_url: one finished turn, once).
    sa.Column("scope", sa.Text, nullable=False),
    sa.Column("session_id", sa.Text, sa.ForeignKey("sessions.id", ondelete="CASCADE")),
    sa.Column("turn_id", sa.Text),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("description", sa.Text),
    # Sealed.
    sa.Column("secret", sa.Text, nullable=False),
    sa.Column("old_secret", sa.Text),
    sa.Column("old_secret_until", UTC),
    sa.Column("event_types", Json, nullable=False),
    # Sealed: callers put tokens in there.
    sa.Column("headers", sa.Text, nullable=False),
    sa.Column("concurrency", sa.Integer),
    sa.Column("rate_per_s", sa.Float),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("disabled_reason", sa.Text),
    sa.Column("failing_since", UTC),
    sa.Column("version", sa.Integer, nullable=False, default=1),
    sa.Column("created_at", UTC, nullable=False),
    sa.Column("updated_at", UTC, nullable=False),
    sa.Index("ix_endpoints_tenant", "tenant_id", "scope", "status"),
    sa.Index("ix_endpoints_session", "session_id"),
    # Delivery processes ask every second what changed.
    sa.Index("ix_endpoints_updated", "updated_at"),
)

lanes = sa.Table(
    "lanes",
    metadata,
    sa.Column("endpoint_id", sa.Text, sa.ForeignKey("endpoints.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("session_id", sa.Text, sa.ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("owner", sa.Text),
    sa.Column("epoch", sa.BigInteger, nullable=False, default=0),
    # All events up to here are delivered, filtered out, or dead.
    sa.Column("cursor", sa.BigInteger, nullable=False, default=0),
    # Seq of the last event that was in an earlier cut of this lane; the next cut's prev_seq.
    sa.Column("sent_seq", sa.BigInteger, nullable=False, default=0),
    # Not before then: the running retry's time.
    sa.Column("due_at", UTC),
    # No more events will come: the session has ended and all is delivered.
    sa.Column("closed", sa.Boolean, nullable=False, default=False),
    sa.Index("ix_lanes_session", "session_id"),
    sa.Index("ix_lanes_owner", "owner"),
    sqlite_with_rowid=False,
)

deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("tenant_id", sa.Text, nullable=False),
    sa.Column("endpoint_id", sa.Text, sa.ForeignKey("endpoints.id", ondelete="CASCADE"), nullable=False),
    sa.Column("session_id", sa.Text),
    # events (a cut), turn (the flat finished turn), test
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("first_seq", sa.BigInteger),
    sa.Column("last_seq", sa.BigInteger),
    sa.Column("prev_seq", sa.BigInteger),
    # Seqs of the cut when the endpoint filters; null means all from first to last.
    sa.Column("seqs", Json),
    # Version of the renderer, so that a retry after an upgrade sends the same bytes.
    sa.Column("render", sa.Integer, nullable=False, default=1),
    # Only for tests: a cut is rendered from the log.
    sa.Column("body", sa.Text),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("next_attempt_at", UTC),
    sa.Column("created_at", UTC, nullable=False),
    sa.Column("delivered_at", UTC),
    sa.Column("dead_reason", sa.Text),
    sa.Index("ix_deliveries_endpoint", "endpoint_id", "created_at"),
    sa.Index("ix_deliveries_lane", "endpoint_id", "session_id", "status"),
    sa.Index("ix_deliveries_due", "status", "next_attempt_at"),
)

attempts = sa.Table(
    "attempts",
    metadata,
    sa.Column("delivery_id", sa.Text, sa.ForeignKey("deliveries.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("n", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("status_code", sa.Integer),
    sa.Column("error", sa.Text),
    sa.Column("duration_s", sa.Float, nullable=False),
    sa.Column("response", sa.Text),
    sa.Column("at", UTC, nullable=False),
    sqlite_with_rowid=False,
)

batches = sa.Table(
    "batches",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("tenant_id", sa.Text, sa.ForeignKey("tenants.id"), nullable=False),
    sa.Column("key_id", sa.Text),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("concurrency", sa.Integer, nullable=False),
    sa.Column("total", sa.Integer, nullable=False),
    sa.Column("metadata", Json, nullable=False),
    sa.Column("created_at", UTC, nullable=False),
    # Null while anything is left to be done for it, also after a cancel.
    sa.Column("ended_at", UTC),
    sa.Index("ix_batches_tenant_created", "tenant_id", "created_at"),
    sa.Index("ix_batches_ended", "ended_at"),
)

batch_items = sa.Table(
    "batch_items",
    metadata,
    sa.Column("batch_id", sa.Text, sa.ForeignKey("batches.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("n", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    # No foreign keys: a caller may name what does not exist, and retention takes sessions before batches.
    sa.Column("session_id", sa.Text),
    sa.Column("turn_id", sa.Text),
    # Sealed, since a session's environment is in there; null as soon as nobody needs it any more.
    sa.Column("wish", sa.Text),
    # The running turn of a cancelled batch was asked to stop.
    sa.Column("stopped", sa.Boolean, nullable=False, default=False),
    sa.Column("error_code", sa.Text),
    sa.Column("error_message", sa.Text),
    sa.Column("started_at", UTC),
    sa.Column("ended_at", UTC),
    sa.Index("ix_batch_items_status", "batch_id", "status", "n"),
    sqlite_with_rowid=False,
)

idempotency = sa.Table(
    "idempotency",
    metadata,
    sa.Column("tenant_id", sa.Text, primary_key=True),
    # Method and path; the same key on another route is another key.
    sa.Column("route", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("body_hash", sa.Text, nullable=False),
    sa.Column("status", sa.Integer, nullable=False),
    sa.Column("reply", sa.Text, nullable=False),
    sa.Column("created_at", UTC, nullable=False),
    sa.Index("ix_idempotency_created", "created_at"),
)
