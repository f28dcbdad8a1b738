"""Asks of external sessions: the agent's hook waits for the answer, where a host would carry it to the agent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.domain.ask import Answer, Ask, AskKind, AskStatus, read_answer
from shared.domain.clock import now, to_text
from shared.domain.errors import NotFound
from shared.domain.event import Draft, EventType
from shared.domain.external import Reporter
from shared.domain.ids import AskId, SessionId, TurnId, mint_ask
from shared.domain.json import JsonObject
from shared.domain.report import Wanted
from shared.domain.session import SessionStatus
from shared.events import front
from shared.operations.context import Context
from shared.operations.endings import Front
from shared.operations.transaction import Act, carry_out
from shared.store import asks, external, heads, turns
from shared.store.database import Connection


@dataclass(frozen=True, slots=True)
class Approval:
    """What a human is asked about: `call` is the tool call it is for, where that is known."""

    wanted: Wanted
    turn: TurnId | None
    call: str | None
    timeout_s: float


def open_ask(act: Act, session: SessionId, about: Approval) -> tuple[Ask, Draft]:
    """Store an ask and give the event that tells it; the session waits. Under the head's lock."""
    wanted, turn, call = about.wanted, about.turn, about.call
    expires_at = act.at + timedelta(seconds=about.timeout_s)
    data: JsonObject = {"tool_name": wanted.name, "input": wanted.input}
    if call is not None:
        data["tool_call_id"] = call
    if wanted.suggestions:
        data["suggestions"] = list(wanted.suggestions)
    ask = Ask(
        id=mint_ask(),
        session=session,
        turn=turn,
        kind=AskKind.PERMISSION,
        status=AskStatus.OPEN,
        ref=call or "",
        data=data,
        answer=None,
        answered_by=None,
        answered_via=None,
        created_at=act.at,
        expires_at=expires_at,
        resolved_at=None,
    )
    asks.create(act.connection, ask, act.caller.tenant)
    if turn is not None:
        turns.wait(act.connection, turn)
    heads.set_status(act.connection, session, SessionStatus.WAITING)
    told: JsonObject = {"ask_id": ask.id, **data, "expires_at": to_text(expires_at)}
    return ask, Draft(EventType.PERMISSION_REQUEST, told, turn)


def lose(act: Act, lost: Sequence[Ask], reason: str) -> list[Draft]:
    """Close asks whose answer the agent no longer waits for; the events that tell it. Under the head's lock."""
    told = []
    for ask in lost:
        if asks.lose(act.connection, ask.id, act.at):
            told.append(Draft(EventType.ASK_RESOLVED, _resolved(ask, AskStatus.LOST, reason), ask.turn))
            go_on(act.connection, ask)
    return told


def go_on(connection: Connection, ask: Ask) -> None:
    """The agent no longer waits for `ask`. While another one is open the session goes on waiting."""
    if asks.open_of(connection, ask.session):
        return
    if ask.turn is not None:
        turns.go_on(connection, ask.turn)
    head = heads.get(connection, ask.session)
    if head is not None and head.status is SessionStatus.WAITING:
        status = SessionStatus.IDLE if ask.turn is None else SessionStatus.RUNNING
        heads.set_status(connection, ask.session, status)


def has_expired(ask: Ask, at: datetime) -> bool:
    """Whether the agent has stopped waiting: its hook answers at that moment, whoever notices it later."""
    return ask.expires_at is not None and ask.expires_at <= at


def expire(place: Front, ask: Ask) -> None:
    """Close an ask nobody answered in time. Safe to do twice."""
    with place.database.write() as connection:
        if heads.lock(connection, ask.session) is None or not asks.expire(connection, ask.id, now()):
            return
        resolved = Draft(EventType.ASK_RESOLVED, _resolved(ask, AskStatus.EXPIRED, "expired"), ask.turn)
        written = front.append(connection, ask.session, [resolved])
        go_on(connection, ask)
    place.committed(written)


def decide(
    context: Context, reporter: Reporter, ask: AskId, render: Callable[[Answer, JsonObject], JsonObject]
) -> JsonObject | None:
    """The reply that carries the answer to the agent, which has it from now on; None while nobody has answered.

    Empty where the ask was closed without an answer. Safe to repeat: the same ask gives the same reply.

    Raises:
        NotFound: missing, or another reporter's.
    """
    with context.db.read() as connection:
        found = asks.get(connection, reporter.tenant, ask)
        holder = None if found is None else external.reporter_of(connection, found.session)
    if found is None or holder is None or holder.id != reporter.id:
        raise NotFound("ask", ask)
    if found.status is AskStatus.OPEN and not has_expired(found, now()):
        return None
    if found.answer is None:
        return {}
    if found.status is AskStatus.ANSWERED:
        _apply(context, reporter, found)
    return render(read_answer(found.kind, found.answer), found.data)


def _apply(context: Context, reporter: Reporter, ask: Ask) -> None:
    def effect(act: Act) -> None:
        act.lock(ask.session)
        if asks.apply(act.connection, ask.id, act.at):
            act.tell(ask.session, [Draft(EventType.ASK_RESOLVED, _resolved(ask, AskStatus.APPLIED), ask.turn)])

    carry_out(context, reporter.caller(), None, effect)


def _resolved(ask: Ask, status: AskStatus, reason: str | None = None) -> JsonObject:
    data: JsonObject = {"ask_id": ask.id, "kind": ask.kind.value, "status": status.value}
    if reason is not None:
        data["reason"] = reason
    return data
