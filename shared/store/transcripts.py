"""Mirrors of agents' own transcripts: with them another worker can resume the conversation."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from shared.domain.event import storable
from shared.domain.ids import SessionId
from shared.store.database import Connection
from shared.store.tables import transcripts


def append(connection: Connection, session: SessionId, agent_session_id: str, entries: Sequence[str]) -> None:
    """Add entries, each one JSON line, behind those of the session. Not idempotent: as an effect of a fenced append.

    Raises:
        ValueError: an entry holds a line break, so it would come back as two.
    """
    lines = [entry.rstrip("\n") for entry in entries]
    if any("\n" in line for line in lines):
        raise ValueError("a transcript entry is one line")
    if not lines:
        return
    last = connection.execute(
        sa.select(sa.func.coalesce(sa.func.max(transcripts.c.n), 0)).where(transcripts.c.session_id == session)
    ).scalar_one()
    connection.execute(
        transcripts.insert().values(
            session_id=session, n=last + 1, agent_session_id=agent_session_id, entries=storable("\n".join(lines))
        )
    )


def copy(connection: Connection, source: SessionId, target: SessionId, agent_session_id: str) -> None:
    """Give the new session `target` all entries of one conversation of `source`."""
    rows = connection.execute(
        sa.select(transcripts.c.entries)
        .where(transcripts.c.session_id == source, transcripts.c.agent_session_id == agent_session_id)
        .order_by(transcripts.c.n)
    ).scalars()
    copies = [
        {"session_id": target, "n": n, "agent_session_id": agent_session_id, "entries": entries}
        for n, entries in enumerate(rows, start=1)
    ]
    if copies:
        connection.execute(transcripts.insert(), copies)


def read(connection: Connection, session: SessionId, agent_session_id: str) -> list[str]:
    """All entries of one conversation of the agent, in order; empty where nothing was mirrored."""
    rows = connection.execute(
        sa.select(transcripts.c.entries)
        .where(transcripts.c.session_id == session, transcripts.c.agent_session_id == agent_session_id)
        .order_by(transcripts.c.n)
    ).scalars()
    return [line for entries in rows for line in entries.split("\n")]
