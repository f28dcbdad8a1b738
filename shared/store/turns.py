"""Turns: a session's line of prompts, and the one way each of them ends."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from datetime import datetime
from typing import TypedDict, Unpack

import sqlalchemy as sa

from shared.domain.clock import now
from shared.domain.errors import NotFound, TurnOver
from shared.domain.event import storable
from shared.domain.ids import SessionId, TenantId, TurnId
from shared.domain.json import JsonObject
from shared.domain.turn import OPEN_TURN, Ending, Turn, TurnStatus
from shared.domain.usage import CostSource, Usage
from shared.store import budgets, usage
from shared.store.cursors import Row, fetch_page
from shared.store.database import Connection
from shared.store.tables import turns

_UNDER_WAY = (TurnStatus.RUNNING, TurnStatus.WAITING)


class QueuedEdit(TypedDict, total=False):
    """What may change while a turn is queued; what is left out stays."""

    text: str
    position: float
    confirm: bool


def create(connection: Connection, turn: Turn, tenant: TenantId) -> None:
    """Store a new turn as it is."""
    connection.execute(
        turns.insert().values(
            id=turn.id,
            session_id=turn.session,
            tenant_id=tenant,
            position=turn.position,
            status=turn.status,
            text=storable(turn.text),
            source=turn.source,
            callback_url=turn.callback_url,
            attempt=turn.attempt,
            created_at=turn.created_at,
            started_at=turn.started_at,
            ended_at=turn.ended_at,
            stop_reason=turn.stop_reason,
            result_text=_storable_or_none(turn.result_text),
            error=_storable_or_none(turn.error),
            usage=_usage_data(turn.usage),
            cost_usd=turn.cost_usd,
            command=turn.command,
            confirm=turn.confirm,
            cost_source=turn.cost_source,
        )
    )


def get(connection: Connection, tenant: TenantId, id: TurnId) -> Turn | None:
    """A turn of the tenant; None for one that is missing or somebody else's."""
    row = connection.execute(sa.select(turns).where(turns.c.id == id, turns.c.tenant_id == tenant)).one_or_none()
    return _turn(row) if row else None


def get_any(connection: Connection, id: TurnId) -> Turn | None:
    """A turn of whichever tenant: for hosts, which were given the id by the store itself."""
    row = connection.execute(sa.select(turns).where(turns.c.id == id)).one_or_none()
    return _turn(row) if row else None


def page(
    connection: Connection,
    tenant: TenantId,
    session: SessionId,
    *,
    status: Collection[TurnStatus] = (),
    cursor: str | None = None,
    limit: int = 50,
) -> tuple[list[Turn], str | None]:
    """Turns of a session of the tenant, newest first, and the next page's cursor.

    Raises:
        InvalidField: `cursor` is not one of ours.
    """
    statement = sa.select(turns).where(turns.c.session_id == session, turns.c.tenant_id == tenant)
    if status:
        statement = statement.where(turns.c.status.in_(list(status)))
    rows, onward = fetch_page(connection, statement, turns, cursor=cursor, limit=limit)
    return [_turn(row) for row in rows], onward


def open_turns(connection: Connection, session: SessionId) -> list[Turn]:
    """Turns without a terminal event: what is under way, then the line in order."""
    is_queued = sa.case((turns.c.status == TurnStatus.QUEUED, 1), else_=0)
    statement = sa.select(turns).where(turns.c.session_id == session, turns.c.status.in_(list(OPEN_TURN)))
    rows = connection.execute(statement.order_by(is_queued, turns.c.position, turns.c.id))
    return [_turn(row) for row in rows]


def next_queued(connection: Connection, session: SessionId) -> Turn | None:
    """The turn that is next in line; the texts behind it are not read."""
    statement = sa.select(turns).where(turns.c.session_id == session, turns.c.status == TurnStatus.QUEUED)
    row = connection.execute(statement.order_by(turns.c.position, turns.c.id).limit(1)).one_or_none()
    return _turn(row) if row else None


