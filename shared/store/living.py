"""Removes by age what living sessions have told long ago: the beginning of their logs, and the blobs it linked.

What a webhook still has to send stays. The ended ones go whole, in `retention.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from shared.domain.clock import from_text, to_text
from shared.domain.ids import SessionId
from shared.domain.session import SessionStatus
from shared.domain.webhook import DeliveryKind, DeliveryStatus, EndpointScope, EndpointStatus
from shared.store import events, heads
from shared.store.database import Connection, Database
from shared.store.retention import ROWS, remove, trim_log
from shared.store.tables import blobs, deliveries, endpoints, lanes
from shared.store.tables import events as event_rows
from shared.store.tables import heads as head_rows

_SESSIONS = 100  # looked up at a time


def trim_living(database: Database, *, before: datetime, limit: int = ROWS) -> int:
    """Remove events of living sessions made before `before`, and their blobs; how many events.

    In transactions of at most `limit` rows. Safe to stop anywhere, to repeat, and to run from several processes.
    Readers of what is gone are told the first number that is held.

    Raises:
        DatabaseAway: no connection; what was removed so far stays removed.
    """
    gone, last = 0, SessionId("")
    while batch := _with_old_events(database, before, last):
        last = batch[-1]
        for session in batch:
            with database.read() as connection:
                upto = _removable(connection, session, before)
            gone += trim_log(database, session, upto=upto, limit=limit)
            with database.read() as connection:
                oldest = _oldest(connection, session, before)
            remove(database, blobs, sa.and_(blobs.c.session_id == session, blobs.c.created_at < oldest), limit)
    return gone


def _with_old_events(database: Database, before: datetime, after: SessionId) -> Sequence[SessionId]:
    first = sa.and_(event_rows.c.session_id == head_rows.c.session_id, event_rows.c.seq == head_rows.c.first_seq)
    statement = (
        sa.select(head_rows.c.session_id)
        .join(event_rows, first)
        .where(
            head_rows.c.status != SessionStatus.ENDED,
            event_rows.c.created_at < to_text(before),
            head_rows.c.session_id > after,
        )
        .order_by(head_rows.c.session_id)
        .limit(_SESSIONS)
    )
    with database.read() as connection:
        return [SessionId(found) for found in connection.execute(statement).scalars()]


def _removable(connection: Connection, session: SessionId, before: datetime) -> int:
    """The last seq that is old and that no receiver waits for."""
    head = heads.get(connection, session)
    if head is None:
        return 0
    owed = _owed_from(connection, session)
    unheard_since = _laneless_since(connection, head)
    moment = before if unheard_since is None else min(before, unheard_since)
    upto = events.last_before(connection, session, moment, low=head.first_seq - 1, high=head.last_seq)
    return upto if owed is None else min(upto, owed - 1)


def _owed_from(connection: Connection, session: SessionId) -> int | None:
    """The first seq that an endpoint in use has not been sent, or is to be sent again; None: nothing is owed.

    An endpoint that was disabled waits for nothing.
    """
    lane = sa.select(sa.func.min(lanes.c.cursor) + 1).where(
        lanes.c.session_id == session,
        lanes.c.closed.is_(False),
        lanes.c.endpoint_id == endpoints.c.id,
        endpoints.c.status == EndpointStatus.ACTIVE,
    )
    delivery = sa.select(sa.func.min(deliveries.c.first_seq)).where(
        deliveries.c.session_id == session,
        deliveries.c.kind == DeliveryKind.EVENTS,
        deliveries.c.status.in_([DeliveryStatus.QUEUED, DeliveryStatus.PENDING]),
        deliveries.c.endpoint_id == endpoints.c.id,
        endpoints.c.status != EndpointStatus.DISABLED,
    )
    found = [seq for query in (lane, delivery) if (seq := connection.execute(query).scalar_one()) is not None]
    return min(found, default=None)


def _laneless_since(connection: Connection, head: heads.Head) -> datetime | None:
    """Since when an endpoint in use is to hear of the session that nobody began to deliver to; None: there is none.

    A session's own is older than its log, a tenant's hears of what came after it.
    """
    lane = sa.exists().where(lanes.c.endpoint_id == endpoints.c.id, lanes.c.session_id == head.session)
    since: datetime | None = connection.execute(
        sa.select(sa.func.min(endpoints.c.created_at)).where(
            endpoints.c.tenant_id == head.tenant,
            endpoints.c.status == EndpointStatus.ACTIVE,
            endpoints.c.scope.in_([EndpointScope.TENANT, EndpointScope.SESSION]),
            sa.or_(endpoints.c.session_id.is_(None), endpoints.c.session_id == head.session),
            sa.not_(lane.correlate(endpoints)),
        )
    ).scalar_one()
    return since


def _oldest(connection: Connection, session: SessionId, before: datetime) -> datetime:
    """When the first event that is held was made; a blob is made with its event."""
    head = heads.get(connection, session)
    held = [] if head is None else events.between(connection, session, head.first_seq - 1, head.first_seq)
    return min(before, from_text(held[0].created_at)) if held else before
