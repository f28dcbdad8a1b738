"""Hooks: where agents that Corral does not host report what they do."""

from __future__ import annotations

import json

from api.routes import Call, Reply, Route, Routes, Shown
from api.schemas.hooks import HookBody, HookQuery, HookReply
from api.wire import UNTIL_DONE, WAIT_HEADER, Waiting
from shared.domain.ids import AskId
from shared.domain.json import JsonObject
from shared.operations import hooks
from shared.operations.hooks import Incoming, Reported

routes = Routes("hooks", "Reports of agents that Corral does not host.")

_REFUSED = "`session_ended`: the conversation has ended, and this is not the beginning of another"


def _reply(reported: Reported, decision: JsonObject | None, path: str) -> Reply:
    """The agent reads the body, so everything else is told in headers."""
    headers = {"Corral-Session": reported.session, "Corral-Report": reported.report}
    if reported.is_repeated:
        headers["Idempotent-Replayed"] = "true"
    if decision is None:
        headers[WAIT_HEADER] = Waiting(reported.session, UNTIL_DONE, f"{path}/{reported.ask}").header()
    return Reply(200, json.dumps(decision or {}), headers=headers)


@routes.add(
    Route(
        "POST",
        "/v1/hooks/<agent>/<event>",
        replies={200: Shown(HookReply, "Taken, or taken before. Headers tell the session and the report's name.")},
        scope=None,
        by_token=True,
        query=HookQuery,
        body=HookBody,
        problems={409: _REFUSED, 404: "`not_found`: no agent of this name reports"},
    )
)
def take_hook(call: Call) -> Reply:
    """Report one event, in the agent's own form: for `claude` what Claude Code's HTTP hooks post.

    The same report again (same `Idempotency-Key`, same `event_id`, or same content) changes nothing and is answered the
    same. Events this release does not know are kept as a `notice`. Bodies may have 10 MiB.
    """
    body = dict(call.body)
    key = call.idempotency_key or body.get("event_id")
    agent, event = call.path["agent"], call.path["event"]
    incoming = Incoming(agent, event, body, None if key is None else str(key), call.query["wait_s"])
    reported = hooks.take(call.context, call.reporter, incoming)
    decision: JsonObject | None = {}
    if reported.ask is not None:
        decision = hooks.decision(call.context, call.reporter, agent, reported.ask)
    return _reply(reported, decision, f"/v1/hooks/{agent}/{event}/decisions")


@routes.add(
    Route(
        "GET",
        "/v1/hooks/<agent>/<event>/decisions/<ask_id>",
        replies={200: Shown(HookReply, "What the hook is answered; empty while nobody has decided.")},
        scope=None,
        by_token=True,
    )
)
def get_hook_decision(call: Call) -> Reply:
    """What was decided about a permission that a hook asked for."""
    ask = call.id("ask_id", "ask", AskId)
    decision = hooks.decision(call.context, call.reporter, call.path["agent"], ask)
    headers = {}
    if decision is None:
        headers[WAIT_HEADER] = Waiting("-", UNTIL_DONE, "-").header()
    return Reply(200, json.dumps(decision or {}), headers=headers)
