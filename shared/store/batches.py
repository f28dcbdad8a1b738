"""Batches and their items. Everything that changes an item happens under the lock of its batch's row."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import sqlalchemy as sa

from shared.domain.batch import Batch, BatchItem, BatchStatus, Counts, ItemEnd, ItemError, ItemKind, ItemStatus
from shared.domain.event import storable
from shared.domain.ids import BatchId, KeyId, SessionId, TenantId, TurnId
from shared.domain.session import SessionStatus
from shared.domain.turn import TERMINAL_TURN, TurnStatus
from shared.store.cursors import Row, fetch_page
from shared.store.database import Connection
from shared.store.tables import batch_items, batches, heads, turns

_OPEN = (ItemStatus.QUEUED, ItemStatus.RUNNING)


@dataclass(frozen=True, slots=True)
class NewItem:
    """An item as it is accepted; `wish` is sealed."""

    kind: ItemKind
    session: SessionId | None
    wish: str


@dataclass(frozen=True, slots=True)
class QueuedItem:
    """The item that is next; `wish` as it was given."""

    index: int
    kind: ItemKind
    session: SessionId | None
    wish: str


@dataclass(frozen=True, slots=True)
class OverItem:
    """A running item whose turn is over, or whose session has ended. No status: its turn is not there any more."""

    index: int
    kind: ItemKind
    turn_status: TurnStatus | None
    stop_reason: str | None
    error: str | None


def create(connection: Connection, batch: Batch, items: Sequence[NewItem]) -> None:
    """Store a new batch with all its items queued."""
    connection.execute(
        batches.insert().values(
            id=batch.id,
            tenant_id=batch.tenant,
            key_id=batch.key,
            status=batch.status,
            concurrency=batch.concurrency,
            total=batch.total,
            metadata={storable(name): storable(text) for name, text in batch.metadata.items()},
            created_at=batch.created_at,
        )
    )
    rows = [
        {"batch_id": batch.id, "n": n, "status": ItemStatus.QUEUED, "session_id": item.session, "stopped": False}
        | {"kind": item.kind, "wish": item.wish}
        for n, item in enumerate(items)
    ]
    connection.execute(batch_items.insert(), rows)


def get(connection: Connection, tenant: TenantId, id: BatchId) -> Batch | None:
    """A batch of the tenant; None for one that is missing or somebody else's."""
    row = connection.execute(sa.select(batches).where(batches.c.id == id, batches.c.tenant_id == tenant)).one_or_none()
    return _batches(connection, [row])[0] if row else None


def lock(connection: Connection, id: BatchId) -> Batch | None:
    """A batch of whichever tenant, its row locked until the transaction ends. Before the lock of any head."""
    row = connection.execute(sa.select(batches).where(batches.c.id == id).with_for_update()).one_or_none()
    return _batches(connection, [row])[0] if row else None


def page(
    connection: Connection,
    tenant: TenantId,
    *,
    status: Collection[BatchStatus] = (),
    cursor: str | None = None,
    limit: int = 50,
) -> tuple[list[Batch], str | None]:
    """Batches of the tenant, newest first, and the next page's cursor.

    Raises:
        InvalidField: `cursor` is not one of ours.
    """
    statement = sa.select(batches).where(batches.c.tenant_id == tenant)
    if status:
        statement = statement.where(batches.c.status.in_(list(status)))
    rows, onward = fetch_page(connection, statement, batches, cursor=cursor, limit=limit)
    return _batches(connection, rows), onward


def items(
    connection: Connection,
    id: BatchId,
    *,
    after: int = -1,
    status: Collection[ItemStatus] = (),
    limit: int = 50,
) -> list[BatchItem]:
    """Items with an index above `after`, in order."""
    statement = (
        sa.select(batch_items, turns.c.result_text)
        .outerjoin(turns, turns.c.id == batch_items.c.turn_id)
        .where(batch_items.c.batch_id == id, batch_items.c.n > after)
        .order_by(batch_items.c.n)
        .limit(limit)
    )
    if status:
        statement = statement.where(batch_items.c.status.in_(list(status)))
    return [_item(row) for row in connection.execute(statement)]


