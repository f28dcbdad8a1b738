"""Lanes: how far each (endpoint, session) has got, whose it is, and the fence that keeps a former owner out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from shared.domain.ids import EndpointId, Incarnation, SessionId, TenantId
from shared.domain.session import SessionStatus
from shared.domain.webhook import Endpoint, EndpointScope, EndpointStatus, LaneKey
from shared.store import events
from shared.store.cursors import Row
from shared.store.database import Connection
from shared.store.inserting import insert_if_new
from shared.store.tables import endpoints, heads, lanes

NO_EVENTS: Final = 1 << 62
"""Cursor of a lane that hears of no events: a turn's."""


@dataclass(frozen=True, slots=True)
class LaneRow:
    """One lane as stored."""

    key: LaneKey
    owner: Incarnation | None
    epoch: int
    cursor: int
    """All events up to here are delivered, filtered out, or dead."""
    sent_seq: int
    """Last event of the cut before; 0: none yet."""


@dataclass(frozen=True, slots=True)
class LaneMove:
    """What an owner writes of its lane."""

    key: LaneKey
    epoch: int
    cursor: int
    sent_seq: int
    due_at: datetime | None
    """When the pending delivery is to be tried; None: none is pending."""
    is_let_go: bool = False
    """Give the lane up; it is closed where nothing more can come."""


@dataclass(frozen=True, slots=True)
class MovedHead:
    """A session whose log grew."""

    session: SessionId
    tenant: TenantId
    last_seq: int


def found(connection: Connection, keys: Collection[LaneKey]) -> Mapping[LaneKey, LaneRow]:
    """Those of `keys` that exist."""
    if not keys:
        return {}
    rows = connection.execute(sa.select(lanes).where(_among(keys)))
    return {lane.key: lane for lane in map(_lane, rows)}


def start_cursor(connection: Connection, endpoint: Endpoint, session: SessionId) -> int:
    """Where a new lane begins: a tenant's endpoint hears of events made when it was there, others of all."""
    if endpoint.scope is not EndpointScope.TENANT:
        return 0 if endpoint.scope is EndpointScope.SESSION else NO_EVENTS
    head = connection.execute(
        sa.select(heads.c.first_seq, heads.c.last_seq).where(heads.c.session_id == session)
    ).one_or_none()
    if head is None:
        return 0
    return events.last_before(connection, session, endpoint.created_at, low=head.first_seq - 1, high=head.last_seq)


def ensure(connection: Connection, key: LaneKey, *, cursor: int, due_at: datetime | None) -> None:
    """Make the lane unless it is there; it begins behind `cursor`."""
    insert_if_new(
        connection,
        lanes,
        {"endpoint_id": key.endpoint, "session_id": key.session, "cursor": cursor, "due_at": due_at},
    )


def claim(connection: Connection, key: LaneKey, me: Incarnation) -> LaneRow | None:
    """Take a lane nobody owns, in a new epoch; None when somebody does or it is gone."""
    row = connection.execute(
        lanes.update()
        .where(lanes.c.endpoint_id == key.endpoint, lanes.c.session_id == key.session, lanes.c.owner.is_(None))
        .values(owner=me, epoch=lanes.c.epoch + 1, closed=False)
        .returning(lanes)
    ).one_or_none()
    return _lane(row) if row else None


def still_held(connection: Connection, me: Incarnation, held: Mapping[LaneKey, int]) -> set[LaneKey]:
    """Those of `held` (with their epochs) that are still mine; their rows are locked until the transaction ends.

    First in each transaction that writes of lanes. Locked in one order, so that two processes cannot deadlock.
    """
    rows = connection.execute(
        sa.select(lanes.c.endpoint_id, lanes.c.session_id, lanes.c.epoch)
        .where(_among(held), lanes.c.owner == me)
        .order_by(lanes.c.endpoint_id, lanes.c.session_id)
        .with_for_update()
    )
    mine = ((LaneKey(EndpointId(row.endpoint_id), SessionId(row.session_id)), row.epoch) for row in rows)
    return {key for key, epoch in mine if held[key] == epoch}


def is_held(connection: Connection, me: Incarnation, key: LaneKey, epoch: int) -> bool:
    """Whether the lane is mine now, without a lock."""
    row = found(connection, [key]).get(key)
    return row is not None and row.owner == me and row.epoch == epoch


def move(connection: Connection, moves: Sequence[LaneMove]) -> None:
    """Write how far lanes have got. Only of lanes `still_held` answered for in this transaction."""
    if not moves:
        return
    connection.execute(
        lanes.update()
        .where(lanes.c.endpoint_id == sa.bindparam("of_endpoint"), lanes.c.session_id == sa.bindparam("of_session"))
        .values(cursor=sa.bindparam("to_cursor"), sent_seq=sa.bindparam("to_sent"), due_at=sa.bindparam("to_due")),
        [
            {
                "of_endpoint": one.key.endpoint,
                "of_session": one.key.session,
                "to_cursor": one.cursor,
                "to_sent": one.sent_seq,
                "to_due": one.due_at,
            }
            for one in moves
        ],
    )
    let_go = [one.key for one in moves if one.is_let_go]
    if let_go:
        connection.execute(lanes.update().where(_among(let_go)).values(owner=None, closed=_is_over()))


