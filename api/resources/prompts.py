"""Prompts: the front door of a session."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.routes import Call, Reply, Route, Routes, Shown, tell
from api.schemas.paging import WaitQuery
from api.schemas.prompts import SendPrompt
from api.schemas.turns import TurnView, fields_of
from api.wire import UNTIL_DONE, Waiting
from shared.domain.ids import SessionId
from shared.domain.json import JsonObject
from shared.domain.tenant import Scope
from shared.domain.turn import OPEN_TURN, WhenBusy
from shared.operations import prompts
from shared.operations.prompts import Placed, Prompt

routes = Routes("prompts", "What is said to a session.")


def waits_for_turn(reply: JsonObject, _: Mapping[str, Any]) -> Waiting | None:
    """The end of the turn that was answered."""
    is_open = reply["status"] in {status.value for status in OPEN_TURN}
    return Waiting(str(reply["session_id"]), UNTIL_DONE, f"/v1/turns/{reply['id']}") if is_open else None


def accepted(placed: Placed) -> Reply:
    """202 with the turn."""
    return tell(TurnView, fields_of(placed.turn, placed.queue_position), 202, Location=f"/v1/turns/{placed.turn.id}")


@routes.add(
    Route(
        "POST",
        "/v1/sessions/<session_id>/prompts",
        replies={
            202: Shown(TurnView, "Accepted: the turn and its `queue_position`. It will end exactly once."),
            200: Shown(TurnView, "With `wait_s`: the finished turn."),
        },
        scope=Scope.WRITE,
        query=WaitQuery,
        body=SendPrompt,
        problems={
            409: "`session_busy` (with `when_busy: reject`), `queue_full`, `session_ended`, `budget_exhausted`",
            422: "`unsupported` (with `when_busy: steer`)",
        },
        waits=waits_for_turn,
    )
)
def send_prompt(call: Call) -> Reply:
    """Send a prompt to a session.

    With `wait_s` the answer comes when the turn is over (200), or after that time as it then is (202).
    """
    body = call.body
    prompt = Prompt(
        body["text"], WhenBusy(body["when_busy"]), body["callback_url"], body["source"], confirm=body["confirm"]
    )
    session = call.id("session_id", "ses", SessionId)
    return accepted(prompts.send(call.context, call.caller, session, prompt, once=call.once(accepted)))
