"""The head row: its lock orders everything that happens to a session; its epoch fences whoever lost it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from shared.domain.ids import Incarnation, SessionId, TenantId
from shared.domain.session import SESSION_MOVES, SessionStatus
from shared.store import workers
from shared.store.database import Connection
from shared.store.tables import heads
from shared.store.types import UTC


@dataclass(frozen=True, slots=True)
class Head:
    """One head row."""

    session: SessionId
    tenant: TenantId
    status: SessionStatus
    owner: Incarnation | None
    epoch: int
    last_seq: int
    first_seq: int
    last_input: int
    done_input: int
    volume_id: str | None
    portable: bool
    external: bool
    wanted_at: datetime | None
    start_by: datetime | None
    end_by: datetime | None
    ended_at: datetime | None
    end_reason: str | None
    end_detail: str | None


@dataclass(frozen=True, slots=True)
class OwnerRange:
    """Numbers an owner asks for: `count` events of `session` as its batch number `batch` of `epoch`."""

    session: SessionId
    epoch: int
    batch: int
    count: int


def create(
    connection: Connection,
    session: SessionId,
    tenant: TenantId,
    *,
    portable: bool,
    start_by: datetime | None,
    end_by: datetime | None,
) -> None:
    """Make the head of a new session that Corral hosts: `starting`, nobody's, nothing logged."""
    connection.execute(
        heads.insert().values(
            session_id=session,
            tenant_id=tenant,
            status=SessionStatus.STARTING,
            portable=portable,
            start_by=start_by,
            end_by=end_by,
        )
    )


def set_volume(connection: Connection, session: SessionId, volume_id: str | None) -> None:
    """Say on which volume a new session's files are already: only workers of it may claim the session."""
    connection.execute(heads.update().where(heads.c.session_id == session).values(volume_id=volume_id))


def create_external(connection: Connection, session: SessionId, tenant: TenantId) -> None:
    """Make the head of a new session that somebody else runs: it never waits for a worker."""
    values = {"session_id": session, "tenant_id": tenant, "status": SessionStatus.STARTING, "external": True}
    connection.execute(heads.insert().values(values))


def get(connection: Connection, session: SessionId) -> Head | None:
    """The head as it is now, without a lock."""
    row = connection.execute(sa.select(heads).where(heads.c.session_id == session)).one_or_none()
    return as_head(row) if row else None


def lock(connection: Connection, session: SessionId) -> Head | None:
    """The head, its row locked until the transaction ends: front operations decide under it.

    On SQLite the writing transaction itself is the lock.
    """
    row = connection.execute(sa.select(heads).where(heads.c.session_id == session).with_for_update()).one_or_none()
    return as_head(row) if row else None


def reserve(connection: Connection, session: SessionId, count: int, at: datetime) -> int | None:
    """Give out `count` numbers at the front, to whoever need not own the session: the last one, or None without it."""
    return _reserve(connection, heads.c.session_id == session, count, at)


def reserve_external(connection: Connection, session: SessionId, count: int, at: datetime) -> int | None:
    """The same for what only an agent says, and so only where no owner can say it: None for a hosted session."""
    return _reserve(connection, sa.and_(heads.c.session_id == session, heads.c.external), count, at)


def _reserve(connection: Connection, mine: sa.ColumnElement[bool], count: int, at: datetime) -> int | None:
    moved = heads.update().where(mine).values(last_seq=heads.c.last_seq + count, last_event_at=at)
    return connection.execute(moved.returning(heads.c.last_seq)).scalar_one_or_none()


