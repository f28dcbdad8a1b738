"""Events: what the log holds, its types, and the one rendering every reader gets."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import StrEnum

from shared.domain.ids import SessionId, TurnId, event_id
from shared.domain.json import JsonObject


class EventType(StrEnum):
    """Every type an event may have. Additive only."""

    SESSION_STARTED = "session_started"
    TURN_QUEUED = "turn_queued"
    TURN_STARTED = "turn_started"
    MESSAGE_CHUNK = "message_chunk"
    THINKING_CHUNK = "thinking_chunk"
    MESSAGE = "message"
    TOOL_CALL = "tool_call"
    TOOL_OUTPUT_CHUNK = "tool_output_chunk"
    TOOL_RESULT = "tool_result"
    PLAN_UPDATE = "plan_update"
    PLAN_PROPOSED = "plan_proposed"
    PLAN_MODE_CHANGE = "plan_mode_change"
    PERMISSION_REQUEST = "permission_request"
    QUESTION = "question"
    ASK_RESOLVED = "ask_resolved"
    MODE_CHANGED = "mode_changed"
    USAGE = "usage"
    FILE_CHANGED = "file_changed"
    NOTICE = "notice"
    ERROR = "error"
    RETRYING = "retrying"
    TURN_ENDED = "turn_ended"
    SESSION_IDLE = "session_idle"
    SESSION_PARKED = "session_parked"
    SESSION_STRANDED = "session_stranded"
    SESSION_ENDED = "session_ended"


COALESCED = frozenset({EventType.MESSAGE_CHUNK, EventType.THINKING_CHUNK})
"""Types whose neighbours may be joined into one event before they reach the log."""

MAX_DATA_BYTES = 64 * 1024
"""Rendered data above this is kept aside as a blob and linked."""


@dataclass(frozen=True, slots=True)
class Draft:
    """An event that has no number yet."""

    type: EventType
    data: JsonObject
    turn: TurnId | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """One event of the log. `data` is JSON text exactly as stored: it is never parsed on the way to a reader."""

    session: SessionId
    seq: int
    type: str
    turn: TurnId | None
    created_at: str
    data: str

    def envelope(self) -> str:
        """The JSON text every reader gets: REST, SSE, webhooks. The same event always gives the same text."""
        turn = f'"{self.turn}"' if self.turn else "null"
        return (
            f'{{"id":"{event_id(self.session, self.seq)}","seq":{self.seq},"type":"{self.type}",'
            f'"session_id":"{self.session}","turn_id":{turn},"created_at":"{self.created_at}","data":{self.data}}}'
        )


# PostgreSQL refuses NUL in text and UTF-8 has no lone surrogates; agents print both. They are escaped here,
# the only place where event data becomes text.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def _visible(match: re.Match[str]) -> str:
    return f"\\u{ord(match.group()):04x}"


def storable(text: str) -> str:
    """`text` with NUL and lone surrogates spelled out as a visible backslash-u escape."""
    return _UNSTORABLE.sub(_visible, text)


def render(data: JsonObject) -> str:
    """`data` as compact JSON text, safe for every store and reader; non-finite numbers become null."""
    try:
        text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(data), ensure_ascii=False, separators=(",", ":"))
    # Dumping has escaped NUL as \u0000 already; that text would still be a NUL for JSONB readers and clients.
    if "\\u0000" in text or _UNSTORABLE.search(text):
        text = json.dumps(_clean(_finite(data)), ensure_ascii=False, separators=(",", ":"))
    return text


def _finite(value: object) -> object:
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):  # noqa: PLR0124
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return value


def _clean(value: object) -> object:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict):
        return {storable(str(key)): _clean(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_clean(item) for item in value]
    return value
