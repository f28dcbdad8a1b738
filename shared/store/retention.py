"""Removes by age: ended sessions with their logs, delivered deliveries, old idempotency keys, workers long lost.

Short transactions only: on SQLite everybody else waits for each of them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from shared.domain.clock import now
from shared.domain.ids import SessionId
from shared.domain.session import SessionStatus
from shared.domain.webhook import DeliveryKind, DeliveryStatus, EndpointStatus
from shared.store import events, heads, sessions
from shared.store.database import Database
from shared.store.external_tables import reports
from shared.store.tables import (
    asks,
    batch_items,
    batches,
    blobs,
    deliveries,
    endpoints,
    idempotency,
    inputs,
    lanes,
    transcripts,
    turns,
    workers,
)
from shared.store.tables import heads as head_rows

KEEP_KEYS = timedelta(hours=24)
"""How long an idempotency key is remembered."""

ROWS = 500
"""Most rows removed in one transaction."""

_ATTEMPTS = 10  # a delivery takes about as many attempts with it when it goes
_SESSIONS = 100  # ended sessions looked up at a time
# SQLite's waiting writers poll; one who commits and begins again at once would starve them.
_BREATH_S = 0.01


@dataclass(frozen=True, slots=True)
class Trimmed:
    """How many of each went. `events` and `deliveries` count those of removed sessions too."""

    sessions: int
    events: int
    deliveries: int
    idempotency_keys: int
    workers: int
    batches: int = 0


def trim(database: Database, *, before: datetime, limit: int = ROWS) -> Trimmed:
    """Remove what ended, was delivered or was lost before `before`, and idempotency keys older than 24 hours.

    In transactions of about `limit` rows. Safe to stop anywhere, to repeat, and to run from several processes.
    A session with deliveries still to be made stays until they are made or given up.

    Raises:
        DatabaseAway: no connection; what was removed so far stays removed.
    """
    gone_sessions = gone_events = gone_deliveries = 0
    last = SessionId("")
    while batch := _ended(database, before, last):
        last = batch[-1]
        for session in batch:
            gone_events += _remove_log(database, session, limit)
            gone_deliveries += _remove_belongings(database, session, limit)
            with database.write() as connection:
                sessions.delete(connection, session)
            gone_sessions += 1
    old = sa.or_(
        sa.and_(deliveries.c.status == DeliveryStatus.DELIVERED, deliveries.c.delivered_at < before),
        sa.and_(
            deliveries.c.status == DeliveryStatus.DEAD,
            deliveries.c.kind == DeliveryKind.TEST,
            deliveries.c.created_at < before,
        ),
    )
    lost = sa.and_(workers.c.state == "lost", workers.c.beat_at < before)
    unowned = workers.c.incarnation.not_in(sa.select(head_rows.c.owner).where(head_rows.c.owner.is_not(None)))
    return Trimmed(
        sessions=gone_sessions,
        events=gone_events,
        deliveries=gone_deliveries + _remove(database, deliveries, old, _fewer(limit)),
        idempotency_keys=_remove(database, idempotency, idempotency.c.created_at < now() - KEEP_KEYS, limit),
        workers=_remove(database, workers, sa.and_(lost, unowned), limit),
        batches=_remove_batches(database, before, limit),
    )


def trim_log(database: Database, session: SessionId, *, upto: int, limit: int = ROWS) -> int:
    """Remove the events up to seq `upto`, at most `limit` a transaction; how many went.

    The head's `first_seq` rises in the same transaction, so a reader is told what was removed and sees no hole.
    """
    removed = 0
    while True:
        with database.write() as connection:
            head = heads.lock(connection, session)
            if head is None or head.first_seq > min(upto, head.last_seq):
                return removed
            end = min(upto, head.last_seq, head.first_seq + limit - 1)
            removed += events.remove_upto(connection, session, end)
            heads.set_first_seq(connection, session, end + 1)
        _breathe(database)


def _remove_batches(database: Database, before: datetime, limit: int) -> int:
    old = batches.c.ended_at < before
    _remove(database, batch_items, batch_items.c.batch_id.in_(sa.select(batches.c.id).where(old)), limit)
    # A batch that grew old in between takes its thousand items along in one transaction; so not many at once.
    return _remove(database, batches, old, 1)


def _ended(database: Database, before: datetime, after: SessionId) -> Sequence[SessionId]:
    statement = (
        sa.select(head_rows.c.session_id)
        .where(
            head_rows.c.status == SessionStatus.ENDED,
            head_rows.c.ended_at < before,
            head_rows.c.session_id > after,
            sa.not_(_is_owed()),
        )
        .order_by(head_rows.c.session_id)
        .limit(_SESSIONS)
    )
    with database.read() as connection:
        return [SessionId(found) for found in connection.execute(statement).scalars()]


def _is_owed() -> sa.ColumnElement[bool]:
    """Whether a receiver still waits for something of the session. One that was disabled waits for nothing."""
    delivery = sa.exists().where(
        deliveries.c.session_id == head_rows.c.session_id,
        deliveries.c.status.in_([DeliveryStatus.QUEUED, DeliveryStatus.PENDING]),
        deliveries.c.endpoint_id == endpoints.c.id,
        endpoints.c.status != EndpointStatus.DISABLED,
    )
    lane = sa.exists().where(
        lanes.c.session_id == head_rows.c.session_id,
        lanes.c.closed.is_(False),
        lanes.c.cursor < head_rows.c.last_seq,
        lanes.c.endpoint_id == endpoints.c.id,
        endpoints.c.status == EndpointStatus.ACTIVE,
    )
    return sa.or_(delivery.correlate(head_rows), lane.correlate(head_rows))


def _remove_log(database: Database, session: SessionId, limit: int) -> int:
    with database.read() as connection:
        head = heads.get(connection, session)
    return 0 if head is None else trim_log(database, session, upto=head.last_seq, limit=limit)


def _remove_belongings(database: Database, session: SessionId, limit: int) -> int:
    """Before the session itself: its row takes all of them along in one transaction, however many there are."""
    for table in (blobs, transcripts, inputs, asks, turns, reports):
        _remove(database, table, table.c.session_id == session, limit)
    return _remove(database, deliveries, deliveries.c.session_id == session, _fewer(limit))


def _remove(database: Database, table: sa.Table, condition: sa.ColumnElement[bool], limit: int) -> int:
    key = list(table.primary_key.columns)
    # Rows another trimmer is about to remove are left to it: two that wait for each other would be a deadlock.
    chosen = sa.select(*key).where(condition).limit(limit).with_for_update(skip_locked=True)
    if not database.is_sqlite:
        # As a plain subquery PostgreSQL may run it more than once, and each time lock other rows. On SQLite the
        # driver counts no rows of a statement that begins with WITH.
        chosen = sa.select(chosen.cte("chosen"))
    statement = table.delete().where(sa.tuple_(*key).in_(chosen))
    removed = 0
    while True:
        with database.write() as connection:
            count = connection.execute(statement).rowcount
        removed += count
        if count < limit:
            return removed
        _breathe(database)


def _fewer(limit: int) -> int:
    return max(1, limit // _ATTEMPTS)


def _breathe(database: Database) -> None:
    if database.is_sqlite:
        time.sleep(_BREATH_S)
