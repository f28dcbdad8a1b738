"""Asks: what waits for a human, and the first answer to it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from shared.agents.driver import Abilities
from shared.domain.ask import Ask, AskKind, AskStatus, PermissionAnswer, PlanAnswer, Verdict, read_answer
from shared.domain.errors import AskClosed, NotFound, Unsupported
from shared.domain.event import Draft, EventType
from shared.domain.ids import AskId, SessionId
from shared.domain.input import InputKind, Wish
from shared.domain.json import JsonObject
from shared.domain.session import Mode, Session
from shared.domain.tenant import Caller
from shared.operations import approvals
from shared.operations.context import Context
from shared.operations.transaction import Act, Once, carry_out
from shared.store import asks, heads, sessions
from shared.store.database import Connection

_CHECKPOINT: Final = Abilities(modes=frozenset())
"""It is about one prompt, as it is."""
_NETWORK: Final = Abilities(modes=frozenset(), deny_reason=True, allow_always=True)
"""It is about one domain, as it is, and whatever is said holds for the session."""


def get(context: Context, caller: Caller, ask: AskId) -> Ask:
    """One ask.

    Raises:
        NotFound: missing, or another tenant's.
    """
    with context.db.read() as connection:
        return found(connection, caller, ask)


def page(
    context: Context,
    caller: Caller,
    session: SessionId | None,
    *,
    status: Collection[AskStatus] = (),
    cursor: str | None = None,
    limit: int = 50,
) -> tuple[list[Ask], str | None]:
    """Asks of a session, or of the whole tenant, newest first, and the cursor of the next page.

    Raises:
        NotFound: the session is missing, or another tenant's.
        InvalidField: the cursor is none of ours.
    """
    with context.db.read() as connection:
        if session is not None:
            head = heads.get(connection, session)
            if head is None or head.tenant != caller.tenant:
                raise NotFound("session", session)
        return asks.page(connection, caller.tenant, session=session, status=status, cursor=cursor, limit=limit)


def answer(
    context: Context, caller: Caller, ask: AskId, said: JsonObject, *, via: str = "api", once: Once[Ask] | None = None
) -> Ask:
    """Answer an open ask; the first answer wins, and its host hands it to the agent.

    `said` has the form of the ask's kind: `{decision, message?, input?, stop?}`, `{answers, message?}` or
    `{verdict, feedback?, next_mode?}`.

    Raises:
        NotFound: missing, or another tenant's.
        InvalidField: the answer does not fit the ask.
        Unsupported: the agent cannot do what the answer wants (another input, allow always).
        AskClosed: somebody answered first, or it expired or was withdrawn; says who.
    """
    return carry_out(context, caller, once, lambda act: take(act, ask, said, via=via))


def take(act: Act, ask: AskId, said: JsonObject, *, via: str) -> Ask:
    """What `answer` does, inside the caller's transaction."""
    caller = act.caller
    head = act.lock(found(act.connection, caller, ask).session)
    asked = found(act.connection, caller, ask)
    if asked.status is not AskStatus.OPEN:
        raise AskClosed(ask, asked.status, asked.answered_by, asked.answered_via)
    if head.external and approvals.has_expired(asked, act.at):
        raise AskClosed(ask, AskStatus.EXPIRED, None, None)
    _check(act, asked, said)
    asks.answer(act.connection, ask, answer=said, by=caller.name, via=via, at=act.at)
    data: JsonObject = {
        "ask_id": ask,
        "kind": asked.kind.value,
        "status": AskStatus.ANSWERED.value,
        "answer": said,
        "answered_by": caller.name,
        "answered_via": via,
    }
    act.tell(asked.session, [Draft(EventType.ASK_RESOLVED, data, asked.turn)])
    if head.external:
        approvals.go_on(act.connection, asked)
    else:
        act.ask(head, Wish(asked.session, InputKind.ANSWER, turn=asked.turn, ask=ask))
    return found(act.connection, caller, ask)


def abilities_for(context: Context, ask: Ask, session: Session) -> Abilities | None:
    """What the one who asks can be answered; None: this release does not know the agent."""
    if ask.is_checkpoint:
        return _CHECKPOINT
    if ask.is_network:
        return _NETWORK
    return context.agents.get(session.spec.agent)


def modes_allowed(context: Context, abilities: Abilities) -> frozenset[Mode]:
    """The modes an approved plan may go on in."""
    return frozenset(mode for mode in abilities.modes if mode is not Mode.BYPASS or context.allow_bypass)


def _check(act: Act, ask: Ask, said: JsonObject) -> None:
    answer = read_answer(ask.kind, said)
    session = sessions.get(act.connection, act.caller.tenant, ask.session, act.context.sealer)
    abilities = abilities_for(act.context, ask, session) if session else None
    if session is None or abilities is None:
        return
    wish = (
        _beyond(answer, abilities, modes_allowed(act.context, abilities)) if ask.kind is not AskKind.QUESTION else None
    )
    if wish:
        who = "The network" if ask.is_network else "A checkpoint" if ask.is_checkpoint else session.spec.agent
        raise Unsupported(f"{who} cannot take {wish}.", agent=session.spec.agent)


def _beyond(answer: object, abilities: Abilities, modes: frozenset[Mode]) -> str | None:
    match answer:
        case PermissionAnswer(input=changed) if changed is not None and not abilities.changed_input:
            return "another input than the one it asked about"
        case PermissionAnswer(decision=Verdict.ALLOW_ALWAYS) if not abilities.allow_always:
            return "allow_always; answer allow each time"
        case PlanAnswer(next_mode=mode) if mode is not None and mode not in modes:
            return f"mode {mode}"
        case _:
            return None


def found(connection: Connection, caller: Caller, ask: AskId) -> Ask:
    """The caller's ask.

    Raises:
        NotFound: missing, or another tenant's.
    """
    row = asks.get(connection, caller.tenant, ask)
    if row is None:
        raise NotFound("ask", ask)
    return row
