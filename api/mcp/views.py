"""What tools tell of sessions, turns, asks and output: the REST views in camelCase, without what no model needs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from marshmallow import fields

from api.mcp.fields import camelled
from api.mcp.tool import Asked, Told
from api.schemas.asks import AskView
from api.schemas.asks import fields_of as ask_fields
from api.schemas.fields import View, moment, shown
from shared.domain.ask import AskStatus
from shared.domain.errors import HistoryRemoved, OutputBehind
from shared.domain.ids import SessionId
from shared.domain.session import Session, SessionStatus
from shared.domain.turn import OPEN_TURN, Turn
from shared.operations import asks, history, sessions, turns
from shared.operations.output import Output

FOLDER = "folder"


class TurnShown(View):
    """One accepted prompt and what became of it."""

    id = shown(fields.String, "`trn_…`", data_key="turnId")
    status = shown(fields.String, "`queued`, `running`, `waiting`; `completed`, `failed`, `cancelled`, `interrupted`.")
    queue_position = shown(fields.Integer, "Prompts before it in the line.", maybe=True, data_key="queuePosition")
    stop_reason = shown(fields.String, "Why it ended.", maybe=True, data_key="stopReason")
    result_text = shown(fields.String, "The agent's last word.", maybe=True, data_key="resultText")
    error = shown(fields.String, "What failed.", maybe=True)
    cost_usd = shown(fields.Float, "What it cost, where the agent tells.", maybe=True, data_key="costUsd")


class SessionShown(View):
    """One session."""

    session = shown(fields.String, "`ses_…`", data_key="sessionId")
    agent = shown(fields.String, "Its agent.")
    status = shown(
        fields.String,
        "`starting`, `running`, `waiting` (for a human), `idle` (takes a prompt), `parked` (idle, its process ended; "
        "a prompt resumes it), `stranded` (its disk is away), `ended`.",
    )
    cwd = shown(fields.String, "The existing folder it works in; null: a folder of its own.", maybe=True)
    mode = shown(fields.String, "How freely the agent acts.")
    model = shown(fields.String, "The model that was asked for.", maybe=True)
    title = shown(fields.String, "For people.", maybe=True)
    started_at = moment("When it was created.", data_key="startedAt")
    last_activity = shown(fields.String, "When its log last grew.", maybe=True, data_key="lastActivity")
    turns_started = shown(fields.Integer, "Turns that reached the agent.", data_key="turnsStarted")
    cost_usd = shown(fields.Float, "Cost so far, where the agent tells.", data_key="costUsd")
    end_reason = shown(fields.String, "Why it ended.", maybe=True, data_key="endReason")
    end_detail = shown(fields.String, "More about it.", maybe=True, data_key="endDetail")


AskShown = camelled(AskView, id="askId")


class OutputShown(View):
    """Lines of a session, numbered from 0 over its whole life."""

    session = shown(fields.String, "`ses_…`", data_key="sessionId")
    output = shown(fields.String, "The lines, joined by newlines.")
    offset = shown(fields.Integer, "Pass as `since` for what follows. Never starts anew.")
    first = shown(fields.Integer, "Number of the first line here.")
    total = shown(fields.Integer, "Lines the session has so far.")
    dropped = shown(fields.Integer, "Lines from `since` on that are no longer kept (the newest 10,000 are).")
    has_more = shown(fields.Boolean, "More lines are there already: ask again with `offset`.", data_key="hasMore")
    done = shown(fields.Boolean, "The session has ended and nothing follows.")
    status = shown(fields.String, "State of the session.")
    turn = fields.Nested(
        TurnShown, required=True, allow_none=True, metadata={"description": "The newest turn; null before the first."}
    )
    asks = fields.List(
        fields.Nested(AskShown),
        required=True,
        metadata={"description": "What waits for a human: use `session_answer`."},
    )


def turn_fields(turn: Turn, queue_position: int | None) -> Told:
    """One turn, as `TurnShown` dumps it."""
    names = ("id", "stop_reason", "result_text", "error", "cost_usd")
    told = {name: getattr(turn, name) for name in names}
    return {**told, "status": turn.status.value, "queue_position": queue_position}


def session_fields(asked: Asked, session: Session) -> Told:
    """One session, as `SessionShown` dumps it."""
    spec = session.spec
    return {
        "session": session.id,
        "agent": spec.agent,
        "status": session.status.value,
        "cwd": cwd_of(session),
        "mode": spec.mode.value,
        "model": spec.model,
        "title": spec.title,
        "started_at": session.created_at,
        "last_activity": last_activity(asked, session),
        "turns_started": session.turns_started,
        "cost_usd": session.cost_usd,
        "end_reason": session.end_reason,
        "end_detail": session.end_detail,
    }


def cwd_of(session: Session) -> str | None:
    """The existing folder a session was started in."""
    path = session.spec.workspace.get("path")
    return path if isinstance(path, str) and session.spec.workspace_kind == FOLDER else None


def last_activity(asked: Asked, session: Session) -> str | None:
    """When the last event of a session was written; None where retention removed it."""
    if session.last_seq == 0:
        return None
    try:
        found, _ = history.page(asked.context, asked.caller, session.id, after=session.last_seq - 1, limit=1)
    except HistoryRemoved:
        return None
    return found[0].created_at if found else None


def newest_turn(asked: Asked, session: SessionId) -> Told | None:
    """The newest turn of a session."""
    found, _ = turns.page(asked.context, asked.caller, session, limit=1)
    return turn_fields(found[0].turn, found[0].queue_position) if found else None


def has_open_turn(asked: Asked, session: SessionId) -> bool:
    """Whether a turn waits or runs."""
    found, _ = turns.page(asked.context, asked.caller, session, status=list(OPEN_TURN), limit=1)
    return bool(found)


def open_asks(asked: Asked, session: SessionId | None) -> list[Told]:
    """What waits for a human, oldest first."""
    found, _ = asks.page(asked.context, asked.caller, session, status=[AskStatus.OPEN], limit=50)
    return [ask_fields(ask) for ask in reversed(found)]


def output_fields(asked: Asked, session: SessionId, since: int, limit: int) -> Told:
    """Lines of a session from number `since` on, as `OutputShown` dumps them.

    Raises:
        NotFound: missing, or another tenant's.
        OutputBehind: a long log is being counted; the same call gets further each time.
    """
    seen = sessions.get(asked.context, asked.caller, session).session
    found = history.lines(asked.context, asked.caller, session, since=since, limit=limit)
    return {
        "session": session,
        "output": "\n".join(found.lines),
        "offset": found.next,
        "first": found.first,
        "total": found.total,
        "dropped": found.dropped,
        "has_more": found.next < found.total,
        "done": found.done,
        "status": seen.status.value,
        "turn": newest_turn(asked, session),
        "asks": [] if seen.status is SessionStatus.ENDED else open_asks(asked, session),
    }


def lines_so_far(asked: Asked, session: SessionId) -> Output | None:
    """How many lines a session has, without any of them; None where a long log is still being counted."""
    try:
        return history.lines(asked.context, asked.caller, session, since=2**53, limit=1)
    except OutputBehind:
        return None


def summary(text: str, told: Sequence[Any]) -> str:
    """`text` with a count in front, as in `3 sessions`."""
    return f"{len(told)} {text}{'' if len(told) == 1 else 's'}"


def one_line(value: Any, limit: int = 500) -> str:
    """A value for a person to read, shortened."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= limit else f"{text[:limit]}…"
