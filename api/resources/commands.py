"""Slash commands: what a session's agent carries out itself."""

from __future__ import annotations

from api.resources.prompts import accepted, waits_for_turn
from api.routes import Call, Reply, Route, Routes, Shown
from api.schemas.commands import SendCommand
from api.schemas.paging import WaitQuery
from api.schemas.turns import TurnView
from shared.domain.ids import SessionId
from shared.domain.tenant import Scope
from shared.operations import commands
from shared.operations.commands import Command

routes = Routes("commands", "What a session's agent carries out itself.")


@routes.add(
    Route(
        "POST",
        "/v1/sessions/<session_id>/commands",
        replies={
            202: Shown(TurnView, "Accepted: the turn and its `queue_position`. It will end exactly once."),
            200: Shown(TurnView, "With `wait_s`: the finished turn."),
        },
        scope=Scope.WRITE,
        query=WaitQuery,
        body=SendCommand,
        problems={
            409: "`queue_full`, `session_ended`",
            422: "`unsupported_command`: the agent lacks it; `details.has` names those it has",
        },
        waits=waits_for_turn,
    )
)
def send_command(call: Call) -> Reply:
    """Have the agent carry out a slash command, behind the turns that wait.

    With `wait_s` the answer comes when it is done (200), or after that time as it then is (202).
    """
    body = call.body
    command = Command(body["name"].removeprefix("/"), body["args"], body["source"])
    session = call.id("session_id", "ses", SessionId)
    return accepted(commands.send(call.context, call.caller, session, command, once=call.once(accepted)))