_RESERVE_POSTGRESQL = sa.text(
    """
    WITH wished AS (
        SELECT * FROM unnest(
            CAST(:sessions AS text[]), CAST(:epochs AS bigint[]), CAST(:batches AS bigint[]), CAST(:counts AS bigint[])
        ) AS wish (session_id, epoch, batch, count)
    ), locked AS (
        SELECT h.session_id FROM heads h JOIN wished w USING (session_id) ORDER BY h.session_id FOR UPDATE OF h
    )
    UPDATE heads h
       SET last_seq = h.last_seq + w.count, batch = w.batch,
           last_event_at = CASE WHEN w.count > 0 THEN CAST(:at AS timestamptz) ELSE h.last_event_at END
      FROM wished w JOIN locked l USING (session_id)
     WHERE h.session_id = w.session_id AND h.epoch = w.epoch AND h.batch < w.batch
    RETURNING h.session_id, h.last_seq
    """
)

# The same in SQLite's words. One statement for all sessions: a statement each was two thirds of a commit.
_RESERVE_SQLITE = sa.text(
    """
    UPDATE heads
       SET last_seq = last_seq + wish.count, batch = wish.batch,
           last_event_at = CASE WHEN wish.count > 0 THEN :at ELSE last_event_at END
      FROM (
        SELECT json_extract(value, '$[0]') AS session_id, json_extract(value, '$[1]') AS epoch,
               json_extract(value, '$[2]') AS batch, json_extract(value, '$[3]') AS count
          FROM json_each(:wishes)
      ) AS wish
     WHERE heads.session_id = wish.session_id AND heads.epoch = wish.epoch AND heads.batch < wish.batch
    RETURNING heads.session_id, heads.last_seq
    """
).bindparams(sa.bindparam("at", type_=UTC))


def reserve_owned(connection: Connection, ranges: Sequence[OwnerRange], at: datetime) -> Mapping[SessionId, int]:
    """Give out numbers to owners, each fenced by its epoch: the last number per session.

    A session that is missing in the answer was fenced, is gone, or had this batch already
    (`has_batch` tells). One round trip; rows are locked in the order of their ids, so that two workers with
    overlapping sessions cannot deadlock.
    """
    if connection.dialect.name == "postgresql":
        columns = {
            "sessions": [wish.session for wish in ranges],
            "epochs": [wish.epoch for wish in ranges],
            "batches": [wish.batch for wish in ranges],
            "counts": [wish.count for wish in ranges],
        }
        rows = connection.execute(_RESERVE_POSTGRESQL, {**columns, "at": at})
    else:
        wishes = json.dumps([[wish.session, wish.epoch, wish.batch, wish.count] for wish in ranges])
        rows = connection.execute(_RESERVE_SQLITE, {"wishes": wishes, "at": at})
    return {SessionId(row.session_id): row.last_seq for row in rows}


def has_batch(connection: Connection, session: SessionId, epoch: int, batch: int) -> bool:
    """Whether the owner's batch was committed earlier: its COMMIT had an unknown outcome and the owner retries."""
    row = connection.execute(sa.select(heads.c.epoch, heads.c.batch).where(heads.c.session_id == session)).one_or_none()
    return row is not None and row.epoch == epoch and row.batch >= batch


def next_input(connection: Connection, session: SessionId, at: datetime) -> int | None:
    """The number for one more input; the session is wanted by a host from now on.

    None: it has ended, is gone, or is external and nobody would ever look at the input.
    """
    statement = (
        heads.update()
        .where(heads.c.session_id == session, heads.c.status != SessionStatus.ENDED, heads.c.external.is_(False))
        .values(
            last_input=heads.c.last_input + 1,
            wanted_at=sa.func.coalesce(heads.c.wanted_at, sa.literal(at, heads.c.wanted_at.type)),
        )
        .returning(heads.c.last_input)
    )
    return connection.execute(statement).scalar_one_or_none()


def set_done_input(connection: Connection, session: SessionId, n: int) -> None:
    """Inputs up to `n` have been taken into account. Only as an effect of a fenced append."""
    connection.execute(heads.update().where(heads.c.session_id == session).values(done_input=n))


