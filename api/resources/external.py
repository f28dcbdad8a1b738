"""External sessions: agents that somebody else runs, recorded here."""

from __future__ import annotations

from api.routes import Call, Reply, Route, Routes, Shown, tell
from api.schemas.external import ExternalRegistered, Heartbeat, RegisterExternal
from api.schemas.session_view import view_made
from shared.domain.ids import SessionId
from shared.domain.tenant import Scope
from shared.operations import external
from shared.operations.callbacks import SessionWebhook
from shared.operations.external import NewExternal, Registered

routes = Routes("external", "Agents that somebody else runs: Corral records what they report.")


def _registered(registered: Registered) -> Reply:
    session = registered.seen.session
    hook = {"token": registered.token, "path": f"/v1/hooks/{session.spec.agent}"}
    shown = {**view_made(registered.seen, registered.webhook), "hook": hook}
    return tell(ExternalRegistered, shown, 201, Location=f"/v1/sessions/{session.id}", ETag=f'"{session.version}"')


@routes.add(
    Route(
        "POST",
        "/v1/external-sessions",
        replies={201: Shown(ExternalRegistered, "The session, and the token its agent reports with.")},
        scope=Scope.WRITE,
        body=RegisterExternal,
    )
)
def register_external_session(call: Call) -> Reply:
    """Record an agent that you run yourself: a session without a worker, and a token to report with.

    The session is like any other to readers, and takes no prompts (409 `external_session`). Each further conversation
    of the agent that holds the token becomes a session of its own. Terminating any of them withdraws the token.
    """
    body = call.body
    hook = body["webhook"]
    webhook = None if hook is None else SessionWebhook(hook["url"], hook.get("secret"), tuple(hook.get("events", ())))
    new = NewExternal(
        agent=body["agent"],
        title=body["title"],
        metadata=body["metadata"],
        folder=body["folder"],
        heartbeat_s=body["heartbeat_s"],
        remote_approval=body["remote_approval"],
        ask_timeout_s=body["ask_timeout_s"],
        webhook=webhook,
    )
    return _registered(external.register(call.context, call.caller, new, once=call.once(_registered)))


@routes.add(
    Route(
        "POST",
        "/v1/sessions/<session_id>/heartbeat",
        replies={200: Shown(Heartbeat, "Taken.")},
        scope=Scope.WRITE,
        by_token=True,
        problems={409: "`session_ended`", 422: "`unsupported`: the session is hosted by Corral"},
    )
)
def beat_session(call: Call) -> Reply:
    """Say that an external session lives although it has nothing to report. Every report says so too."""
    heard = external.beat(call.context, call.caller, call.id("session_id", "ses", SessionId))
    return tell(Heartbeat, {"session_id": heard.session, "status": heard.status.value, "lapses_at": heard.lapses_at})
