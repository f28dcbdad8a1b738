"""What each turn used: one row a turn and attempt, written with its terminal event, kept longer than the session."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

import sqlalchemy as sa

from shared.domain.event import EventType, storable
from shared.domain.ids import SessionId, TenantId, TurnId
from shared.domain.turn import Ending, TurnStatus
from shared.domain.usage import CostSource, Spent, Totals, Usage, read_spent, to_micro_usd, to_usd, waited_ms
from shared.store.cursors import Row, decode_text, encode_text
from shared.store.database import Connection
from shared.store.tables import asks, events, sessions, turns
from shared.store.usage_tables import turn_usage

_LOOK_BACK: Final = 20_000
"""Events that are searched for what a lost turn had used: one that said more since then is not worth the reading."""

_NAME: Final = 200
"""Characters kept of what an agent calls its model."""


class Grouping(StrEnum):
    """What usage is summed up by."""

    DAY = "day"
    SESSION = "session"
    KEY = "key"
    AGENT = "agent"
    MODEL = "model"


_GROUPS: Final[Mapping[Grouping, sa.ColumnElement[str]]] = {
    Grouping.DAY: turn_usage.c.day,
    Grouping.SESSION: turn_usage.c.session_id,
    Grouping.KEY: sa.func.coalesce(turn_usage.c.key_id, sa.literal_column("''")),
    Grouping.AGENT: turn_usage.c.agent,
    Grouping.MODEL: sa.func.coalesce(turn_usage.c.model, sa.literal_column("''")),
}


@dataclass(frozen=True, slots=True)
class UsageFilter:
    """Which turns count; all conditions must hold. Days are UTC, as 2026-01-31, both included."""

    first_day: str | None = None
    last_day: str | None = None
    session: SessionId | None = None
    agent: str | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """What the turns of one day, session, key, agent or model used together; the name is empty where it is unknown."""

    name: str
    totals: Totals


def day_of(at: datetime) -> str:
    """The UTC day of a moment."""
    return at.astimezone(UTC).date().isoformat()


def record(connection: Connection, turn: TurnId, ending: Ending, at: datetime) -> None:
    """Count a turn that has just ended. Only by whoever ended it, in the same transaction: so once for each.

    One that never began used nothing and is not counted.
    """
    row = connection.execute(_turn_of(turn)).one()
    if row.started_at is not None:
        cost = None if ending.cost_usd is None else to_micro_usd(ending.cost_usd)
        source = None if cost is None else (ending.cost_source or CostSource.AGENT)
        _insert(connection, row, _Use(ending.status, ending.model, ending.usage or Usage(), cost, source), at)


def record_lost(connection: Connection, turn: TurnId, at: datetime) -> None:
    """Count what an attempt had said to have used, whose worker was lost. Before the turn is queued again."""
    is_under_way = turns.c.status.in_([TurnStatus.RUNNING, TurnStatus.WAITING])
    row = connection.execute(_turn_of(turn).where(is_under_way)).one_or_none()
    if row is None or row.started_at is None:
        return
    spent = told(connection, SessionId(row.session_id), turn) or Spent()
    cost = None if spent.cost_usd is None else to_micro_usd(spent.cost_usd)
    use = _Use(TurnStatus.INTERRUPTED, None, spent.usage or Usage(), cost, spent.cost_source)
    _insert(connection, row, use, at)


def told(connection: Connection, session: SessionId, turn: TurnId) -> Spent | None:
    """What a turn used so far, as its last `usage` event says; None where it said nothing.

    An attempt is not held responsible for what one before it said.
    """
    last: int | None = connection.execute(
        sa.select(sa.func.max(events.c.seq)).where(events.c.session_id == session)
    ).scalar_one()
    found = connection.execute(
        sa.select(events.c.type, events.c.data)
        .where(
            events.c.session_id == session,
            events.c.seq > (last or 0) - _LOOK_BACK,
            events.c.turn_id == turn,
            events.c.type.in_([EventType.USAGE, EventType.TURN_STARTED]),
        )
        .order_by(events.c.seq.desc())
        .limit(1)
    ).one_or_none()
    if found is None or found.type != EventType.USAGE:
        return None
    data = json.loads(found.data)
    return read_spent(data) if isinstance(data, dict) else None


def of_sessions(connection: Connection, ids: Collection[SessionId]) -> Mapping[SessionId, Totals]:
    """What each of these sessions used; one without a turn that ended is missing."""
    statement = (
        sa.select(turn_usage.c.session_id, *_SUMS)
        .where(turn_usage.c.session_id.in_(list(ids)))
        .group_by(turn_usage.c.session_id)
    )
    return {SessionId(row.session_id): _totals(row) for row in connection.execute(statement)}


def of_session(connection: Connection, id: SessionId) -> Totals:
    """What one session used."""
    return of_sessions(connection, [id]).get(id, Totals())


def knows_session(connection: Connection, tenant: TenantId, id: SessionId) -> bool:
    """Whether the tenant has, or had, this session."""
    had = sa.exists().where(turn_usage.c.session_id == id, turn_usage.c.tenant_id == tenant)
    has = sa.exists().where(sessions.c.id == id, sessions.c.tenant_id == tenant)
    return bool(connection.execute(sa.select(sa.or_(has, had))).scalar_one())


def page(
    connection: Connection,
    tenant: TenantId,
    by: Grouping,
    wanted: UsageFilter,
    *,
    cursor: str | None = None,
    limit: int = 50,
) -> tuple[list[Group], str | None]:
    """What the tenant's turns used, in groups by name, the last name first (days: the newest), and the next cursor.

    Raises:
        InvalidField: `cursor` is not one of ours.
    """
    name = _GROUPS[by]
    statement = sa.select(name.label("name"), *_SUMS).where(*_conditions(tenant, wanted))
    if cursor is not None:
        statement = statement.where(name < decode_text(cursor))
    rows = connection.execute(statement.group_by(name).order_by(name.desc()).limit(limit + 1)).all()
    groups = [Group(row.name, _totals(row)) for row in rows[:limit]]
    return groups, encode_text(groups[-1].name) if len(rows) > limit else None


def total(connection: Connection, tenant: TenantId, wanted: UsageFilter) -> Totals:
    """What all of the tenant's turns used that are wanted."""
    return _totals(connection.execute(sa.select(*_SUMS).where(*_conditions(tenant, wanted))).one())


