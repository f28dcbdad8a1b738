"""External sessions: agents that somebody else runs. Who may report, and what becomes of those that fall silent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from shared.domain import clock
from shared.domain.errors import NotFound, SessionEnded, Unauthenticated, Unsupported
from shared.domain.event import Draft, EventType
from shared.domain.external import ExternalSession, Reporter
from shared.domain.ids import SessionId, mint_reporter, mint_session
from shared.domain.json import JsonObject
from shared.domain.session import EndReason, Limits, Mode, SessionSpec, SessionStatus
from shared.domain.tenant import Caller
from shared.domain.webhook import Endpoint
from shared.operations import approvals, callbacks
from shared.operations.context import Context
from shared.operations.endings import Front, end_under_lock
from shared.operations.sessions import Seen
from shared.operations.transaction import Act, Once, carry_out
from shared.store import asks, external, heads, sessions
from shared.store.database import Database
from shared.store.sealing import Sealer

WORKSPACE_KIND = "external"
"""What stands where a hosted session names its workspace kind. No worker opens such a workspace."""


@dataclass(frozen=True, slots=True)
class NewExternal:
    """What a caller wants. `heartbeat_s` 0: its sessions never lapse; None: the server's default."""

    agent: str
    title: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    folder: str | None = None
    """Where the agent works, for people: Corral does not look there."""
    heartbeat_s: float | None = None
    remote_approval: bool = False
    ask_timeout_s: float = 60.0
    webhook: callbacks.SessionWebhook | None = None


@dataclass(frozen=True, slots=True)
class Registered:
    """What `register` made. The token is shown once."""

    seen: Seen
    webhook: Endpoint | None
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Heard:
    """A heartbeat was taken."""

    session: SessionId
    status: SessionStatus
    lapses_at: datetime | None


def register(context: Context, caller: Caller, new: NewExternal, *, once: Once[Registered] | None = None) -> Registered:
    """Make an external session and the token that reports to it.

    The session is `starting` until the first report. Each further conversation of the agent that holds the token
    becomes a session of its own, made like the first.

    Raises:
        InvalidField: the webhook cannot be; nothing was made.
    """
    if new.webhook is not None:
        callbacks.check_session_webhook(context.webhook_rules, new.webhook)

    def effect(act: Act) -> Registered:
        reporter = Reporter(
            id=mint_reporter(),
            tenant=caller.tenant,
            agent=new.agent,
            title=new.title,
            metadata=new.metadata,
            folder=new.folder,
            heartbeat_s=context.reporting.heartbeat_s if new.heartbeat_s is None else new.heartbeat_s or None,
            remote_approval=new.remote_approval,
            ask_timeout_s=new.ask_timeout_s,
        )
        token = external.create_reporter(act.connection, reporter, context.sealer, act.at)
        # The clock of silence starts with the first report: a token may be installed long before the agent runs.
        session = open_session(act, reporter, None).session
        webhook = callbacks.make_session_webhook(act, session, new.webhook) if new.webhook else None
        found = sessions.get(act.connection, caller.tenant, session, context.sealer)
        if found is None:
            raise NotFound("session", session)
        return Registered(Seen(found, None), webhook, token)

    return carry_out(context, caller, once, effect)


def open_session(act: Act, reporter: Reporter, agent_session_id: str | None) -> ExternalSession:
    """Make one more session of a reporter, inside the caller's transaction."""
    made = ExternalSession(mint_session(), reporter.id, agent_session_id)
    spec = SessionSpec(
        agent=reporter.agent,
        workspace_kind=WORKSPACE_KIND,
        workspace={} if reporter.folder is None else {"folder": reporter.folder},
        mode=Mode.INTERACTIVE,
        title=reporter.title,
        metadata=reporter.metadata,
        limits=Limits(),
        ask_timeout_s=reporter.ask_timeout_s,
    )
    sealer = act.context.sealer
    sessions.create(act.connection, spec, id=made.session, tenant=reporter.tenant, key=None, sealer=sealer, at=act.at)
    heads.create_external(act.connection, made.session, reporter.tenant)
    external.create(act.connection, made, None)
    return made


def find_reporter(database: Database, sealer: Sealer, token: str) -> Reporter:
    """Who holds a hook token.

    Raises:
        Unauthenticated: nobody does, or no longer: which of them is not told.
    """
    with database.read() as connection:
        found = external.find_reporter(connection, token, sealer)
    if found is None:
        raise Unauthenticated("This hook token is unknown or was withdrawn.")
    return found


def beat(context: Context, caller: Caller, session: SessionId) -> Heard:
    """Note that an external session lives although it has nothing to report. Safe to repeat.

    Raises:
        NotFound: missing, another tenant's, or another reporter's.
        Unsupported: a worker hosts it and knows whether it lives.
        SessionEnded: too late; the agent's next prompt opens another session.
    """

    def effect(act: Act) -> Heard:
        head = act.lock(session)
        if not head.external:
            raise Unsupported(f"{session} is hosted by Corral, which needs no heartbeat of it.", session=session)
        reporter = external.reporter_of(act.connection, session)
        # A reporter's only name is its id: it may speak for its own sessions alone.
        if reporter is None or (not caller.scopes and str(caller.key) != reporter.id):
            raise NotFound("session", session)
        if head.status is SessionStatus.ENDED:
            raise SessionEnded(session, head.end_reason)
        lapses_at = reporter.lapses_at(act.at)
        external.hear(act.connection, session, lapses_at)
        return Heard(session, head.status, lapses_at)

    return carry_out(context, caller, None, effect)


def end_silent(place: Front, limit: int) -> int:
    """End external sessions of which nothing was heard for too long, and close what nobody answered in time.

    How many of both. Safe to do twice, and by several at once.
    """
    moment = clock.now()
    with place.database.read() as connection:
        silent = external.lapsed(connection, moment, limit)
        overdue = asks.due_external(connection, moment, limit)
    for session in silent:
        _lapse(place, session)
    for ask in overdue:
        approvals.expire(place, ask)
    return len(silent) + len(overdue)


def _lapse(place: Front, session: SessionId) -> None:
    with place.database.write() as connection:
        if heads.lock(connection, session) is None or not external.is_lapsed(connection, session, clock.now()):
            return
        detail = "Nothing was heard of it for longer than its heartbeat_s."
        written = end_under_lock(connection, session, EndReason.HEARTBEAT_LOST, detail)
    place.committed(written)


def started(reporter: Reporter, told: JsonObject) -> Draft:
    """The event that an external session's agent is up."""
    resumed = told.get("source") == "resume"
    return Draft(EventType.SESSION_STARTED, {"agent": reporter.agent, "resumed": resumed, **told})
