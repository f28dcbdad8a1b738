"""Deliveries and their attempts. A delivery's row is there before its first POST, and says all its bytes depend on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from shared.domain.event import Event
from shared.domain.ids import DeliveryId, EndpointId, SessionId, TenantId, TurnId
from shared.domain.webhook import (
    Attempt,
    AttemptOutcome,
    Delivery,
    DeliveryKind,
    DeliveryStatus,
    EndpointStatus,
    LaneKey,
    matches,
)
from shared.store.cursors import Row, fetch_page
from shared.store.database import Connection
from shared.store.tables import attempts, deliveries, endpoints, events, lanes

FILTERED_RANGE = 1000
"""Seqs looked through in one query for an endpoint that filters."""


@dataclass(frozen=True, slots=True)
class Result:
    """What an attempt made of a delivery."""

    delivery: DeliveryId
    status: DeliveryStatus
    attempt: Attempt | None
    """None where it died without one."""
    next_attempt_at: datetime | None = None
    delivered_at: datetime | None = None
    dead_reason: str | None = None


def store(connection: Connection, new: Sequence[Delivery]) -> None:
    """Write new deliveries; one that is there already (a commit of unknown outcome, repeated) is left alone."""
    if not new:
        return
    rows = [
        {
            "id": one.id,
            "tenant_id": one.tenant,
            "endpoint_id": one.endpoint,
            "session_id": one.session,
            "kind": one.kind,
            "first_seq": one.first_seq,
            "last_seq": one.last_seq,
            "prev_seq": one.prev_seq,
            "seqs": None if one.seqs is None else list(one.seqs),
            "render": one.render,
            "body": one.body,
            "status": one.status,
            "attempts": one.attempts,
            "next_attempt_at": one.next_attempt_at,
            "created_at": one.created_at,
            "delivered_at": one.delivered_at,
            "dead_reason": one.dead_reason,
        }
        for one in new
    ]
    connection.execute(_insert(connection, deliveries), rows)


def finish(connection: Connection, results: Sequence[Result]) -> None:
    """Write what attempts brought. Safe to repeat."""
    if not results:
        return
    connection.execute(
        deliveries.update()
        .where(deliveries.c.id == sa.bindparam("of_id"))
        .values(
            status=sa.bindparam("to_status"),
            attempts=sa.func.coalesce(sa.bindparam("to_attempts", type_=sa.Integer), deliveries.c.attempts),
            next_attempt_at=sa.bindparam("to_next"),
            delivered_at=sa.func.coalesce(
                sa.bindparam("to_delivered", type_=deliveries.c.delivered_at.type), deliveries.c.delivered_at
            ),
            dead_reason=sa.bindparam("to_reason"),
        ),
        [
            {
                "of_id": one.delivery,
                "to_status": one.status,
                "to_attempts": one.attempt.n if one.attempt else None,
                "to_next": one.next_attempt_at,
                "to_delivered": one.delivered_at,
                "to_reason": one.dead_reason,
            }
            for one in results
        ],
    )
    made = [(one.delivery, one.attempt) for one in results if one.attempt]
    if made:
        connection.execute(_insert(connection, attempts), [_attempt_values(*pair) for pair in made])


def take(connection: Connection, id: DeliveryId) -> None:
    """A queued delivery is in its lane's hands from now on."""
    connection.execute(deliveries.update().where(deliveries.c.id == id).values(status=DeliveryStatus.PENDING))


def is_queued(connection: Connection, id: DeliveryId) -> bool:
    """Whether somebody asked to send it again."""
    status = connection.execute(sa.select(deliveries.c.status).where(deliveries.c.id == id)).scalar_one_or_none()
    return status == DeliveryStatus.QUEUED


def get(connection: Connection, tenant: TenantId, id: DeliveryId) -> Delivery | None:
    """The tenant's delivery; None when there is none of that id, or it is somebody else's."""
    row = connection.execute(
        sa.select(deliveries).where(deliveries.c.id == id, deliveries.c.tenant_id == tenant)
    ).one_or_none()
    return _delivery(row) if row else None