def due(connection: Connection, limit: int) -> list[BatchId]:
    """Batches that something can be done for now, oldest first: what `advance` would change."""
    items = batch_items
    mine = items.c.batch_id == batches.c.id
    queued = sa.exists().where(mine, items.c.status == ItemStatus.QUEUED)
    running = (
        sa.select(sa.func.count())
        .where(mine, items.c.status == ItemStatus.RUNNING)
        .correlate(batches)
        .scalar_subquery()
    )
    over = (
        sa.select(items.c.n)
        .outerjoin(turns, turns.c.id == items.c.turn_id)
        .outerjoin(heads, heads.c.session_id == items.c.session_id)
        .where(mine, items.c.status == ItemStatus.RUNNING, _is_over())
        .correlate(batches)
        .exists()
    )
    to_stop = sa.and_(batches.c.status == BatchStatus.CANCELLED, sa.exists().where(mine, *_IS_TO_BE_STOPPED))
    is_done = sa.not_(sa.exists().where(mine, items.c.status.in_(_OPEN)))
    can_start = sa.and_(queued, running < batches.c.concurrency)
    statement = (
        sa.select(batches.c.id)
        .where(batches.c.ended_at.is_(None), sa.or_(can_start, over, to_stop, is_done))
        .order_by(batches.c.created_at, batches.c.id)
        .limit(limit)
    )
    return [BatchId(found) for found in connection.execute(statement).scalars()]


def over_items(connection: Connection, id: BatchId) -> list[OverItem]:
    """Running items that have nothing more to wait for."""
    statement = (
        sa.select(batch_items.c.n, batch_items.c.kind, turns.c.status, turns.c.stop_reason, turns.c.error)
        .select_from(batch_items)
        .outerjoin(turns, turns.c.id == batch_items.c.turn_id)
        .outerjoin(heads, heads.c.session_id == batch_items.c.session_id)
        .where(batch_items.c.batch_id == id, batch_items.c.status == ItemStatus.RUNNING, _is_over())
        .order_by(batch_items.c.n)
    )
    return [
        OverItem(row.n, ItemKind(row.kind), TurnStatus(row.status) if row.status else None, row.stop_reason, row.error)
        for row in connection.execute(statement)
    ]


def next_queued(connection: Connection, id: BatchId) -> QueuedItem | None:
    """The queued item with the lowest index."""
    statement = sa.select(batch_items).where(batch_items.c.batch_id == id, batch_items.c.status == ItemStatus.QUEUED)
    row = connection.execute(statement.order_by(batch_items.c.n).limit(1)).one_or_none()
    return QueuedItem(row.n, ItemKind(row.kind), _session(row), row.wish or "") if row else None


def to_stop(connection: Connection, id: BatchId) -> list[tuple[int, TurnId]]:
    """Index and turn of each running item whose turn nobody asked to stop yet."""
    statement = sa.select(batch_items.c.n, batch_items.c.turn_id).where(
        batch_items.c.batch_id == id, *_IS_TO_BE_STOPPED
    )
    return [(row.n, TurnId(row.turn_id)) for row in connection.execute(statement.order_by(batch_items.c.n))]


def mark_stopped(connection: Connection, id: BatchId, index: int) -> bool:
    """The item's turn was asked to stop, in this transaction. False: it was before, or the item is over."""
    statement = batch_items.update().where(*_is(id, index), *_IS_TO_BE_STOPPED).values(stopped=True)
    return connection.execute(statement).rowcount == 1


def start_item(
    connection: Connection, id: BatchId, index: int, at: datetime, *, session: SessionId, turn: TurnId | None
) -> bool:
    """Queued to running, in the transaction that starts it. False: it is not queued any more; start nothing."""
    values = {"status": ItemStatus.RUNNING, "session_id": session, "turn_id": turn, "started_at": at, "wish": None}
    statement = batch_items.update().where(*_is(id, index), batch_items.c.status == ItemStatus.QUEUED).values(values)
    return connection.execute(statement).rowcount == 1