def open_line(connection: Connection, session: SessionId) -> list[tuple[TurnId, TurnStatus]]:
    """As `open_turns`, only which they are: a line of long prompts must not be read to send one more."""
    is_queued = sa.case((turns.c.status == TurnStatus.QUEUED, 1), else_=0)
    statement = sa.select(turns.c.id, turns.c.status).where(
        turns.c.session_id == session, turns.c.status.in_(list(OPEN_TURN))
    )
    rows = connection.execute(statement.order_by(is_queued, turns.c.position, turns.c.id))
    return [(TurnId(row.id), TurnStatus(row.status)) for row in rows]


def next_position(connection: Connection, session: SessionId) -> float:
    """The position behind every turn of the session. Under the head's lock, or two turns may get the same."""
    last = connection.execute(
        sa.select(sa.func.max(turns.c.position)).where(turns.c.session_id == session)
    ).scalar_one()
    return 1.0 if last is None else float(last) + 1.0


def front_position(connection: Connection, session: SessionId) -> float:
    """The position before the first queued turn, and behind all others while there is room between the two.

    Under the head's lock.
    """
    return position_at(connection, session, 0)


def position_at(connection: Connection, session: SessionId, place: int, *, moving: TurnId | None = None) -> float:
    """The position that makes a turn number `place` of the line, counted from 0; the end where the line is shorter.

    `moving` is a queued turn that is left out of the count, since it is the one to be moved. Under the head's lock.
    """
    queued = sa.select(turns.c.position).where(turns.c.session_id == session, turns.c.status == TurnStatus.QUEUED)
    if moving is not None:
        queued = queued.where(turns.c.id != moving)
    line: list[float] = list(connection.execute(queued.order_by(turns.c.position, turns.c.id)).scalars())
    if place >= len(line):
        return next_position(connection, session)
    after = line[place]
    before = line[place - 1] if place > 0 else _last_before(connection, session, after)
    if before is None:
        return after - 1.0
    between = (before + after) / 2
    # A double can be halved some 50 times; prompts that jump the line that often without one of them
    # starting go before what runs already, which changes nothing about their order among each other.
    return between if before < between < after else after - 1.0


def _last_before(connection: Connection, session: SessionId, position: float) -> float | None:
    statement = sa.select(sa.func.max(turns.c.position)).where(
        turns.c.session_id == session, turns.c.position < position, turns.c.status != TurnStatus.QUEUED
    )
    found: float | None = connection.execute(statement).scalar_one()
    return found


def queue_position(connection: Connection, turn: Turn) -> int:
    """How many queued turns of the session come before `turn`; 0: it is the next, or no longer queued."""
    if turn.status is not TurnStatus.QUEUED:
        return 0
    before = sa.tuple_(turns.c.position, turns.c.id) < sa.tuple_(
        sa.literal(turn.position, sa.Float()), sa.literal(turn.id, sa.Text())
    )
    statement = sa.select(sa.func.count()).where(
        turns.c.session_id == turn.session, turns.c.status == TurnStatus.QUEUED, before
    )
    return connection.execute(statement).scalar_one()


def start(connection: Connection, id: TurnId, at: datetime) -> bool:
    """Queued to running. False: it is not queued any more; the caller must not hand it to an agent."""
    return _move(connection, id, (TurnStatus.QUEUED,), {"status": TurnStatus.RUNNING, "started_at": at})


def wait(connection: Connection, id: TurnId) -> bool:
    """Running to waiting for a human. False: it was not running."""
    return _move(connection, id, (TurnStatus.RUNNING,), {"status": TurnStatus.WAITING})


def go_on(connection: Connection, id: TurnId) -> bool:
    """Waiting to running. False: it was not waiting."""
    return _move(connection, id, (TurnStatus.WAITING,), {"status": TurnStatus.RUNNING})


