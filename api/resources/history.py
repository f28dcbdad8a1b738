"""The log of a session and what is drawn from it; the events of a whole tenant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from api.paging import page
from api.routes import Call, Reply, Route, Routes, Shown, tell
from api.schemas.history import (
    EventPage,
    EventsQuery,
    MessagePage,
    OutputQuery,
    OutputView,
    TenantEventsQuery,
    ToolPage,
)
from api.schemas.paging import LogQuery
from api.wire import Waiting
from shared.domain.event import Event
from shared.domain.ids import BlobId, SessionId
from shared.domain.json import JsonObject
from shared.domain.tenant import Scope
from shared.operations import history

routes = Routes("history", "What happened: the log of each session, numbered without a hole.")

_REMOVED = {410: "`history_removed`: details.first_seq is the first event still held"}


def _events(found: Sequence[Event], onward: str | None) -> Reply:
    # Joined as stored: an event's text is never parsed on its way to a reader.
    cursor = "null" if onward is None else f'"{onward}"'
    return Reply(200, f'{{"data":[{",".join(event.envelope() for event in found)}],"next_cursor":{cursor}}}')


def _cursor(seq: int | None) -> str | None:
    return None if seq is None else str(seq)


def _after(call: Call) -> int | None:
    cursor: int | None = call.query["cursor"]
    after: int | None = call.query["after"]
    return after if cursor is None else cursor


def _session(call: Call) -> SessionId:
    return call.id("session_id", "ses", SessionId)


@routes.add(
    Route(
        "GET",
        "/v1/sessions/<session_id>/events",
        replies={200: Shown(EventPage, "Events, oldest first.")},
        scope=Scope.READ,
        query=EventsQuery,
        problems=_REMOVED,
    )
)
def list_events(call: Call) -> Reply:
    """Events of a session, oldest first, or as a live stream.

    With `Accept: text/event-stream` the answer is a stream that begins behind `after` (or `Last-Event-ID`) and goes on
    until the session has ended: `id:` is the seq, `event:` the type, `data:` the event. Nothing is ever skipped;
    reconnect with the last id you saw.
    """
    found, onward = history.page(
        call.context,
        call.caller,
        _session(call),
        after=_after(call),
        limit=call.query["limit"],
        types=call.query["types"],
    )
    return _events(found, _cursor(onward))


@routes.add(
    Route(
        "GET",
        "/v1/events",
        replies={200: Shown(EventPage, "Events, newest first.")},
        scope=Scope.READ,
        query=TenantEventsQuery,
    )
)
def list_tenant_events(call: Call) -> Reply:
    """Events of all sessions of the tenant, newest first, drawn from the 200 most lately active sessions."""
    found, onward = history.tenant_page(
        call.context, call.caller, cursor=call.query["cursor"], limit=call.query["limit"]
    )
    return _events(found, onward)


@routes.add(
    Route(
        "GET",
        "/v1/sessions/<session_id>/messages",
        replies={200: Shown(MessagePage, "Messages, oldest first.")},
        scope=Scope.READ,
        query=LogQuery,
        problems=_REMOVED,
    )
)
def list_messages(call: Call) -> Reply:
    """The conversation, oldest first: prompts and what the agent said."""
    found, onward = history.messages(
        call.context, call.caller, _session(call), after=_after(call), limit=call.query["limit"]
    )
    return tell(MessagePage, page(found, _cursor(onward)))


@routes.add(
    Route(
        "GET",
        "/v1/sessions/<session_id>/tools",
        replies={200: Shown(ToolPage, "Tool calls, oldest first.")},
        scope=Scope.READ,
        query=LogQuery,
        problems=_REMOVED,
    )
)
def list_tools(call: Call) -> Reply:
    """Tool calls, oldest first, with what came of them."""
    found, onward = history.tools(
        call.context, call.caller, _session(call), after=_after(call), limit=call.query["limit"]
    )
    return tell(ToolPage, page(found, _cursor(onward)))


def _waits_for_line(reply: JsonObject, query: Mapping[str, Any]) -> Waiting | None:
    if reply["lines"] or reply["done"]:
        return None
    session = str(reply["session_id"])
    wanted = f"since={reply['next']}&limit={query['limit']}"
    return Waiting(session, f"line-{reply['next']}", f"/v1/sessions/{session}/output?{wanted}")


@routes.add(
    Route(
        "GET",
        "/v1/sessions/<session_id>/output",
        replies={200: Shown(OutputView, "Lines.")},
        scope=Scope.READ,
        query=OutputQuery,
        problems={503: "`output_behind`: a long log is being counted; repeat"},
        waits=_waits_for_line,
    )
)
def read_output(call: Call) -> Reply:
    """The session as plain lines, for people and old clients; `wait_s` (up to 120) waits for a line to come."""
    session = _session(call)
    found = history.lines(call.context, call.caller, session, since=call.query["since"], limit=call.query["limit"])
    told = {
        "session_id": session,
        "lines": found.lines,
        "first": found.first,
        "next": found.next,
        "total": found.total,
        "dropped": found.dropped,
        "done": found.done,
    }
    return tell(OutputView, told)


@routes.add(
    Route(
        "GET",
        "/v1/sessions/<session_id>/blobs/<blob_id>",
        replies={200: Shown(None, "The value, as text or JSON.", "application/octet-stream")},
        scope=Scope.READ,
    )
)
def read_blob(call: Call) -> Reply:
    """A value that was too large for its event; the event's `truncated` links here."""
    media_type, content = history.blob(call.context, call.caller, _session(call), call.id("blob_id", "blb", BlobId))
    return Reply(200, content, media_type)
