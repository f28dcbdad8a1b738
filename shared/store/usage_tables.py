"""Tables of what turns used and what tenants may spend. `tables.py` has the others; both share its `metadata`."""

from __future__ import annotations

import sqlalchemy as sa

from shared.store.external_tables import metadata as metadata  # noqa: PLC0414 - whoever needs every table imports it here
from shared.store.types import UTC

turn_usage = sa.Table(
    "turn_usage",
    metadata,
    sa.Column("turn_id", sa.Text, primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True, autoincrement=False),
    # No foreign keys: retention takes sessions and turns, and what they cost stays.
    sa.Column("session_id", sa.Text, nullable=False),
    sa.Column("tenant_id", sa.Text, nullable=False),
    sa.Column("key_id", sa.Text),
    sa.Column("agent", sa.Text, nullable=False),
    sa.Column("model", sa.Text),
    sa.Column("status", sa.Text, nullable=False),
    # The UTC day on which it ended, as 2026-01-31.
    sa.Column("day", sa.Text, nullable=False),
    sa.Column("ended_at", UTC, nullable=False),
    sa.Column("input_tokens", sa.BigInteger, nullable=False),
    sa.Column("output_tokens", sa.BigInteger, nullable=False),
    sa.Column("cache_read_tokens", sa.BigInteger, nullable=False),
    sa.Column("cache_write_tokens", sa.BigInteger, nullable=False),
    # Null: nobody knows.
    sa.Column("cost_micro_usd", sa.BigInteger),
    sa.Column("cost_source", sa.Text),
    # Without the time a human was waited for.
    sa.Column("turn_ms", sa.BigInteger, nullable=False),
    sa.Column("waited_ms", sa.BigInteger, nullable=False),
    sa.Index("ix_turn_usage_tenant_day", "tenant_id", "day"),
    sa.Index("ix_turn_usage_session", "session_id"),
    sqlite_with_rowid=False,
)

budgets = sa.Table(
    "budgets",
    metadata,
    # Its row lock orders the beginnings of the tenant's turns.
    sa.Column("tenant_id", sa.Text, sa.ForeignKey("tenants.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("day_micro_usd", sa.BigInteger, nullable=False),
    sa.Column("turn_micro_usd", sa.BigInteger, nullable=False),
    sa.Column("on_budget", sa.Text, nullable=False),
    # What humans added to it on one day.
    sa.Column("lifted_day", sa.Text),
    sa.Column("lifted_micro_usd", sa.BigInteger, nullable=False, default=0),
    # The day on which it was last said that it is nearly spent.
    sa.Column("warned_day", sa.Text),
    sa.Column("updated_at", UTC, nullable=False),
)

reservations = sa.Table(
    "reservations",
    metadata,
    sa.Column("turn_id", sa.Text, sa.ForeignKey("turns.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("tenant_id", sa.Text, nullable=False),
    sa.Column("micro_usd", sa.BigInteger, nullable=False),
    sa.Index("ix_reservations_tenant", "tenant_id"),
)
