"""Rows of the log. Numbers come from the head row; appending is done through `shared/events` alone."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from shared.domain.clock import to_text
from shared.domain.event import Event
from shared.domain.ids import SessionId, TenantId, TurnId
from shared.store.database import Connection
from shared.store.tables import events, heads

PAGE = 500
"""Most events read in one query."""

_COLUMNS = (
    events.c.session_id,
    events.c.seq,
    events.c.type,
    events.c.turn_id,
    events.c.created_at,
    events.c.data,
)


def insert(connection: Connection, batch: Sequence[Event]) -> None:
    """Write numbered events. The caller holds the lock of each session's head."""
    connection.execute(
        events.insert(),
        [
            {
                "session_id": one.session,
                "seq": one.seq,
                "type": one.type,
                "turn_id": one.turn,
                "created_at": one.created_at,
                "data": one.data,
            }
            for one in batch
        ],
    )


def between(connection: Connection, session: SessionId, after: int, upto: int) -> list[Event]:
    """Events with after < seq <= upto, in order.

    Bounded from both sides rather than by LIMIT: seq has no holes, and a bounded range cannot be
    planned badly (a LIMIT was planned as a sort of everything behind the cursor on fresh tables).
    """
    rows = connection.execute(
        sa.select(*_COLUMNS)
        .where(events.c.session_id == session, events.c.seq > after, events.c.seq <= upto)
        .order_by(events.c.seq)
    )
    return [_event(row) for row in rows]


def page(
    connection: Connection, session: SessionId, after: int, limit: int, types: Collection[str] = ()
) -> list[Event]:
    """Up to `limit` events beyond `after`; with `types` only those, however far behind they lie."""
    if not types:
        return between(connection, session, after, after + limit)
    rows = connection.execute(
        sa.select(*_COLUMNS)
        .where(events.c.session_id == session, events.c.seq > after, events.c.type.in_(list(types)))
        .order_by(events.c.seq)
        .limit(limit)
    )
    return [_event(row) for row in rows]


def latest(connection: Connection, session: SessionId, before: int, limit: int) -> list[Event]:
    """Up to `limit` events with seq < before, newest first."""
    rows = connection.execute(
        sa.select(*_COLUMNS)
        .where(events.c.session_id == session, events.c.seq < before, events.c.seq >= before - limit)
        .order_by(events.c.seq.desc())
    )
    return [_event(row) for row in rows]


def last_before(connection: Connection, session: SessionId, moment: datetime, *, low: int, high: int) -> int:
    """The last seq of those in (low, high] made before `moment`; `low` where there is none.

    Times of one log rise with seq, so this halves its way: some twenty point reads in a log of a million.
    """
    text = to_text(moment)
    while low < high:
        middle = (low + high + 1) // 2
        made = connection.execute(
            sa.select(events.c.created_at).where(events.c.session_id == session, events.c.seq == middle)
        ).scalar_one_or_none()
        if made is None or made < text:
            low = middle
        else:
            high = middle - 1
    return low


def active_sessions(
    connection: Connection, tenant: TenantId, limit: int, offset: int = 0
) -> Sequence[tuple[SessionId, int]]:
    """Sessions of a tenant with their last seq, the most lately active first."""
    rows = connection.execute(
        sa.select(heads.c.session_id, heads.c.last_seq)
        .where(heads.c.tenant_id == tenant, heads.c.last_event_at.is_not(None))
        .order_by(heads.c.last_event_at.desc(), heads.c.session_id)
        .limit(limit)
        .offset(offset)
    )
    return [(SessionId(row.session_id), row.last_seq) for row in rows]


def remove_upto(connection: Connection, session: SessionId, upto: int) -> int:
    """Remove events with seq <= upto; how many went."""
    return connection.execute(events.delete().where(events.c.session_id == session, events.c.seq <= upto)).rowcount


def _event(row: sa.Row[*tuple[Any, ...]]) -> Event:
    return Event(
        session=SessionId(row.session_id),
        seq=row.seq,
        type=row.type,
        turn=None if row.turn_id is None else TurnId(row.turn_id),
        created_at=row.created_at,
        data=row.data,
    )
