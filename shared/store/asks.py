"""Asks: what waits for a human, and who answered it first."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

import sqlalchemy as sa

from shared.domain.ask import Ask, AskKind, AskStatus, checkpoint_ref
from shared.domain.event import storable
from shared.domain.ids import AskId, SessionId, TenantId, TurnId
from shared.domain.json import JsonObject
from shared.store.cursors import Row, fetch_page
from shared.store.database import Connection
from shared.store.tables import asks, heads

_UNRESOLVED = (AskStatus.OPEN, AskStatus.ANSWERED)


def create(connection: Connection, ask: Ask, tenant: TenantId) -> None:
    """Store a new ask as it is."""
    connection.execute(
        asks.insert().values(
            id=ask.id,
            session_id=ask.session,
            tenant_id=tenant,
            turn_id=ask.turn,
            kind=ask.kind,
            status=ask.status,
            ref=storable(ask.ref),
            data=ask.data,
            answer=ask.answer,
            answered_by=ask.answered_by,
            answered_via=ask.answered_via,
            created_at=ask.created_at,
            expires_at=ask.expires_at,
            resolved_at=ask.resolved_at,
        )
    )


def get(connection: Connection, tenant: TenantId, id: AskId) -> Ask | None:
    """An ask of the tenant; None for one that is missing or somebody else's."""
    row = connection.execute(sa.select(asks).where(asks.c.id == id, asks.c.tenant_id == tenant)).one_or_none()
    return _ask(row) if row else None


def get_any(connection: Connection, id: AskId) -> Ask | None:
    """An ask of whichever tenant: for hosts, which were given the id by the store itself."""
    row = connection.execute(sa.select(asks).where(asks.c.id == id)).one_or_none()
    return _ask(row) if row else None


def open_of(connection: Connection, session: SessionId) -> list[Ask]:
    """Asks of a session that nobody has answered yet, oldest first."""
    return _of(connection, session, (AskStatus.OPEN,))


def unresolved_of(connection: Connection, session: SessionId) -> list[Ask]:
    """Asks of a session that are open, or answered and not with the agent yet, oldest first."""
    return _of(connection, session, _UNRESOLVED)


def applied_of(connection: Connection, session: SessionId, beginning: str) -> list[Ask]:
    """Asks of a session whose ref begins in this way and whose answer was taken, oldest first."""
    fits = asks.c.ref.startswith(beginning, autoescape=True)
    statement = sa.select(asks).where(asks.c.session_id == session, asks.c.status == AskStatus.APPLIED, fits)
    return [_ask(row) for row in connection.execute(statement.order_by(asks.c.resolved_at, asks.c.id))]


def checkpoint_of(connection: Connection, session: SessionId, turn: TurnId) -> Ask | None:
    """The ask that was opened last before a turn of the session."""
    statement = sa.select(asks).where(
        asks.c.session_id == session, asks.c.turn_id == turn, asks.c.ref == checkpoint_ref(turn)
    )
    row = connection.execute(statement.order_by(asks.c.created_at.desc(), asks.c.id.desc()).limit(1)).one_or_none()
    return _ask(row) if row else None


def page(
    connection: Connection,
    tenant: TenantId,
    *,
    session: SessionId | None = None,
    status: Collection[AskStatus] = (),
    cursor: str | None = None,
    limit: int = 50,
) -> tuple[list[Ask], str | None]:
    """Asks of the tenant (of one session where given), newest first, and the next page's cursor.

    Raises:
        InvalidField: `cursor` is not one of ours.
    """
    statement = sa.select(asks).where(asks.c.tenant_id == tenant)
    if session is not None:
        statement = statement.where(asks.c.session_id == session)
    if status:
        statement = statement.where(asks.c.status.in_(list(status)))
    rows, onward = fetch_page(connection, statement, asks, cursor=cursor, limit=limit)
    return [_ask(row) for row in rows], onward


def answer(
    connection: Connection, id: AskId, *, answer: JsonObject, by: str | None, via: str | None, at: datetime
) -> bool:
    """Accept the first answer. False: somebody answered first, it expired or was lost; nothing changed."""
    values: dict[str, object] = {
        "status": AskStatus.ANSWERED,
        "answer": answer,
        "answered_by": by,
        "answered_via": via,
        "resolved_at": at,
    }
    return _move(connection, id, (AskStatus.OPEN,), values)


def apply(connection: Connection, id: AskId, at: datetime) -> bool:
    """Note that the answer has reached the agent. False: it was not `answered`."""
    return _move(connection, id, (AskStatus.ANSWERED,), {"status": AskStatus.APPLIED, "resolved_at": at})


def lose(connection: Connection, id: AskId, at: datetime) -> bool:
    """Note that no answer will ever reach the agent. False: it was resolved before."""
    return _move(connection, id, _UNRESOLVED, {"status": AskStatus.LOST, "resolved_at": at})


def expire(connection: Connection, id: AskId, at: datetime) -> bool:
    """Close an open ask nobody answered in time. False: it is not open any more."""
    return _move(connection, id, (AskStatus.OPEN,), {"status": AskStatus.EXPIRED, "resolved_at": at})


def due(connection: Connection, at: datetime, limit: int) -> list[Ask]:
    """Open asks whose time is over, longest overdue first."""
    statement = sa.select(asks).where(asks.c.status == AskStatus.OPEN, asks.c.expires_at <= at)
    return [_ask(row) for row in connection.execute(statement.order_by(asks.c.expires_at, asks.c.id).limit(limit))]


def due_external(connection: Connection, at: datetime, limit: int) -> list[Ask]:
    """The same of sessions that no host looks after."""
    statement = (
        sa.select(asks)
        .join(heads, heads.c.session_id == asks.c.session_id)
        .where(asks.c.status == AskStatus.OPEN, asks.c.expires_at <= at, heads.c.external)
        .order_by(asks.c.expires_at, asks.c.id)
    )
    return [_ask(row) for row in connection.execute(statement.limit(limit))]


def _of(connection: Connection, session: SessionId, status: Collection[AskStatus]) -> list[Ask]:
    statement = sa.select(asks).where(asks.c.session_id == session, asks.c.status.in_(list(status)))
    return [_ask(row) for row in connection.execute(statement.order_by(asks.c.created_at, asks.c.id))]


def _move(connection: Connection, id: AskId, origin: tuple[AskStatus, ...], values: dict[str, object]) -> bool:
    # The old state is in the statement: of several callers the database lets one through.
    statement = asks.update().where(asks.c.id == id, asks.c.status.in_(origin)).values(values)
    return connection.execute(statement).rowcount == 1


def _ask(row: Row) -> Ask:
    return Ask(
        id=AskId(row.id),
        session=SessionId(row.session_id),
        turn=None if row.turn_id is None else TurnId(row.turn_id),
        kind=AskKind(row.kind),
        status=AskStatus(row.status),
        ref=row.ref,
        data=row.data,
        answer=row.answer,
        answered_by=row.answered_by,
        answered_via=row.answered_via,
        created_at=row.created_at,
        expires_at=row.expires_at,
        resolved_at=row.resolved_at,
    )
