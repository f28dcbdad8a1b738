"""Sessions: create, list, read, change, end."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from api.paging import page
from api.routes import Call, Reply, Route, Routes, Shown, tell
from api.schemas.paging import WaitQuery
from api.schemas.session_view import view, view_created
from api.schemas.session_wish import wish_of
from api.schemas.sessions import (
    CreateSession,
    PatchSession,
    SessionCreated,
    SessionPage,
    SessionQuery,
    SessionsQuery,
    SessionView,
    SessionWithTurn,
)
from api.wire import UNTIL_DONE, Waiting
from shared.domain.errors import InvalidField
from shared.domain.ids import SessionId, TurnId
from shared.domain.json import JsonObject
from shared.domain.session import Mode, SessionStatus
from shared.domain.tenant import Scope
from shared.domain.turn import OPEN_TURN
from shared.operations import session_changes, sessions
from shared.operations.session_changes import SessionChange
from shared.operations.sessions import Created, Seen
from shared.store.sessions import UNSET

routes = Routes("sessions", "One agent in one workspace, with a log.")

_SESSION = Shown(SessionView, "The session.")
_IF_MATCH = re.compile(r'(?:W/)?"?([0-9]{1,9})"?')


def waits(reply: JsonObject, _: Mapping[str, Any]) -> Waiting | None:
    """A named turn's end; without one, the session's next state."""
    session, turn = str(reply["id"]), reply.get("turn")
    path = f"/v1/sessions/{session}"
    if isinstance(turn, dict):
        open_states = {status.value for status in OPEN_TURN}
        return Waiting(session, UNTIL_DONE, f"{path}?turn={turn['id']}") if turn["status"] in open_states else None
    ended = reply["status"] == SessionStatus.ENDED.value
    return None if ended else Waiting(session, str(reply["status"]), path)


def _waits_for_end(reply: JsonObject, _: Mapping[str, Any]) -> Waiting | None:
    """The session's end."""
    session = str(reply["id"])
    ended = reply["status"] == SessionStatus.ENDED.value
    return None if ended else Waiting(session, UNTIL_DONE, f"/v1/sessions/{session}")


def created(made: Created) -> Reply:
    """201 with the session."""
    session = made.seen.session
    return tell(
        SessionCreated,
        view_created(made),
        201,
        Location=f"/v1/sessions/{session.id}",
        ETag=f'"{session.version}"',
    )


def _ending(seen: Seen) -> Reply:
    return tell(SessionView, view(seen), 202)


@routes.add(
    Route(
        "POST",
        "/v1/sessions",
        replies={201: Shown(SessionCreated, "The session, its turn and its webhook where there are any.")},
        scope=Scope.WRITE,
        query=WaitQuery,
        body=CreateSession,
        problems={
            409: "`budget_exhausted` (with a prompt)",
            422: "`unknown_agent`, `unknown_workspace_kind`, `agent_not_ready` (no worker has it), `unsupported`, "
            "`model_not_allowed`",
        },
        waits=waits,
    )
)
def create_session(call: Call) -> Reply:
    """Start a session, with or without its first prompt.

    It is `starting` until a worker brought the agent up; `queue_position` tells how many wait before it. With `wait_s`
    the answer comes when the first turn is over (without a prompt: when it leaves `starting`), or after that time.
    """
    return created(sessions.create(call.context, call.caller, wish_of(call.body), once=call.once(created)))


@routes.add(
    Route(
        "GET",
        "/v1/sessions",
        replies={200: Shown(SessionPage, "Sessions, newest first.")},
        scope=Scope.READ,
        query=SessionsQuery,
    )
)
def list_sessions(call: Call) -> Reply:
    """Sessions of the tenant, newest first."""
    filters: dict[str, Any] = dict(call.query)
    status = [SessionStatus(word) for word in filters.pop("status")]
    found, onward = sessions.page(call.context, call.caller, status=status, **filters)
    return tell(SessionPage, page([view(seen) for seen in found], onward))


@routes.add(
    Route(
        "GET",
        "/v1/sessions/<session_id>",
        replies={200: Shown(SessionWithTurn, "The session.")},
        scope=Scope.READ,
        query=SessionQuery,
        waits=waits,
    )
)
def get_session(call: Call) -> Reply:
    """One session; with `wait_s` its next change of state.

    Its `ETag` is the version that `If-Match` of a PATCH takes.
    """
    wanted = call.query["turn"]
    seen = sessions.get(call.context, call.caller, _id(call), turn=None if wanted is None else TurnId(wanted))
    return tell(SessionWithTurn, view(seen), ETag=f'"{seen.session.version}"')


@routes.add(
    Route(
        "PATCH",
        "/v1/sessions/<session_id>",
        replies={200: _SESSION},
        scope=Scope.WRITE,
        body=PatchSession,
        problems={409: "`version_mismatch` (details.actual), `session_ended`", 422: "`unsupported`"},
        headers={"If-Match": "The version you have read; without it the change is made whatever happened since."},
    )
)
def change_session(call: Call) -> Reply:
    """Change title, metadata, mode, model or limits."""
    body = call.body
    change = SessionChange(
        title=body.get("title", UNSET),
        metadata=body.get("metadata", UNSET),
        mode=Mode(body["mode"]) if "mode" in body else UNSET,
        model=body.get("model", UNSET),
        limits=body.get("limits", {}),
        if_version=if_match(call.headers),
    )
    seen = session_changes.change(call.context, call.caller, _id(call), change)
    return tell(SessionView, view(seen), ETag=f'"{seen.session.version}"')


@routes.add(
    Route(
        "POST",
        "/v1/sessions/<session_id>/terminate",
        replies={
            202: Shown(SessionView, "The session; `ended` at once where nobody hosts it."),
            200: Shown(SessionView, "With `wait_s`: the ended session."),
        },
        scope=Scope.WRITE,
        query=WaitQuery,
        waits=_waits_for_end,
    )
)
def terminate_session(call: Call) -> Reply:
    """End a session: its open turns are cancelled, the agent's whole process tree is stopped, the workspace stays.

    Safe to repeat. With `wait_s` the answer comes when it has ended (200), or after that time as it then is (202).
    """
    return _ending(sessions.terminate(call.context, call.caller, _id(call), once=call.once(_ending)))


@routes.add(
    Route(
        "DELETE",
        "/v1/sessions/<session_id>",
        replies={202: Shown(SessionView, "The session. Its record stays until retention removes it.")},
        scope=Scope.WRITE,
        problems={503: "`files_away`: it had ended before, and no live worker has its workspace"},
    )
)
def delete_session(call: Call) -> Reply:
    """End a session and remove the workspace Corral made for it; a folder of yours stays.

    Safe to repeat. The worker that holds the workspace removes it; while none is there, the session waits for one.
    """
    return _ending(sessions.terminate(call.context, call.caller, _id(call), remove_workspace=True))


def _id(call: Call) -> SessionId:
    return call.id("session_id", "ses", SessionId)


def if_match(headers: Mapping[str, str]) -> int | None:
    """The version `If-Match` names; None where any will do."""
    text = headers.get("if-match")
    if text is None or text.strip() == "*":
        return None
    match = _IF_MATCH.fullmatch(text.strip())
    if match is None:
        raise InvalidField("If-Match", "must be the version of the resource, as its ETag gives it")
    return int(match[1])