def end(connection: Connection, id: TurnId, ending: Ending, at: datetime) -> bool:
    """Give the turn its end. True for exactly one caller, who alone appends the terminal event; False: it is over.

    What it used is counted with it.

    Raises:
        ValueError: the ending's status is not a terminal one.
    """
    if not ending.status.is_over:
        raise ValueError(f"{ending.status} does not end a turn")
    values: dict[str, object] = {
        "status": ending.status,
        "ended_at": at,
        "stop_reason": ending.stop_reason,
        "result_text": _storable_or_none(ending.result_text),
        "error": _storable_or_none(ending.error),
        "usage": _usage_data(ending.usage),
        "cost_usd": ending.cost_usd,
        "cost_source": ending.cost_source,
    }
    if not _move(connection, id, tuple(OPEN_TURN), values):
        return False
    usage.record(connection, id, ending, at)
    budgets.release(connection, id)
    return True


def requeue(connection: Connection, id: TurnId) -> int:
    """Put a turn whose worker was lost back into the line, at its place, as the next attempt; the attempt's number.

    One that is queued already stays as it is. What the lost attempt said to have used is counted.

    Raises:
        TurnOver: it has ended.
        NotFound: no such turn.
    """
    usage.record_lost(connection, id, now())
    budgets.release(connection, id)
    statement = (
        turns.update()
        .where(turns.c.id == id, turns.c.status.in_(_UNDER_WAY))
        .values(status=TurnStatus.QUEUED, attempt=turns.c.attempt + 1, started_at=None)
        .returning(turns.c.attempt)
    )
    attempt = connection.execute(statement).scalar_one_or_none()
    if attempt is not None:
        return int(attempt)
    row = connection.execute(sa.select(turns.c.status, turns.c.attempt).where(turns.c.id == id)).one_or_none()
    if row is None:
        raise NotFound("turn", id)
    if row.status != TurnStatus.QUEUED:
        raise TurnOver(id, row.status)
    return int(row.attempt)


def edit_queued(connection: Connection, id: TurnId, **edit: Unpack[QueuedEdit]) -> bool:
    """Change text, position or checkpoint of a queued turn. False: it is not queued any more, and nothing changed."""
    values: dict[str, object] = {"id": id}
    if "text" in edit:
        values["text"] = storable(edit["text"])
    if "position" in edit:
        values["position"] = edit["position"]
    if "confirm" in edit:
        values["confirm"] = edit["confirm"]
    return _move(connection, id, (TurnStatus.QUEUED,), values)


def _move(connection: Connection, id: TurnId, origin: tuple[TurnStatus, ...], values: dict[str, object]) -> bool:
    # The old state is in the statement: of several callers the database lets one through.
    statement = turns.update().where(turns.c.id == id, turns.c.status.in_(origin)).values(values)
    return connection.execute(statement).rowcount == 1


def _storable_or_none(text: str | None) -> str | None:
    return None if text is None else storable(text)


def _usage_data(usage: Usage | None) -> JsonObject | None:
    return None if usage is None else dataclasses.asdict(usage)


def _usage(stored: dict[str, int] | None) -> Usage | None:
    if stored is None:
        return None
    # A later release may count more kinds of tokens; this one goes on serving beside it.
    known = {field.name for field in dataclasses.fields(Usage)}
    return Usage(**{name: count for name, count in stored.items() if name in known})


def _turn(row: Row) -> Turn:
    return Turn(
        id=TurnId(row.id),
        session=SessionId(row.session_id),
        position=row.position,
        status=TurnStatus(row.status),
        text=row.text,
        source=row.source,
        callback_url=row.callback_url,
        attempt=row.attempt,
        created_at=row.created_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
        stop_reason=row.stop_reason,
        result_text=row.result_text,
        error=row.error,
        usage=_usage(row.usage),
        cost_usd=row.cost_usd,
        command=row.command,
        confirm=bool(row.confirm),
        cost_source=None if row.cost_source is None else CostSource(row.cost_source),
    )