def page(
    connection: Connection,
    endpoint: EndpointId,
    *,
    status: Sequence[DeliveryStatus] = (),
    cursor: str | None = None,
    limit: int,
) -> tuple[list[Delivery], str | None]:
    """Deliveries of an endpoint, newest first, with the cursor of the next page."""
    query = sa.select(deliveries).where(deliveries.c.endpoint_id == endpoint)
    if status:
        query = query.where(deliveries.c.status.in_(list(status)))
    rows, onward = fetch_page(connection, query, deliveries, cursor=cursor, limit=limit)
    return [_delivery(row) for row in rows], onward


def attempts_of(connection: Connection, id: DeliveryId) -> list[Attempt]:
    """The attempts of a delivery, in order."""
    rows = connection.execute(sa.select(attempts).where(attempts.c.delivery_id == id).order_by(attempts.c.n))
    return [_attempt(row) for row in rows]


def queue(connection: Connection, id: DeliveryId, at: datetime) -> None:
    """Ask the lane of a delivery to send it again, whatever became of it; its attempts go on counting."""
    connection.execute(
        deliveries.update()
        .where(deliveries.c.id == id)
        .values(status=DeliveryStatus.QUEUED, next_attempt_at=at, dead_reason=None)
    )


def queue_dead(connection: Connection, endpoint: EndpointId, session: SessionId | None, at: datetime) -> int:
    """As `queue`, for every dead delivery of the endpoint (and session) that has a lane; how many."""
    query = deliveries.update().where(
        deliveries.c.endpoint_id == endpoint,
        deliveries.c.status == DeliveryStatus.DEAD,
        deliveries.c.session_id.is_not(None),
    )
    if session is not None:
        query = query.where(deliveries.c.session_id == session)
    return connection.execute(query.values(status=DeliveryStatus.QUEUED, next_attempt_at=at, dead_reason=None)).rowcount


def pending_of(connection: Connection, key: LaneKey) -> Delivery | None:
    """What the lane is in the middle of."""
    return _next_of(connection, key, DeliveryStatus.PENDING)


def next_queued(connection: Connection, key: LaneKey) -> Delivery | None:
    """The first delivery that waits for the lane."""
    return _next_of(connection, key, DeliveryStatus.QUEUED)


def queued_lanes(connection: Connection, limit: int) -> list[LaneKey]:
    """Lanes deliveries wait for."""
    rows = connection.execute(
        sa.select(deliveries.c.endpoint_id, deliveries.c.session_id)
        .select_from(
            deliveries.join(
                lanes,
                sa.and_(lanes.c.endpoint_id == deliveries.c.endpoint_id, lanes.c.session_id == deliveries.c.session_id),
            ).join(endpoints, endpoints.c.id == deliveries.c.endpoint_id)
        )
        .where(deliveries.c.status == DeliveryStatus.QUEUED, endpoints.c.status != EndpointStatus.DISABLED)
        .distinct()
        .limit(limit)
    )
    return [LaneKey(EndpointId(row.endpoint_id), SessionId(row.session_id)) for row in rows]


def due_tests(connection: Connection, at: datetime, limit: int) -> list[Delivery]:
    """Test deliveries nobody is sending."""
    rows = connection.execute(
        sa.select(deliveries)
        .where(
            deliveries.c.status == DeliveryStatus.PENDING,
            deliveries.c.next_attempt_at <= at,
            deliveries.c.kind == DeliveryKind.TEST,
        )
        .limit(limit)
    )
    return [_delivery(row) for row in rows]


def lease_test(connection: Connection, id: DeliveryId, at: datetime, until: datetime) -> bool:
    """Take a test delivery until then; False when somebody else has it."""
    done = connection.execute(
        deliveries.update()
        .where(
            deliveries.c.id == id,
            deliveries.c.status == DeliveryStatus.PENDING,
            deliveries.c.next_attempt_at <= at,
        )
        .values(next_attempt_at=until)
    )
    return done.rowcount == 1


