"""Who hosts a session: claiming, giving up, taking over, and finding what nobody hosts.

Everything here happens under the head row's lock; the epoch rises whenever a session changes hands.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from shared.domain.ids import Incarnation, SessionId
from shared.domain.session import SessionStatus
from shared.store import workers
from shared.store.database import Connection
from shared.store.heads import Head, as_head
from shared.store.tables import heads, sessions
from shared.store.tables import workers as workers_table


def claim(connection: Connection, me: Incarnation, volume_id: str, *, session: SessionId | None = None) -> Head | None:
    """Take the session that has waited longest (or `session`) for worker `me`: a slot, the epoch, the volume.

    None: nothing waits that this worker may host, or it has no free slot. It may host those whose agent it said it
    can start. Sessions that never had a workspace go to any such worker; others only to their volume, portable ones
    anywhere. Call it in a transaction of its own; to roll back on None is not needed: without a session no slot is
    kept.
    """
    candidate = sa.select(heads.c.session_id).where(_is_claimable(connection, me, volume_id))
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


def _is_claimable(connection: Connection, me: Incarnation, volume_id: str) -> sa.ColumnElement[bool]:
    row = workers.get(connection, me)
    # A worker without the program would only end the session as failed, beside a peer that has it.
    agents = row.ready_agents if row is not None else frozenset()
    return sa.and_(
        heads.c.owner.is_(None),
        heads.c.wanted_at.is_not(None),
        heads.c.status != SessionStatus.ENDED,
        sa.or_(heads.c.volume_id.is_(None), heads.c.volume_id == volume_id, heads.c.portable),
        _has_agent_of(agents),
    )


def _has_agent_of(agents: Iterable[str]) -> sa.ColumnElement[bool]:
    # Not a join: FOR UPDATE would lock the session's row too.
    return sa.exists().where(sessions.c.id == heads.c.session_id, sessions.c.agent.in_(list(agents))).correlate(heads)


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


def waiting(connection: Connection, me: Incarnation, volume_id: str, limit: int) -> Sequence[Head]:
    """Sessions nobody hosts that worker `me` of `volume_id` could claim, longest waiting first."""
    return _heads(
        connection.execute(
            sa.select(heads)
            .where(_is_claimable(connection, me, volume_id))
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


def unhosted_without_agent(
    connection: Connection, lacking: Mapping[str, Collection[str]], limit: int
) -> Sequence[tuple[SessionId, str]]:
    """Wanted sessions that were up before, which no live worker of their volume can start, with their agents.

    `lacking` says by volume which agents no worker there has. Not those that still start: they have a deadline.
    """
    if not any(lacking.values()):
        return []
    there = [sa.and_(heads.c.volume_id == volume, _has_agent_of(agents)) for volume, agents in lacking.items()]
    nowhere = frozenset.intersection(*(frozenset(agents) for agents in lacking.values()))
    is_lacking = sa.or_(
        sa.and_(heads.c.portable, _has_agent_of(nowhere)), sa.and_(heads.c.portable.is_(False), sa.or_(*there))
    )
    rows = connection.execute(
        sa.select(heads.c.session_id, sessions.c.agent)
        .join(sessions, sessions.c.id == heads.c.session_id)
        .where(
            heads.c.owner.is_(None),
            heads.c.wanted_at.is_not(None),
            heads.c.status.not_in([SessionStatus.ENDED, SessionStatus.STRANDED, SessionStatus.STARTING]),
            is_lacking,
        )
        .limit(limit)
    )
    return [(SessionId(row.session_id), row.agent) for row in rows]


def past_start(connection: Connection, at: datetime, limit: int) -> Sequence[Head]:
    """Sessions nobody hosts that never came up, and whose time for it is over."""
    return _heads(
        connection.execute(
            sa.select(heads)
            .where(
                heads.c.owner.is_(None),
                heads.c.status == SessionStatus.STARTING,
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
