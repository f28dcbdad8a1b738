"""Who hosts a session: claiming, giving up, taking over, and finding what nobody hosts.

Everything here happens under the head row's lock; the epoch rises whenever a session changes hands.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from shared.domain.ids import Incarnation, SessionId
from shared.domain.session import SessionStatus
from shared.store import workers
from shared.store.database import Connection
from shared.store.heads import Head, as_head
from shared.store.tables import heads
from shared.store.tables import workers as workers_table


def claim(connection: Connection, me: Incarnation, volume_id: str, *, session: SessionId | None = None) -> Head | None:
    """Take the session that has waited longest (or `session`) for worker `me`: a slot, the epoch, the volume.

    None: nothing waits that this worker may host, or it has no free slot. Sessions that never had a
    workspace go to any worker; others only to their volume, portable ones anywhere. Call it in a transaction
    of its own and roll back on None is not needed: without a session no slot is kept.
    """
    candidate = sa.select(heads.c.session_id).where(
        heads.c.owner.is_(None),
        heads.c.wanted_at.is_not(None),
        heads.c.status != SessionStatus.ENDED,
        sa.or_(heads.c.volume_id.is_(None), heads.c.volume_id == volume_id, heads.c.portable),
    )
    if session is not None:
        candidate = candidate.where(heads.c.session_id == session)
    found = connection.execute(
        candidate.order_by(heads.c.wanted_at, heads.c.session_id).limit(1).with_for_update(skip_locked=True)
    ).scalar_one_or_none()
    if found is None or not workers.take_slot(connection, me):
        return None
    row = connection.execute(
        heads.update()
        .where(heads.c.session_id == found)
        .values(owner=me, epoch=heads.c.epoch + 1, batch=0, volume_id=sa.func.coalesce(heads.c.volume_id, volume_id))
        .returning(*heads.c)
    ).one()
    return as_head(row)


def release(connection: Connection, session: SessionId, epoch: int, status: SessionStatus) -> bool:
    """Give the session up, as `status`, unless an input came that nobody took into account yet.

    False: an input is ahead (the owner must look at it first), or the epoch is no longer ours. Frees the slot.
    """
    row = connection.execute(
        sa.select(heads.c.owner, heads.c.last_input, heads.c.done_input)
        .where(heads.c.session_id == session, heads.c.epoch == epoch)
        .with_for_update()
    ).one_or_none()
    if row is None or row.owner is None or row.last_input > row.done_input:
        return False
    return _give_up(connection, session, Incarnation(row.owner), status, wanted_at=None)


def hand_over(connection: Connection, session: SessionId, epoch: int, status: SessionStatus, at: datetime) -> bool:
    """Give the session up although something still waits: it is wanted by another host from now on."""
    row = connection.execute(
        sa.select(heads.c.owner).where(heads.c.session_id == session, heads.c.epoch == epoch).with_for_update()
    ).one_or_none()
    if row is None or row.owner is None:
        return False
    return _give_up(connection, session, Incarnation(row.owner), status, wanted_at=at)


def _give_up(
    connection: Connection, session: SessionId, owner: Incarnation, status: SessionStatus, *, wanted_at: datetime | None
) -> bool:
    connection.execute(
        heads.update()
        .where(heads.c.session_id == session)
        .values(owner=None, epoch=heads.c.epoch + 1, batch=0, status=status, wanted_at=wanted_at)
    )
    workers.free_slot(connection, owner)
    return True


def take_over(connection: Connection, session: SessionId, lost: Incarnation) -> int | None:
    """Take a session from an owner that is lost, for nobody: the epoch under which the rescuer tells what became of it.

    None: `lost` no longer owns it. `settle` follows in the same transaction.
    """
    statement = (
        heads.update()
        .where(heads.c.session_id == session, heads.c.owner == lost)
        .values(owner=None, epoch=heads.c.epoch + 1, batch=0)
        .returning(heads.c.epoch)
    )
    return connection.execute(statement).scalar_one_or_none()


def settle(connection: Connection, session: SessionId, status: SessionStatus, wanted_at: datetime | None) -> None:
    """Leave a session that was taken over as `status`.

    It is wanted since `wanted_at`, or for as long as an input waits that nobody took into account.
    """
    moment = sa.literal(wanted_at, heads.c.wanted_at.type)
    has_news = heads.c.last_input > heads.c.done_input
    waiting_since = sa.func.coalesce(heads.c.wanted_at, moment, heads.c.last_event_at)
    connection.execute(
        heads.update()
        .where(heads.c.session_id == session)
        .values(status=status, wanted_at=sa.case((has_news, waiting_since), else_=moment))
    )


def orphaning_owners(connection: Connection) -> Sequence[Incarnation]:
    """Owners of sessions that no longer beat: what a rescuer left unfinished."""
    rows = connection.execute(
        sa.select(heads.c.owner)
        .distinct()
        .select_from(heads.outerjoin(workers_table, workers_table.c.incarnation == heads.c.owner))
        .where(
            heads.c.owner.is_not(None),
            sa.or_(workers_table.c.incarnation.is_(None), workers_table.c.state.not_in(["live", "draining"])),
        )
    )
    return [Incarnation(row.owner) for row in rows]


def owned_by(connection: Connection, owner: Incarnation) -> Sequence[Head]:
    """All sessions of one incarnation."""
    return _heads(connection.execute(sa.select(heads).where(heads.c.owner == owner).order_by(heads.c.session_id)))


def with_news(connection: Connection, owner: Incarnation) -> Sequence[SessionId]:
    """Sessions of `owner` with inputs it has not taken into account: what a lost doorbell left behind."""
    rows = connection.execute(
        sa.select(heads.c.session_id).where(heads.c.owner == owner, heads.c.last_input > heads.c.done_input)
    )
    return [SessionId(row.session_id) for row in rows]


def waiting(connection: Connection, volume_id: str, limit: int) -> Sequence[Head]:
    """Sessions nobody hosts that a worker of `volume_id` could claim, longest waiting first."""
    return _heads(
        connection.execute(
            sa.select(heads)
            .where(
                heads.c.owner.is_(None),
                heads.c.wanted_at.is_not(None),
                heads.c.status != SessionStatus.ENDED,
                sa.or_(heads.c.volume_id.is_(None), heads.c.volume_id == volume_id, heads.c.portable),
            )
            .order_by(heads.c.wanted_at, heads.c.session_id)
            .limit(limit)
        )
    )


def unhosted_off_volumes(connection: Connection, volumes: Iterable[str], limit: int) -> Sequence[Head]:
    """Wanted sessions whose volume no live worker has, and which are not called stranded yet."""
    return _heads(
        connection.execute(
            sa.select(heads)
            .where(
                heads.c.owner.is_(None),
                heads.c.wanted_at.is_not(None),
                heads.c.status.not_in([SessionStatus.ENDED, SessionStatus.STRANDED]),
                heads.c.volume_id.is_not(None),
                heads.c.portable.is_(False),
                heads.c.volume_id.not_in(list(volumes)),
            )
            .limit(limit)
        )
    )


def past_start(connection: Connection, at: datetime, limit: int) -> Sequence[Head]:
    """Sessions that never got a host and whose time for it is over."""
    return _heads(
        connection.execute(
            sa.select(heads)
            .where(
                heads.c.owner.is_(None),
                heads.c.status == SessionStatus.STARTING,
                heads.c.epoch == 0,
                heads.c.wanted_at.is_not(None),
                heads.c.start_by < at,
            )
            .limit(limit)
        )
    )


def past_end(connection: Connection, at: datetime, limit: int) -> Sequence[Head]:
    """Sessions without an owner whose lifetime is over (a host ends its own)."""
    return _heads(
        connection.execute(
            sa.select(heads)
            .where(heads.c.owner.is_(None), heads.c.status != SessionStatus.ENDED, heads.c.end_by < at)
            .limit(limit)
        )
    )


def _heads(rows: sa.CursorResult[*tuple[Any, ...]]) -> Sequence[Head]:
    return [as_head(row) for row in rows]