def matching(
    connection: Connection, session: SessionId, after: int, upto: int, *, types: Sequence[str], limit: int
) -> list[Event]:
    """Events with after < seq <= upto of the types a filter names, at most `limit`."""
    wanted = [
        events.c.type.startswith(one[:-1], autoescape=True) if one.endswith("*") else events.c.type == one
        for one in types
    ]
    rows = connection.execute(
        sa.select(events)
        .where(events.c.session_id == session, events.c.seq > after, events.c.seq <= upto, sa.or_(*wanted))
        .order_by(events.c.seq)
        .limit(limit)
    )
    # The database decides what travels, the one rule in the domain decides what is meant.
    return [event for event in map(_event, rows) if matches(types, event.type)]


def events_of(connection: Connection, delivery: Delivery) -> list[Event] | None:
    """The events of a cut, in order; None when retention has removed some."""
    if delivery.session is None or delivery.first_seq is None or delivery.last_seq is None:
        return None
    query = sa.select(events).where(
        events.c.session_id == delivery.session,
        events.c.seq >= delivery.first_seq,
        events.c.seq <= delivery.last_seq,
    )
    if delivery.seqs is not None:
        query = query.where(events.c.seq.in_(list(delivery.seqs)))
    held = [_event(row) for row in connection.execute(query.order_by(events.c.seq))]
    due = delivery.last_seq - delivery.first_seq + 1 if delivery.seqs is None else len(delivery.seqs)
    return held if len(held) == due else None


def _next_of(connection: Connection, key: LaneKey, status: DeliveryStatus) -> Delivery | None:
    row = connection.execute(
        sa.select(deliveries)
        .where(
            deliveries.c.endpoint_id == key.endpoint,
            deliveries.c.session_id == key.session,
            deliveries.c.status == status,
        )
        # Not by id alone: of the ids of one millisecond none is the earlier.
        .order_by(deliveries.c.first_seq, deliveries.c.id)
        .limit(1)
    ).one_or_none()
    return _delivery(row) if row else None


def _insert(connection: Connection, table: sa.Table) -> sa.Executable:
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    return insert(table).on_conflict_do_nothing()


def _attempt_values(delivery: DeliveryId, attempt: Attempt) -> Mapping[str, object]:
    return {
        "delivery_id": delivery,
        "n": attempt.n,
        "outcome": attempt.outcome,
        "status_code": attempt.status_code,
        "error": attempt.error,
        "duration_s": attempt.duration_s,
        "response": attempt.response,
        "at": attempt.at,
    }


def _attempt(row: Row) -> Attempt:
    return Attempt(
        n=row.n,
        outcome=AttemptOutcome(row.outcome),
        status_code=row.status_code,
        error=row.error,
        duration_s=row.duration_s,
        response=row.response,
        at=row.at,
    )


def _event(row: Row) -> Event:
    return Event(
        session=SessionId(row.session_id),
        seq=row.seq,
        type=row.type,
        turn=None if row.turn_id is None else TurnId(row.turn_id),
        created_at=row.created_at,
        data=row.data,
    )


def _delivery(row: Row) -> Delivery:
    return Delivery(
        id=DeliveryId(row.id),
        tenant=TenantId(row.tenant_id),
        endpoint=EndpointId(row.endpoint_id),
        session=None if row.session_id is None else SessionId(row.session_id),
        kind=DeliveryKind(row.kind),
        first_seq=row.first_seq,
        last_seq=row.last_seq,
        prev_seq=row.prev_seq,
        seqs=None if row.seqs is None else tuple(row.seqs),
        render=row.render,
        body=row.body,
        status=DeliveryStatus(row.status),
        attempts=row.attempts,
        next_attempt_at=row.next_attempt_at,
        created_at=row.created_at,
        delivered_at=row.delivered_at,
        dead_reason=row.dead_reason,
    )
