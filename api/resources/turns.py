"""Turns: read, change while queued, cancel."""

from __future__ import annotations

from api.paging import page
from api.resources.prompts import accepted, waits_for_turn
from api.routes import Call, Reply, Route, Routes, Shown, tell
from api.schemas.paging import WaitQuery
from api.schemas.turns import EditTurn, TurnPage, TurnsQuery, TurnView, fields_of
from shared.domain.errors import InvalidField
from shared.domain.ids import SessionId, TurnId
from shared.domain.tenant import Scope
from shared.domain.turn import TurnStatus
from shared.operations import turns
from shared.operations.turns import TurnEdit

routes = Routes("turns", "One accepted prompt and everything the agent did about it.")


@routes.add(
    Route(
        "GET",
        "/v1/sessions/<session_id>/turns",
        replies={200: Shown(TurnPage, "Turns, newest first.")},
        scope=Scope.READ,
        query=TurnsQuery,
    )
)
def list_turns(call: Call) -> Reply:
    """Turns of a session, newest first."""
    status = [TurnStatus(word) for word in call.query["status"]]
    found, onward = turns.page(
        call.context,
        call.caller,
        call.id("session_id", "ses", SessionId),
        status=status,
        cursor=call.query["cursor"],
        limit=call.query["limit"],
    )
    return tell(TurnPage, page([fields_of(placed.turn, placed.queue_position) for placed in found], onward))


@routes.add(
    Route(
        "GET",
        "/v1/turns/<turn_id>",
        replies={200: Shown(TurnView, "The turn.")},
        scope=Scope.READ,
        query=WaitQuery,
        waits=waits_for_turn,
    )
)
def get_turn(call: Call) -> Reply:
    """One turn; with `wait_s` its end."""
    placed = turns.get(call.context, call.caller, _id(call))
    return tell(TurnView, fields_of(placed.turn, placed.queue_position))


@routes.add(
    Route(
        "PATCH",
        "/v1/turns/<turn_id>",
        replies={200: Shown(TurnView, "The turn.")},
        scope=Scope.WRITE,
        body=EditTurn,
        problems={409: "`turn_over`: it runs already, or has ended"},
    )
)
def change_turn(call: Call) -> Reply:
    """Change the text of a queued turn, or move it in the line."""
    if not call.body:
        raise InvalidField("body", "must hold text or queue_position")
    edit = TurnEdit(call.body.get("text"), call.body.get("queue_position"))
    placed = turns.edit(call.context, call.caller, _id(call), edit)
    return tell(TurnView, fields_of(placed.turn, placed.queue_position))


@routes.add(
    Route(
        "POST",
        "/v1/turns/<turn_id>/cancel",
        replies={
            202: Shown(TurnView, "The turn; a queued one is `cancelled` already."),
            200: Shown(TurnView, "With `wait_s`: the turn once it is over."),
        },
        scope=Scope.WRITE,
        query=WaitQuery,
        problems={409: "`turn_over`"},
        waits=waits_for_turn,
    )
)
def cancel_turn(call: Call) -> Reply:
    """Withdraw a queued turn, or interrupt a running one; what it did so far stays, and the session lives on."""
    return accepted(turns.cancel(call.context, call.caller, _id(call), once=call.once(accepted)))


@routes.add(
    Route(
        "POST",
        "/v1/sessions/<session_id>/cancel",
        replies={
            202: Shown(TurnView, "The turn that is being cancelled."),
            200: Shown(TurnView, "With `wait_s`: the turn once it is over."),
        },
        scope=Scope.WRITE,
        query=WaitQuery,
        problems={409: "`nothing_running`, `session_ended`"},
        waits=waits_for_turn,
    )
)
def cancel_running_turn(call: Call) -> Reply:
    """Interrupt the turn that runs now; a later one is never hit."""
    session = call.id("session_id", "ses", SessionId)
    return accepted(turns.cancel_running(call.context, call.caller, session, once=call.once(accepted)))


def _id(call: Call) -> TurnId:
    return call.id("turn_id", "trn", TurnId)
