"""Blobs: values too large for an event, kept beside the log and linked from it."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from shared.domain.ids import BlobId, SessionId, TenantId
from shared.store.database import Connection
from shared.store.inserting import insert_if_new
from shared.store.tables import blobs, sessions


def create(
    connection: Connection, *, id: BlobId, session: SessionId, media_type: str, content: bytes, at: datetime
) -> None:
    """Keep `content` under `id`. Safe to repeat: content never changes, the first one stays."""
    row = {
        "id": id,
        "session_id": session,
        "media_type": media_type,
        "size": len(content),
        "content": content,
        "created_at": at,
    }
    insert_if_new(connection, blobs, row)


def read(connection: Connection, tenant: TenantId, session: SessionId, blob_id: BlobId) -> tuple[str, bytes] | None:
    """Media type and content of a blob of the tenant's session; None for one that is missing or somebody else's."""
    row = connection.execute(
        sa.select(blobs.c.media_type, blobs.c.content)
        .join(sessions, sessions.c.id == blobs.c.session_id)
        .where(blobs.c.id == blob_id, blobs.c.session_id == session, sessions.c.tenant_id == tenant)
    ).one_or_none()
    return None if row is None else (row.media_type, bytes(row.content))