def let_go_all(connection: Connection, owner: Incarnation) -> int:
    """Nobody's from now on: at a clean end of `owner`, or when it was lost. The new epoch fences it. How many."""
    return connection.execute(
        lanes.update().where(lanes.c.owner == owner).values(owner=None, epoch=lanes.c.epoch + 1)
    ).rowcount


def owners(connection: Connection) -> set[Incarnation]:
    """Everybody who owns a lane."""
    return {Incarnation(owner) for owner in connection.execute(sa.select(lanes.c.owner).distinct()).scalars() if owner}


def moved(connection: Connection, since: datetime) -> list[MovedHead]:
    """Sessions whose log grew since then."""
    rows = connection.execute(
        sa.select(heads.c.session_id, heads.c.tenant_id, heads.c.last_seq).where(heads.c.last_event_at >= since)
    )
    return [_moved(row) for row in rows]


def heads_of(connection: Connection, sessions: Iterable[SessionId]) -> list[MovedHead]:
    """Tenant and last seq of these sessions."""
    rows = connection.execute(
        sa.select(heads.c.session_id, heads.c.tenant_id, heads.c.last_seq).where(heads.c.session_id.in_(list(sessions)))
    )
    return [_moved(row) for row in rows]


def behind(connection: Connection, endpoint: Endpoint) -> list[MovedHead]:
    """Sessions this endpoint has not heard all of, whether their lanes are there or not: when it is first seen."""
    query = (
        sa.select(heads.c.session_id, heads.c.tenant_id, heads.c.last_seq)
        .select_from(
            heads.outerjoin(
                lanes, sa.and_(lanes.c.session_id == heads.c.session_id, lanes.c.endpoint_id == endpoint.id)
            )
        )
        .where(heads.c.last_seq > sa.func.coalesce(lanes.c.cursor, 0))
    )
    if endpoint.scope is EndpointScope.TENANT:
        query = query.where(heads.c.tenant_id == endpoint.tenant, heads.c.last_event_at >= endpoint.created_at)
    else:
        query = query.where(heads.c.session_id == endpoint.session)
    return [_moved(row) for row in connection.execute(query)]


def unheard(connection: Connection) -> list[LaneKey]:
    """Sessions with a webhook of their own that has not heard all: for the start of a delivery process."""
    rows = connection.execute(
        sa.select(endpoints.c.id, endpoints.c.session_id)
        .select_from(
            endpoints.join(heads, heads.c.session_id == endpoints.c.session_id).outerjoin(
                lanes, sa.and_(lanes.c.session_id == heads.c.session_id, lanes.c.endpoint_id == endpoints.c.id)
            )
        )
        .where(
            endpoints.c.scope == EndpointScope.SESSION,
            endpoints.c.status == EndpointStatus.ACTIVE,
            heads.c.last_seq > sa.func.coalesce(lanes.c.cursor, 0),
        )
    )
    return [LaneKey(EndpointId(row.id), SessionId(row.session_id)) for row in rows]


def orphans(connection: Connection, limit: int) -> list[LaneKey]:
    """Lanes nobody owns that have something to deliver. A turn's endpoint that is done may still be told again."""
    rows = connection.execute(
        sa.select(lanes.c.endpoint_id, lanes.c.session_id)
        .select_from(
            lanes.join(heads, heads.c.session_id == lanes.c.session_id).join(
                endpoints, endpoints.c.id == lanes.c.endpoint_id
            )
        )
        .where(
            lanes.c.owner.is_(None),
            lanes.c.closed.is_(False),
            endpoints.c.status != EndpointStatus.DISABLED,
            sa.or_(heads.c.last_seq > lanes.c.cursor, lanes.c.due_at.is_not(None)),
        )
        .limit(limit)
    )
    return [LaneKey(EndpointId(row.endpoint_id), SessionId(row.session_id)) for row in rows]


def _among(keys: Iterable[LaneKey]) -> sa.ColumnElement[bool]:
    pairs = [(key.endpoint, key.session) for key in keys]
    return sa.tuple_(lanes.c.endpoint_id, lanes.c.session_id).in_(pairs)


def _is_over() -> sa.ColumnElement[bool]:
    return sa.exists(
        sa.select(heads.c.session_id).where(
            heads.c.session_id == lanes.c.session_id,
            heads.c.status == SessionStatus.ENDED,
            heads.c.last_seq <= lanes.c.cursor,
            lanes.c.due_at.is_(None),
        )
    )


def _moved(row: Row) -> MovedHead:
    return MovedHead(SessionId(row.session_id), TenantId(row.tenant_id), row.last_seq)


def _lane(row: Row) -> LaneRow:
    return LaneRow(
        key=LaneKey(EndpointId(row.endpoint_id), SessionId(row.session_id)),
        owner=None if row.owner is None else Incarnation(row.owner),
        epoch=row.epoch,
        cursor=row.cursor,
        sent_seq=row.sent_seq,
    )
