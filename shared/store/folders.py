"""Existing folders living sessions work in. Their own rows are the list, so a folder is free when its session ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from shared.domain.ids import SessionId, TenantId
from shared.domain.json import JsonObject
from shared.domain.session import SessionStatus
from shared.store.database import Connection
from shared.store.tables import heads, sessions

_LOCK_KEY = 0x636F7272616C_01
"""The advisory lock of whoever looks and then takes, in two statements."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A living session of a kind whose places may be folders that were there before."""

    session: SessionId
    tenant: TenantId
    workspace: JsonObject
    volume_id: str | None


def lock(connection: Connection) -> None:
    """Until the transaction ends nobody else takes a folder. On SQLite the writing transaction itself is the lock."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK_KEY)))


def holders(connection: Connection, kind: str) -> Sequence[Holder]:
    """All living sessions in workspaces of `kind`, of every tenant, the oldest first."""
    rows = connection.execute(
        sa.select(heads.c.session_id, heads.c.tenant_id, heads.c.volume_id, sessions.c.workspace)
        .join(sessions, sessions.c.id == heads.c.session_id)
        .where(heads.c.status != SessionStatus.ENDED, sessions.c.workspace_kind == kind)
        .order_by(sessions.c.created_at, sessions.c.id)
    )
    return [
        Holder(SessionId(row.session_id), TenantId(row.tenant_id), row.workspace, row.volume_id)
        for row in rows
        if row.workspace.get("path") is not None
    ]
