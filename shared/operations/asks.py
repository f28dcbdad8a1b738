"""Asks: what waits for a human, and the first answer to it."""

from __future__ import annotations

from collections.abc import Collection

from shared.agents.driver import Abilities
from shared.domain.ask import Ask, AskKind, AskStatus, PermissionAnswer, PlanAnswer, Verdict, read_answer
from shared.domain.errors import AskClosed, NotFound, Unsupported
from shared.domain.event import Draft, EventType
from shared.domain.ids import AskId, SessionId
from shared.domain.input import InputKind, Wish
from shared.domain.json import JsonObject
from shared.domain.tenant import Caller
from shared.operations import approvals
from shared.operations.context import Context
from shared.operations.transaction import Act, Once, carry_out
from shared.store import asks, heads, sessions
from shared.store.database import Connection


def get(context: Context, caller: Caller, ask: AskId) -> Ask:
    """One ask.

    Raises:
        NotFound: missing, or another tenant's.
    """
    with context.db.read() as connection:
        return _found(connection, caller, ask)


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

    def effect(act: Act) -> Ask:
        found = _found(act.connection, caller, ask)
        head = act.lock(found.session)
        found = _found(act.connection, caller, ask)
        if found.status is not AskStatus.OPEN:
            raise AskClosed(ask, found.status, found.answered_by, found.answered_via)
        if head.external and approvals.has_expired(found, act.at):
            raise AskClosed(ask, AskStatus.EXPIRED, None, None)
        _check(act, found, said)
        asks.answer(act.connection, ask, answer=said, by=caller.name, via=via, at=act.at)
        data: JsonObject = {
            "ask_id": ask,
            "kind": found.kind.value,
            "status": AskStatus.ANSWERED.value,
            "answer": said,
            "answered_by": caller.name,
            "answered_via": via,
        }
        act.tell(found.session, [Draft(EventType.ASK_RESOLVED, data, found.turn)])
        if head.external:
            approvals.go_on(act.connection, found)
        else:
            act.ask(head, Wish(found.session, InputKind.ANSWER, turn=found.turn, ask=ask))
        return _found(act.connection, caller, ask)

    return carry_out(context, caller, once, effect)


def _check(act: Act, ask: Ask, said: JsonObject) -> None:
    answer = read_answer(ask.kind, said)
    session = sessions.get(act.connection, act.caller.tenant, ask.session, act.context.sealer)
    abilities = act.context.agents.get(session.spec.agent) if session else None
    if session is None or abilities is None:
        return
    wish = _beyond(answer, abilities) if ask.kind is not AskKind.QUESTION else None
    if wish:
        raise Unsupported(f"{session.spec.agent} cannot take {wish}.", agent=session.spec.agent)


def _beyond(answer: object, abilities: Abilities) -> str | None:
    match answer:
        case PermissionAnswer(input=changed) if changed is not None and not abilities.changed_input:
            return "another input than the one it asked about"
        case PermissionAnswer(decision=Verdict.ALLOW_ALWAYS) if not abilities.allow_always:
            return "allow_always; answer allow each time"
        case PlanAnswer(next_mode=mode) if mode is not None and mode not in abilities.modes:
            return f"mode {mode}"
        case _:
            return None


def _found(connection: Connection, caller: Caller, ask: AskId) -> Ask:
    found = asks.get(connection, caller.tenant, ask)
    if found is None:
        raise NotFound("ask", ask)
    return found
