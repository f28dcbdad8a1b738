"""Asks: what waits for a human, and the answers."""

from __future__ import annotations

from api.paging import page
from api.routes import Call, Reply, Route, Routes, Shown, tell
from api.schemas.asks import AnswerAsk, AskPage, AsksQuery, AskView, fields_of
from shared.domain.ask import Ask, AskStatus
from shared.domain.ids import AskId, SessionId
from shared.domain.tenant import Scope
from shared.operations import asks

routes = Routes("asks", "The agent waits for a human: a permission, a question, a plan.")


def _list(call: Call, session: SessionId | None) -> Reply:
    found, onward = asks.page(
        call.context,
        call.caller,
        session,
        status=[AskStatus(word) for word in call.query["status"]],
        cursor=call.query["cursor"],
        limit=call.query["limit"],
    )
    return tell(AskPage, page([fields_of(ask) for ask in found], onward))


def _answered(ask: Ask) -> Reply:
    return tell(AskView, fields_of(ask))


@routes.add(
    Route(
        "GET",
        "/v1/asks",
        replies={200: Shown(AskPage, "Asks, newest first.")},
        scope=Scope.READ,
        query=AsksQuery,
    )
)
def list_asks(call: Call) -> Reply:
    """Asks of all sessions, newest first; `status=open` is what waits for you."""
    return _list(call, None)


@routes.add(
    Route(
        "GET",
        "/v1/sessions/<session_id>/asks",
        replies={200: Shown(AskPage, "Asks, newest first.")},
        scope=Scope.READ,
        query=AsksQuery,
    )
)
def list_session_asks(call: Call) -> Reply:
    """Asks of one session, newest first."""
    return _list(call, call.id("session_id", "ses", SessionId))


@routes.add(
    Route("GET", "/v1/asks/<ask_id>", replies={200: Shown(AskView, "The ask.")}, scope=Scope.READ),
)
def get_ask(call: Call) -> Reply:
    """One ask."""
    return _answered(asks.get(call.context, call.caller, call.id("ask_id", "ask", AskId)))


@routes.add(
    Route(
        "POST",
        "/v1/asks/<ask_id>/answer",
        replies={200: Shown(AskView, "The ask, answered.")},
        scope=Scope.WRITE,
        body=AnswerAsk,
        problems={
            409: "`ask_closed`: answered first by details.answered_by, expired or withdrawn; `session_ended`",
            422: "`unsupported`: the agent cannot do what the answer wants",
        },
    )
)
def answer_ask(call: Call) -> Reply:
    """Answer an ask; the first answer wins.

    permission: `{decision, message?, input?, stop?}`; question: `{answers, message?}`;
    plan: `{verdict, feedback?, next_mode?}`.
    """
    ask = call.id("ask_id", "ask", AskId)
    return _answered(asks.answer(call.context, call.caller, ask, dict(call.body), once=call.once(_answered)))
