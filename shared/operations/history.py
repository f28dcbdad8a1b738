"""Reading the log: events of a session, of a whole tenant, and the conversation and tool calls drawn from them."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from shared.domain import clock
from shared.domain.errors import HistoryRemoved, InvalidField, NotFound
from shared.domain.event import Event, EventType
from shared.domain.ids import BlobId, SessionId, event_id
from shared.domain.json import JsonObject, JsonValue
from shared.domain.tenant import Caller
from shared.operations import output
from shared.operations.context import Context
from shared.store import blobs, cursors, events, heads
from shared.store.database import Connection
from shared.store.heads import Head

_CONVERSATION = (EventType.TURN_QUEUED, EventType.MESSAGE)
_RESULT_PAGES = 4
"""Pages of results looked through for the tool calls of one page."""
_ACTIVE_SESSIONS = 200
"""Sessions one page of a tenant's events is drawn from: the most lately active ones."""


@dataclass(frozen=True, slots=True)
class Message:
    """One text of the conversation."""

    seq: int
    direction: str
    source: str
    turn_id: str | None
    text: str
    parent_tool_call_id: str | None
    created_at: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a tool with what came of it."""

    seq: int
    tool_call_id: str
    turn_id: str | None
    name: str
    input: JsonValue
    status: str
    result: str | None
    duration_s: float | None
    started_at: str
    ended_at: str | None


def head_of(connection: Connection, caller: Caller, session: SessionId) -> Head:
    """The head of the caller's session.

    Raises:
        NotFound: missing, or another tenant's.
    """
    head = heads.get(connection, session)
    if head is None or head.tenant != caller.tenant:
        raise NotFound("session", session)
    return head


def begin(context: Context, caller: Caller, session: SessionId, after: int | None) -> int:
    """The seq a reader of the log begins behind; `after` None: the first event still held.

    Raises:
        NotFound: missing, or another tenant's.
        HistoryRemoved: retention removed events after `after`; says the first one still held.
    """
    with context.db.read() as connection:
        return _begin(head_of(connection, caller, session), after)


def last_seq(context: Context, session: SessionId) -> int:
    """Number of the last event of a session of whichever tenant; 0 where there is none.

    For processes that look after a caller they have let in already.
    """
    with context.db.read() as connection:
        return heads.last_seqs(connection, [session]).get(session, 0)


def page(
    context: Context,
    caller: Caller,
    session: SessionId,
    *,
    after: int | None = None,
    limit: int = 50,
    types: Collection[str] = (),
) -> tuple[list[Event], int | None]:
    """Events after seq `after`, oldest first; where more follow, the seq to go on behind.

    Raises:
        NotFound: missing, or another tenant's.
        HistoryRemoved: retention removed events after `after`.
    """
    with context.db.read() as connection:
        start = _begin(head_of(connection, caller, session), after)
        found = events.page(connection, session, start, limit, types)
    return found, found[-1].seq if len(found) == limit else None


def tenant_page(
    context: Context, caller: Caller, *, cursor: str | None = None, limit: int = 50
) -> tuple[list[Event], str | None]:
    """Events of all sessions of the tenant, newest first, and the cursor of the next page.

    Drawn from the 200 sessions with the latest events.

    Raises:
        InvalidField: the cursor is none of ours.
    """
    bound = _read_cursor(cursor) if cursor is not None else None
    found: list[Event] = []
    with context.db.read() as connection:
        for session, last_seq in events.active_sessions(connection, caller.tenant, _ACTIVE_SESSIONS):
            newest = events.between(connection, session, last_seq - 1, last_seq)
            # Sessions come by their last event: none of those that follow can have one for this page.
            if len(found) > limit and newest and newest[0].created_at < found[limit].created_at:
                break
            before = last_seq + 1 if bound is None else _seek(connection, session, last_seq, bound)
            found += events.latest(connection, session, before, limit + 1)
            found = sorted(found, key=_order, reverse=True)[: limit + 1]
    if len(found) <= limit:
        return found, None
    last = found[limit - 1]
    return found[:limit], cursors.encode(clock.from_text(last.created_at), event_id(last.session, last.seq))


def messages(
    context: Context, caller: Caller, session: SessionId, *, after: int | None = None, limit: int = 50
) -> tuple[list[Message], int | None]:
    """The conversation, oldest first: prompts and what the agent said; where more follows, the seq to go on behind.

    Raises:
        NotFound: missing, or another tenant's.
        HistoryRemoved: retention removed events after `after`.
    """
    found, onward = page(context, caller, session, after=after, limit=limit, types=_CONVERSATION)
    return [_message(event) for event in found], onward


def tools(
    context: Context, caller: Caller, session: SessionId, *, after: int | None = None, limit: int = 50
) -> tuple[list[ToolCall], int | None]:
    """Tool calls, oldest first, with what came of them; where more follow, the seq to go on behind.

    Raises:
        NotFound: missing, or another tenant's.
        HistoryRemoved: retention removed events after `after`.
    """
    found, onward = page(context, caller, session, after=after, limit=limit, types=[EventType.TOOL_CALL])
    calls = [(event, _data(event)) for event in found]
    with context.db.read() as connection:
        results = _results(connection, session, found, {_text(data, "tool_call_id") or "" for _, data in calls})
    return [_tool(event, data, results.get(_text(data, "tool_call_id") or "")) for event, data in calls], onward


def lines(context: Context, caller: Caller, session: SessionId, *, since: int = 0, limit: int = 1000) -> output.Output:
    """Lines for people from line number `since` on.

    Raises:
        NotFound: missing, or another tenant's.
        OutputBehind: a long log is being counted; the same call gets further each time.
    """
    return output.read(context.db, context.lines, caller, session, since=since, limit=limit)


def blob(context: Context, caller: Caller, session: SessionId, blob_id: BlobId) -> tuple[str, bytes]:
    """Media type and content of a value too large for its event.

    Raises:
        NotFound: missing, or another tenant's.
    """
    with context.db.read() as connection:
        found = blobs.read(connection, caller.tenant, session, blob_id)
    if found is None:
        raise NotFound("blob", blob_id)
    return found


def _begin(head: Head, after: int | None) -> int:
    if after is None:
        return head.first_seq - 1
    if after < head.first_seq - 1:
        raise HistoryRemoved(head.first_seq)
    return after


def _order(event: Event) -> tuple[str, str, int]:
    return (event.created_at, event.session, event.seq)


def _read_cursor(cursor: str) -> tuple[str, str, int]:
    at, ref = cursors.decode(cursor)
    session, _, seq = ref.removeprefix("evt_").rpartition("_")
    if not seq.isdigit() or not ref.startswith("evt_"):
        raise InvalidField("cursor", "is not a cursor of this list; take next_cursor of the page before.")
    return (clock.to_text(at), f"ses_{session}", int(seq))


def _seek(connection: Connection, session: SessionId, last_seq: int, bound: tuple[str, str, int]) -> int:
    """The first seq whose event is not before `bound`: times of one session never run backwards by much."""
    low, high = 1, last_seq + 1
    while low < high:
        middle = (low + high) // 2
        at = events.between(connection, session, middle - 1, middle)
        # What retention removed is older than anything on a page.
        if not at or _order(at[0]) < bound:
            low = middle + 1
        else:
            high = middle
    return low


def _results(
    connection: Connection, session: SessionId, calls: Sequence[Event], wanted: set[str]
) -> dict[str, tuple[Event, JsonObject]]:
    found: dict[str, tuple[Event, JsonObject]] = {}
    after = calls[0].seq if calls else 0
    for _ in range(_RESULT_PAGES if calls else 0):
        rows = events.page(connection, session, after, events.PAGE, [EventType.TOOL_RESULT])
        for event in rows:
            data = _data(event)
            if (call := _text(data, "tool_call_id")) in wanted and call not in found:
                found[call] = (event, data)
        if len(rows) < events.PAGE or wanted <= found.keys():
            break
        after = rows[-1].seq
    return found


def _message(event: Event) -> Message:
    data = _data(event)
    comes_in = event.type == EventType.TURN_QUEUED
    return Message(
        seq=event.seq,
        direction="in" if comes_in else "out",
        source=(_text(data, "source") or "api") if comes_in else "agent",
        turn_id=event.turn,
        text=_text(data, "text") or "",
        parent_tool_call_id=_text(data, "parent_tool_call_id"),
        created_at=event.created_at,
    )


def _tool(event: Event, data: JsonObject, result: tuple[Event, JsonObject] | None) -> ToolCall:
    told: JsonObject = result[1] if result else {}
    duration = told.get("duration_s")
    status = "running" if result is None else "failed" if told.get("is_error") is True else "completed"
    return ToolCall(
        seq=event.seq,
        tool_call_id=_text(data, "tool_call_id") or "",
        turn_id=event.turn,
        name=_text(data, "name") or "",
        input=data.get("input"),
        status=status,
        result=_text(told, "output"),
        duration_s=float(duration) if isinstance(duration, int | float) else None,
        started_at=event.created_at,
        ended_at=result[0].created_at if result else None,
    )


def _data(event: Event) -> JsonObject:
    data: JsonObject = json.loads(event.data)
    return data


def _text(data: JsonObject, name: str) -> str | None:
    value = data.get(name)
    return value if isinstance(value, str) else None
