"""External sessions: who may report, which conversation is which session, and which reports were taken already."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from shared.domain.event import storable
from shared.domain.external import TOKEN_PREFIX, ExternalSession, OpenCall, Reporter
from shared.domain.ids import AskId, ReporterId, SessionId, TenantId
from shared.domain.session import SessionStatus
from shared.store import tokens
from shared.store.cursors import Row
from shared.store.database import Connection
from shared.store.external_tables import external_sessions, reporters, reports
from shared.store.sealing import Sealer
from shared.store.tables import heads

_PEPPER = "hook-token-pepper"


@dataclass(frozen=True, slots=True)
class Taken:
    """A report that was taken before."""

    session: SessionId
    body_hash: str
    ask: AskId | None


def create_reporter(connection: Connection, reporter: Reporter, sealer: Sealer, at: datetime) -> str:
    """Store a reporter; its token `crh_…`, which nobody can read again."""
    token = tokens.mint(TOKEN_PREFIX)
    connection.execute(
        reporters.insert().values(
            id=reporter.id,
            tenant_id=reporter.tenant,
            token_hash=tokens.digest(token, sealer, _PEPPER),
            agent=reporter.agent,
            title=None if reporter.title is None else storable(reporter.title),
            metadata={storable(name): storable(text) for name, text in reporter.metadata.items()},
            folder=None if reporter.folder is None else storable(reporter.folder),
            heartbeat_s=reporter.heartbeat_s,
            remote_approval=reporter.remote_approval,
            ask_timeout_s=reporter.ask_timeout_s,
            created_at=at,
        )
    )
    return token


def find_reporter(connection: Connection, token: str, sealer: Sealer) -> Reporter | None:
    """Who holds `token`; None for one unknown or withdrawn."""
    if not tokens.is_whole(token, TOKEN_PREFIX):
        return None
    digest = tokens.digest(token, sealer, _PEPPER)
    row = connection.execute(sa.select(reporters).where(reporters.c.token_hash == digest)).one_or_none()
    return _reporter(row) if row else None


def lock_reporter(connection: Connection, id: ReporterId) -> Reporter | None:
    """The reporter, its row locked until the transaction ends: its reports are taken one after the other.

    Before any head, or two reports may each open a session for the same conversation.
    """
    row = connection.execute(sa.select(reporters).where(reporters.c.id == id).with_for_update()).one_or_none()
    return _reporter(row) if row else None


def reporter_of(connection: Connection, session: SessionId) -> Reporter | None:
    """The reporter of a session; None where its token was withdrawn, or there never was one."""
    statement = sa.select(reporters).join(external_sessions, external_sessions.c.reporter_id == reporters.c.id)
    row = connection.execute(statement.where(external_sessions.c.session_id == session)).one_or_none()
    return _reporter(row) if row else None


def withdraw(connection: Connection, tenant: TenantId, session: SessionId) -> bool:
    """End the token that the tenant's `session` is reported with; its sessions stay. False: there is none."""
    mine = sa.select(external_sessions.c.reporter_id).where(external_sessions.c.session_id == session)
    statement = reporters.delete().where(reporters.c.id.in_(mine), reporters.c.tenant_id == tenant)
    return connection.execute(statement).rowcount == 1


def create(connection: Connection, external: ExternalSession, lapse_at: datetime | None) -> None:
    """Note that a session is external, and whose; its row and head are made in the same transaction."""
    connection.execute(
        external_sessions.insert().values(
            session_id=external.session,
            reporter_id=external.reporter,
            agent_session_id=_storable_or_none(external.agent_session_id),
            open_calls=external.stored_calls(),
            lapse_at=lapse_at,
        )
    )


def latest(connection: Connection, reporter: ReporterId, agent_session_id: str | None) -> ExternalSession | None:
    """The session a report belongs to: of this conversation, or one that no report has named a conversation for.

    A report that names none belongs to the reporter's newest session.
    """
    statement = sa.select(external_sessions).where(external_sessions.c.reporter_id == reporter)
    if agent_session_id is not None:
        named = external_sessions.c.agent_session_id == storable(agent_session_id)
        statement = statement.where(sa.or_(named, external_sessions.c.agent_session_id.is_(None)))
        statement = statement.order_by(sa.case((named, 0), else_=1))
    row = connection.execute(statement.order_by(external_sessions.c.session_id.desc()).limit(1)).one_or_none()
    return _external(row) if row else None


def update(connection: Connection, external: ExternalSession, lapse_at: datetime | None) -> None:
    """Keep what a report changed. Under the head's lock."""
    connection.execute(
        external_sessions.update()
        .where(external_sessions.c.session_id == external.session)
        .values(
            agent_session_id=_storable_or_none(external.agent_session_id),
            open_calls=external.stored_calls(),
            lapse_at=lapse_at,
        )
    )


def hear(connection: Connection, session: SessionId, lapse_at: datetime | None) -> bool:
    """Note that the session lives; False where it is not external."""
    statement = external_sessions.update().where(external_sessions.c.session_id == session)
    return connection.execute(statement.values(lapse_at=lapse_at)).rowcount == 1


def is_lapsed(connection: Connection, session: SessionId, at: datetime) -> bool:
    """Whether nothing was heard of the session for too long. Under the head's lock it stays true."""
    statement = sa.select(external_sessions.c.session_id).where(
        external_sessions.c.session_id == session, external_sessions.c.lapse_at < at
    )
    return connection.execute(statement).first() is not None


def lapsed(connection: Connection, at: datetime, limit: int) -> list[SessionId]:
    """Living sessions of which nothing was heard for too long."""
    statement = (
        sa.select(external_sessions.c.session_id)
        .join(heads, heads.c.session_id == external_sessions.c.session_id)
        .where(external_sessions.c.lapse_at < at, heads.c.status != SessionStatus.ENDED)
        .order_by(external_sessions.c.lapse_at)
        .limit(limit)
    )
    return [SessionId(found) for found in connection.execute(statement).scalars()]


def taken(connection: Connection, reporter: ReporterId, report: str) -> Taken | None:
    """The report of this id, where it was taken before. Under the reporter's lock."""
    statement = sa.select(reports).where(reports.c.reporter_id == reporter, reports.c.id == storable(report))
    row = connection.execute(statement).one_or_none()
    if row is None:
        return None
    return Taken(SessionId(row.session_id), row.body_hash, None if row.ask_id is None else AskId(row.ask_id))


def take(connection: Connection, reporter: ReporterId, report: str, taken: Taken, at: datetime) -> None:
    """Note that a report was taken."""
    connection.execute(
        reports.insert().values(
            reporter_id=reporter,
            id=storable(report),
            session_id=taken.session,
            body_hash=taken.body_hash,
            ask_id=taken.ask,
            created_at=at,
        )
    )


def _storable_or_none(text: str | None) -> str | None:
    return None if text is None else storable(text)


def _reporter(row: Row) -> Reporter:
    return Reporter(
        id=ReporterId(row.id),
        tenant=TenantId(row.tenant_id),
        agent=row.agent,
        title=row.title,
        metadata=row.metadata,
        folder=row.folder,
        heartbeat_s=row.heartbeat_s,
        remote_approval=row.remote_approval,
        ask_timeout_s=row.ask_timeout_s,
    )


def _external(row: Row) -> ExternalSession:
    return ExternalSession(
        session=SessionId(row.session_id),
        reporter=ReporterId(row.reporter_id),
        agent_session_id=row.agent_session_id,
        open_calls={ref: OpenCall(name, digest) for ref, (name, digest) in row.open_calls.items()},
    )