def end_item(connection: Connection, id: BatchId, index: int, end: ItemEnd, at: datetime) -> bool:
    """Give an item its end. False: it has one."""
    values: dict[str, object] = {"status": end.status, "ended_at": at, "wish": None}
    if end.error is not None:
        values |= {"error_code": end.error.code, "error_message": storable(end.error.message)}
    statement = batch_items.update().where(*_is(id, index), batch_items.c.status.in_(_OPEN)).values(values)
    return connection.execute(statement).rowcount == 1


def cancel(connection: Connection, id: BatchId, at: datetime) -> int:
    """Cancel the batch: its queued items are over, no more are started. How many were queued. Under `lock`."""
    queued = batch_items.update().where(batch_items.c.batch_id == id, batch_items.c.status == ItemStatus.QUEUED)
    count = connection.execute(queued.values(status=ItemStatus.CANCELLED, ended_at=at, wish=None)).rowcount
    connection.execute(batches.update().where(batches.c.id == id).values(status=BatchStatus.CANCELLED))
    return count


def end(connection: Connection, id: BatchId, status: BatchStatus, at: datetime) -> None:
    """Nothing is left to be done for the batch. Under `lock`."""
    connection.execute(batches.update().where(batches.c.id == id).values(status=status, ended_at=at))


_IS_TO_BE_STOPPED = (
    batch_items.c.status == ItemStatus.RUNNING,
    batch_items.c.turn_id.is_not(None),
    batch_items.c.stopped.is_(False),
)


def _is_over() -> sa.ColumnElement[bool]:
    """Of a running item, joined with its turn and its session's head. What is gone is over too."""
    has_turn = batch_items.c.turn_id.is_not(None)
    turn_over = sa.or_(turns.c.id.is_(None), turns.c.status.in_(list(TERMINAL_TURN)))
    session_over = sa.or_(heads.c.session_id.is_(None), heads.c.status == SessionStatus.ENDED)
    return sa.or_(sa.and_(has_turn, turn_over), sa.and_(sa.not_(has_turn), session_over))


def _is(id: BatchId, index: int) -> tuple[sa.ColumnElement[bool], ...]:
    return (batch_items.c.batch_id == id, batch_items.c.n == index)


def _session(row: Row) -> SessionId | None:
    return None if row.session_id is None else SessionId(row.session_id)


def _batches(connection: Connection, rows: Sequence[Row]) -> list[Batch]:
    found: dict[str, dict[str, int]] = {row.id: asdict(Counts()) for row in rows}
    columns = (batch_items.c.batch_id, batch_items.c.status)
    counted = sa.select(*columns, sa.func.count().label("items")).where(batch_items.c.batch_id.in_(list(found)))
    for row in connection.execute(counted.group_by(*columns)):
        found[row.batch_id][row.status] = row.items
    return [_batch(row, Counts(**found[row.id])) for row in rows]


def _batch(row: Row, counts: Counts) -> Batch:
    return Batch(
        id=BatchId(row.id),
        tenant=TenantId(row.tenant_id),
        key=None if row.key_id is None else KeyId(row.key_id),
        status=BatchStatus(row.status),
        concurrency=row.concurrency,
        total=row.total,
        metadata=row.metadata,
        created_at=row.created_at,
        ended_at=row.ended_at,
        counts=counts,
    )


def _item(row: Row) -> BatchItem:
    return BatchItem(
        index=row.n,
        kind=ItemKind(row.kind),
        status=ItemStatus(row.status),
        session=_session(row),
        turn=None if row.turn_id is None else TurnId(row.turn_id),
        error=None if row.error_code is None else ItemError(row.error_code, row.error_message),
        result_text=row.result_text,
        started_at=row.started_at,
        ended_at=row.ended_at,
    )
