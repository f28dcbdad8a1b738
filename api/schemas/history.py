"""The log on the wire, and what is drawn from it: messages, tools, lines of output."""

from __future__ import annotations

from marshmallow import fields, validate

from api.schemas.fields import Seconds, View, counted, moment, shown, words
from api.schemas.paging import LogQuery, PageQuery, WaitQuery, list_of
from shared.domain.event import EventType


class EventView(View):
    """One event; every reader gets the same text for the same event."""

    id = shown(fields.String, "`evt_…`; the same event always has the same id.")
    seq = shown(fields.Integer, "Its number in the session: 1, 2, 3 … without a hole.")
    type = shown(fields.String, "What happened; docs/events.md lists them. More may be added.")
    session_id = shown(fields.String, "Its session.")
    turn_id = shown(fields.String, "Its turn, where it belongs to one.", maybe=True)
    created_at = moment("When it was written to the log.")
    data = shown(fields.Dict, "Depends on `type`.")


EventPage = list_of(EventView, "events")


class EventsQuery(LogQuery):
    """Which events of a session."""

    types = words("Only these types.", EventType)


class TenantEventsQuery(PageQuery):
    """Events of all sessions, newest first."""


class MessageView(View):
    """One text of the conversation."""

    seq = shown(fields.Integer, "Number of the event it is drawn from.")
    direction = shown(fields.String, "`in`: to the agent; `out`: from it.", validate=validate.OneOf(["in", "out"]))
    source = shown(fields.String, "Where a prompt came from; `agent` for what the agent says.")
    turn_id = shown(fields.String, "Its turn.", maybe=True)
    text = shown(fields.String, "The text; a preview where it is very long.")
    parent_tool_call_id = shown(fields.String, "Set for a sub-agent's words.", maybe=True)
    created_at = shown(fields.String, "When it was written to the log.")


MessagePage = list_of(MessageView, "messages")


class ToolView(View):
    """One call of a tool."""

    seq = shown(fields.Integer, "Number of the event of the call.")
    tool_call_id = shown(fields.String, "The agent's name for the call.")
    turn_id = shown(fields.String, "Its turn.", maybe=True)
    name = shown(fields.String, "The tool.")
    input = shown(fields.Raw, "What it was given.", maybe=True)
    status = shown(
        fields.String,
        "`running`, `completed` or `failed`.",
        validate=validate.OneOf(["running", "completed", "failed"]),
    )
    result = shown(fields.String, "What it gave; a preview where it is very long.", maybe=True)
    duration_s = shown(fields.Float, "How long it took.", maybe=True)
    started_at = shown(fields.String, "When it was called.")
    ended_at = shown(fields.String, "When it was over.", maybe=True)


ToolPage = list_of(ToolView, "tool calls")


class OutputQuery(WaitQuery):
    """Which lines."""

    since = counted("Number of lines you have; `next` of the answer before.", at_least=0, at_most=2**53, default=0)
    limit = counted("Most lines of the answer.", at_least=1, at_most=10_000, default=1000)
    wait_s = Seconds(
        load_default=0.0,
        validate=validate.Range(0, 120),
        metadata={"description": "Wait up to this many seconds for a line to come."},
    )


class OutputView(View):
    """Lines for people, numbered from 0 over the whole life of the session."""

    session_id = shown(fields.String, "The session.")
    lines = shown(fields.List, "The lines, oldest first.", cls_or_instance=fields.String())
    first = shown(fields.Integer, "Number of the first line of this answer.")
    next = shown(fields.Integer, "Pass as `since` for what follows.")
    total = shown(fields.Integer, "Lines the session has so far.")
    dropped = shown(fields.Integer, "Lines from `since` on that are no longer kept (only the newest 10,000 are).")
    done = shown(fields.Boolean, "The session has ended and nothing follows `next`.")
