"""Sessions that go on from others: fork and resume."""

from __future__ import annotations

from api.resources.sessions import created, waits
from api.routes import Call, Reply, Route, Routes, Shown, tell
from api.schemas.paging import WaitQuery
from api.schemas.session_view import view
from api.schemas.sessions import ForkSession, SessionCreated, SessionView
from shared.domain.ids import SessionId
from shared.domain.session import Mode
from shared.domain.tenant import Scope
from shared.operations import forks
from shared.operations.forks import Fork
from shared.operations.sessions import Created, Seen
from shared.store.sessions import UNSET

routes = Routes("forks", "Sessions that go on from others.")


@routes.add(
    Route(
        "POST",
        "/v1/sessions/<session_id>/fork",
        replies={201: Shown(SessionCreated, "The new session, and its turn where there is a prompt.")},
        scope=Scope.WRITE,
        query=WaitQuery,
        body=ForkSession,
        problems={
            409: "`session_busy`: a turn runs; `folder_in_use`: both would work in one folder, and do not share it; "
            "`external_session`; `budget_exhausted` (with a prompt)",
            422: "`unsupported`: the agent cannot copy a conversation, or lacks the mode; `model_not_allowed`, "
            "`agent_not_ready`",
        },
        waits=waits,
    )
)
def fork_session(call: Call) -> Reply:
    """Start a session that begins with this one's conversation and a copy of its files.

    Everything else (agent, environment, MCP servers, limits, …) is as in this one unless the body says so. This one may
    have ended, and stays as it is.
    """
    body = call.body
    wish = Fork(
        title=body.get("title", UNSET),
        metadata=body.get("metadata", UNSET),
        mode=Mode(body["mode"]) if "mode" in body else UNSET,
        model=body.get("model", UNSET),
        prompt=body["prompt"],
        source=body["source"],
    )
    return created(forks.fork(call.context, call.caller, _id(call), wish, once=call.once(created)))


@routes.add(
    Route(
        "POST",
        "/v1/sessions/<session_id>/resume",
        replies={
            202: Shown(SessionView, "The session; its agent comes up where it was parked."),
            200: Shown(SessionView, "With `wait_s`: the session after its next change of state."),
            201: Shown(SessionCreated, "It had ended: the new session that continues it."),
        },
        scope=Scope.WRITE,
        query=WaitQuery,
        problems={
            409: "`external_session`",
            422: "`unsupported`: it has ended and its agent cannot resume a conversation; `model_not_allowed`, "
            "`agent_not_ready`",
        },
        waits=waits,
    )
)
def resume_session(call: Call) -> Reply:
    """Bring a parked session's agent up without a prompt; one that is up stays as it is. Safe to repeat.

    An ended session stays ended. It is continued by a new one (201, `forked_from` names the old one), which goes on
    with the same conversation in a copy of the files.
    """
    return _resumed(forks.resume(call.context, call.caller, _id(call), once=call.once(_resumed)))


def _resumed(result: Seen | Created) -> Reply:
    return created(result) if isinstance(result, Created) else tell(SessionView, view(result), 202)


def _id(call: Call) -> SessionId:
    return call.id("session_id", "ses", SessionId)