def set_status(connection: Connection, session: SessionId, status: SessionStatus) -> bool:
    """Move the session to `status`; False where that is no legal move (nothing changes then).

    Only as an effect of a fenced append, or under `lock`.
    """
    from_states = [state for state, onward in SESSION_MOVES.items() if status in onward or state is status]
    result = connection.execute(
        heads.update().where(heads.c.session_id == session, heads.c.status.in_(from_states)).values(status=status)
    )
    return result.rowcount == 1


def end(connection: Connection, session: SessionId, reason: str, detail: str | None, at: datetime) -> bool:
    """End the session: no more inputs, nobody's. False where it had ended before. Frees the owner's slot.

    Under `lock`, or as an effect of a fenced append.
    """
    owner = connection.execute(
        sa.select(heads.c.owner).where(heads.c.session_id == session, heads.c.status != SessionStatus.ENDED)
    ).one_or_none()
    if owner is None:
        return False
    connection.execute(
        heads.update()
        .where(heads.c.session_id == session)
        .values(
            status=SessionStatus.ENDED,
            owner=None,
            epoch=heads.c.epoch + 1,
            batch=0,
            wanted_at=None,
            end_by=None,
            ended_at=at,
            end_reason=reason,
            end_detail=detail,
            done_input=heads.c.last_input,
        )
    )
    if owner.owner is not None:
        workers.free_slot(connection, Incarnation(owner.owner))
    return True


def set_wanted(connection: Connection, session: SessionId, at: datetime | None) -> None:
    """Say since when the session waits for a host; None: it does not."""
    connection.execute(heads.update().where(heads.c.session_id == session).values(wanted_at=at))


def set_end_by(connection: Connection, session: SessionId, at: datetime | None) -> None:
    """Say when the session's lifetime is over; None: never. Under `lock`. An ended session stays as it is."""
    living = heads.update().where(heads.c.session_id == session, heads.c.status != SessionStatus.ENDED)
    connection.execute(living.values(end_by=at))


def set_first_seq(connection: Connection, session: SessionId, first_seq: int) -> None:
    """Retention removed everything before `first_seq`."""
    connection.execute(heads.update().where(heads.c.session_id == session).values(first_seq=first_seq))


def queue_position(connection: Connection, session: SessionId) -> int | None:
    """How many sessions wait before this one for a worker; None when it does not wait for one."""
    mine = connection.execute(
        sa.select(heads.c.wanted_at).where(
            heads.c.session_id == session, heads.c.owner.is_(None), heads.c.status == SessionStatus.STARTING
        )
    ).scalar_one_or_none()
    if mine is None:
        return None
    return connection.execute(
        sa.select(sa.func.count())
        .select_from(heads)
        .where(heads.c.owner.is_(None), heads.c.wanted_at < mine, heads.c.status != SessionStatus.ENDED)
    ).scalar_one()


def last_seqs(connection: Connection, sessions: Iterable[SessionId]) -> Mapping[SessionId, int]:
    """The last number of each of `sessions` that exists: how all readers of a process find lost hints in one query."""
    rows = connection.execute(
        sa.select(heads.c.session_id, heads.c.last_seq).where(heads.c.session_id.in_(list(sessions)))
    )
    return {SessionId(row.session_id): row.last_seq for row in rows}


def as_head(row: sa.Row[*tuple[Any, ...]]) -> Head:
    """The head that a row of `heads` holds."""
    return Head(
        session=SessionId(row.session_id),
        tenant=TenantId(row.tenant_id),
        status=SessionStatus(row.status),
        owner=None if row.owner is None else Incarnation(row.owner),
        epoch=row.epoch,
        last_seq=row.last_seq,
        first_seq=row.first_seq,
        last_input=row.last_input,
        done_input=row.done_input,
        volume_id=row.volume_id,
        portable=row.portable,
        external=row.external,
        wanted_at=row.wanted_at,
        start_by=row.start_by,
        end_by=row.end_by,
        ended_at=row.ended_at,
        end_reason=row.end_reason,
        end_detail=row.end_detail,
    )