@dataclass(frozen=True, slots=True)
class _Use:
    status: TurnStatus
    model: str | None
    usage: Usage
    micro_usd: int | None
    source: CostSource | None


def _turn_of(turn: TurnId) -> sa.Select[*tuple[object, ...]]:
    return (
        sa.select(
            turns.c.id,
            turns.c.attempt,
            turns.c.started_at,
            turns.c.session_id,
            turns.c.tenant_id,
            sessions.c.key_id,
            sessions.c.agent,
            sessions.c.model,
        )
        .join(sessions, sessions.c.id == turns.c.session_id)
        .where(turns.c.id == turn)
    )


def _insert(connection: Connection, row: Row, use: _Use, at: datetime) -> None:
    waited = _waited_ms(connection, row, at)
    usage = use.usage.clipped()
    connection.execute(
        turn_usage.insert().values(
            turn_id=row.id,
            attempt=row.attempt,
            session_id=row.session_id,
            tenant_id=row.tenant_id,
            key_id=row.key_id,
            agent=row.agent,
            model=row.model if use.model is None else storable(use.model)[:_NAME],
            status=use.status,
            day=day_of(at),
            ended_at=at,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cache_read_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            cost_micro_usd=use.micro_usd,
            cost_source=use.source,
            turn_ms=max(0, round((at - row.started_at).total_seconds() * 1000) - waited),
            waited_ms=waited,
        )
    )
    if use.micro_usd:
        added = sessions.c.cost_usd + to_usd(use.micro_usd)
        connection.execute(sessions.update().where(sessions.c.id == row.session_id).values(cost_usd=added))


def _waited_ms(connection: Connection, row: Row, at: datetime) -> int:
    found = connection.execute(
        sa.select(asks.c.created_at, asks.c.resolved_at).where(
            asks.c.session_id == row.session_id, asks.c.turn_id == row.id
        )
    )
    waits = [(ask.created_at.timestamp(), (ask.resolved_at or at).timestamp()) for ask in found]
    return waited_ms(waits, row.started_at.timestamp(), at.timestamp())


def _conditions(tenant: TenantId, wanted: UsageFilter) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = [turn_usage.c.tenant_id == tenant]
    if wanted.first_day is not None:
        conditions.append(turn_usage.c.day >= wanted.first_day)
    if wanted.last_day is not None:
        conditions.append(turn_usage.c.day <= wanted.last_day)
    if wanted.session is not None:
        conditions.append(turn_usage.c.session_id == wanted.session)
    if wanted.agent is not None:
        conditions.append(turn_usage.c.agent == wanted.agent)
    return conditions


def _cost_from(source: CostSource) -> sa.ColumnElement[int]:
    return sa.func.sum(sa.case((turn_usage.c.cost_source == source, turn_usage.c.cost_micro_usd)))


_TOKENS: Final = (
    turn_usage.c.input_tokens
    + turn_usage.c.output_tokens
    + turn_usage.c.cache_read_tokens
    + turn_usage.c.cache_write_tokens
)

_SUMS: Final = (
    # A turn that was tried again counts once.
    sa.func.count(turn_usage.c.turn_id.distinct()).label("turns"),
    sa.func.sum(turn_usage.c.input_tokens).label("input_tokens"),
    sa.func.sum(turn_usage.c.output_tokens).label("output_tokens"),
    sa.func.sum(turn_usage.c.cache_read_tokens).label("cache_read_tokens"),
    sa.func.sum(turn_usage.c.cache_write_tokens).label("cache_write_tokens"),
    _cost_from(CostSource.AGENT).label("agent_cost"),
    _cost_from(CostSource.PRICE_TABLE).label("table_cost"),
    sa.func.sum(sa.case((sa.and_(turn_usage.c.cost_micro_usd.is_(None), _TOKENS > 0), 1), else_=0)).label("unpriced"),
    sa.func.sum(turn_usage.c.turn_ms).label("turn_ms"),
    sa.func.sum(turn_usage.c.waited_ms).label("waited_ms"),
)


def _totals(row: Row) -> Totals:
    # PostgreSQL sums whole numbers up to decimals.
    return Totals(
        turns=row.turns,
        usage=Usage(
            int(row.input_tokens or 0),
            int(row.output_tokens or 0),
            int(row.cache_read_tokens or 0),
            int(row.cache_write_tokens or 0),
        ),
        agent_micro_usd=None if row.agent_cost is None else int(row.agent_cost),
        table_micro_usd=None if row.table_cost is None else int(row.table_cost),
        unpriced_turns=int(row.unpriced or 0),
        turn_ms=int(row.turn_ms or 0),
        waited_ms=int(row.waited_ms or 0),
    )
