"""Sessions that go on from others: a copy beside a living one, and what continues one that was parked or has ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from shared.agents.driver import Abilities
from shared.domain.errors import ExternalSession, NotFound, SessionBusy, Unsupported
from shared.domain.ids import SessionId
from shared.domain.input import InputKind, Wish
from shared.domain.session import Mode, Origin, Session, SessionSpec, SessionStatus
from shared.domain.tenant import Caller
from shared.domain.turn import TurnStatus
from shared.operations.context import Context
from shared.operations.sessions import (
    Created,
    Inheritance,
    NewSession,
    Seen,
    agent_abilities,
    check_mode,
    check_model,
    make,
)
from shared.operations.transaction import Act, Once, carry_out
from shared.store import heads, sessions, turns
from shared.store.heads import Head
from shared.store.sessions import UNSET, Unset


@dataclass(frozen=True, slots=True)
class Fork:
    """How the new session differs; what is UNSET is as in the old one."""

    title: str | Unset | None = UNSET
    metadata: Mapping[str, str] | Unset = UNSET
    mode: Mode | Unset = UNSET
    model: str | Unset | None = UNSET
    prompt: str | None = None
    source: str = "api"


def fork(
    context: Context, caller: Caller, session: SessionId, wish: Fork, *, once: Once[Created] | None = None
) -> Created:
    """Make a session that begins with this one's conversation and files, which stay as they are.

    Raises:
        NotFound: missing, or another tenant's.
        ExternalSession: its agent runs elsewhere.
        SessionBusy: a turn runs, so that conversation and files are between two states.
        Unsupported: the agent cannot copy a conversation, or lacks the mode.
        ModelNotAllowed: the operator does not let the agent be asked for this model.
        AgentNotReady: no worker has the agent's program.
    """
    return carry_out(context, caller, once, lambda act: _continued(act, _idle(act, session), wish, copies=True))


def resume(
    context: Context, caller: Caller, session: SessionId, *, once: Once[Seen | Created] | None = None
) -> Seen | Created:
    """Bring a parked session's agent up; a session that is up stays as it is. Safe to repeat.

    An ended session takes nothing more, its log is closed: it is continued by a new one, which goes on with the same
    conversation in a copy of its files.

    Raises:
        NotFound: missing, or another tenant's.
        ExternalSession: its agent runs elsewhere.
        Unsupported: it has ended, and its agent cannot resume a conversation.
        AgentNotReady: it has ended, and no worker has the agent's program.
    """

    def effect(act: Act) -> Seen | Created:
        head = _lock_hosted(act, session)
        if head.status is SessionStatus.ENDED:
            return _continued(act, _found(act, session), Fork(), copies=False)
        if head.status in {SessionStatus.PARKED, SessionStatus.STRANDED}:
            act.ask(head, Wish(session, InputKind.START))
        return Seen(_found(act, session), heads.queue_position(act.connection, session))

    return carry_out(context, caller, once, effect)


def _found(act: Act, session: SessionId) -> Session:
    found = sessions.get(act.connection, act.caller.tenant, session, act.context.sealer)
    if found is None:
        raise NotFound("session", session)
    return found


def _lock_hosted(act: Act, session: SessionId) -> Head:
    head = act.lock(session)
    if head.external:
        # Neither its conversation nor its files are here.
        raise ExternalSession(session)
    return head


def _idle(act: Act, session: SessionId) -> Session:
    _lock_hosted(act, session)
    line = turns.open_line(act.connection, session)
    if line and line[0][1] is not TurnStatus.QUEUED:
        raise SessionBusy(session, line[0][0])
    return _found(act, session)


def _continued(act: Act, found: Session, wish: Fork, *, copies: bool) -> Created:
    agent = found.spec.agent
    abilities = agent_abilities(act.context, agent)
    if not _can(abilities, copies=copies):
        what = "copy" if copies else "resume"
        raise Unsupported(f"{agent} cannot {what} a conversation.", agent=agent)
    spec = _spec(act, found, wish)
    check_mode(act.context, agent, abilities, spec.mode)
    check_model(act.context, agent, spec.model)
    origin = Origin(found.id, found.conversation, fork=_forks(found, copies=copies))
    inherits = Inheritance(origin, found.volume_id)
    return make(act, spec, NewSession(spec, prompt=wish.prompt, source=wish.source, inherits=inherits))


def _can(abilities: Abilities, *, copies: bool) -> bool:
    return abilities.fork if copies else abilities.resume


def _forks(found: Session, *, copies: bool) -> bool:
    # What it began with itself, and has not prompted yet, may be somebody else's to go on with.
    return copies or (not found.turns_started and found.origin is not None and found.origin.fork)


def _spec(act: Act, found: Session, wish: Fork) -> SessionSpec:
    spec = found.spec
    kind = act.context.kinds[spec.workspace_kind]
    return replace(
        spec,
        workspace=spec.workspace if found.volume_id is None else kind.fork(spec.workspace, found.id),
        title=spec.title if isinstance(wish.title, Unset) else wish.title,
        metadata=spec.metadata if isinstance(wish.metadata, Unset) else wish.metadata,
        mode=spec.mode if isinstance(wish.mode, Unset) else wish.mode,
        model=spec.model if isinstance(wish.model, Unset) else wish.model,
    )
