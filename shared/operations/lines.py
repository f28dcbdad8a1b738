"""How each event looks as lines of text: one pure fold, so that the same log always gives the same lines.

An event gives its lines once and for all; a line of tool output that has no end yet waits for it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from shared.domain.event import EventType
from shared.domain.json import JsonObject, JsonValue

_SUMMARY: Final = 200
"""Characters shown of a tool's input."""
_PENDING: Final = 16 * 1024
"""A line of tool output longer than this is given in pieces."""


@dataclass(frozen=True, slots=True)
class Fold:
    """What the lines to come depend on."""

    chunked: frozenset[str] = frozenset()
    """Tool calls whose output came in pieces, so that their result must not say it again."""
    pending: str = ""
    """Tool output without its newline yet."""


def draw(fold: Fold, kind: EventType, data: JsonObject) -> tuple[Fold, Sequence[str]]:
    """The lines one event gives, and what to remember of it."""
    match kind:
        case EventType.TOOL_OUTPUT_CHUNK:
            return _chunk(fold, _text(data, "tool_call_id"), _text(data, "text"))
        case EventType.TOOL_RESULT:
            call = _text(data, "tool_call_id")
            lines = [] if call in fold.chunked else _text(data, "output").splitlines()
            if data.get("is_error") is True:
                lines.append(f"[tool] {_text(data, 'name')} failed")
            return Fold(fold.chunked - {call}), [*_rest(fold), *lines]
        case EventType.TURN_ENDED if data.get("stop_reason") == "steered":
            # The turn it went into runs on: what is held of that one stays.
            return fold, ["[steered] into the running turn"]
        case EventType.TURN_ENDED:
            return Fold(), [*_rest(fold), *_turn_ended(data)]
        case _:
            maker = _PLAIN.get(kind)
            if maker is None:
                return fold, ()
            return replace(fold, pending=""), [*_rest(fold), *maker(data)]


def _chunk(fold: Fold, call: str, text: str) -> tuple[Fold, Sequence[str]]:
    *lines, pending = (fold.pending + text).split("\n")
    if len(pending) > _PENDING:
        lines, pending = [*lines, pending], ""
    return Fold(fold.chunked | {call}, pending), [line.removesuffix("\r") for line in lines]


def _rest(fold: Fold) -> Sequence[str]:
    return [fold.pending] if fold.pending else []


def _turn_ended(data: JsonObject) -> Sequence[str]:
    status, why = _text(data, "status"), _text(data, "error") or _text(data, "stop_reason")
    return [f"[result] {status}" if status == "completed" else f"[result] {status}: {_one_line(why)}"]


def _prompt(data: JsonObject) -> Sequence[str]:
    return [f"> {line}" for line in _text(data, "text").splitlines()]


def _message(data: JsonObject) -> Sequence[str]:
    return _text(data, "text").splitlines()


def _tool_call(data: JsonObject) -> Sequence[str]:
    given = data.get("input")
    # One telling value stands for itself: `[tool] Bash: make test`.
    if isinstance(given, dict) and len(given) == 1:
        given = next(iter(given.values()))
    return [f"[tool] {_text(data, 'name')}: {_one_line(given)}"]


def _permission(data: JsonObject) -> Sequence[str]:
    if data.get("checkpoint") is True:
        return ["[ask] shall this prompt run?"]
    return [f"[ask] permission for {_text(data, 'tool_name')}: {_one_line(data.get('input'))}"]


def _question(data: JsonObject) -> Sequence[str]:
    questions = data.get("questions")
    asked = [one for one in questions if isinstance(one, dict)] if isinstance(questions, list) else []
    return [f"[ask] {_one_line(one.get('question'))}" for one in asked]


def _plan(data: JsonObject) -> Sequence[str]:
    return ["[ask] plan", *_text(data, "plan").splitlines()]


def _resolved(data: JsonObject) -> Sequence[str]:
    status, by = _text(data, "status"), _text(data, "answered_by")
    # The answer's way to the agent is no news to people.
    if status == "applied":
        return []
    return [f"[ask] {status} by {_one_line(by)}" if by else f"[ask] {status}"]


def _error(data: JsonObject) -> Sequence[str]:
    return [f"[error] {_one_line(data.get('message'))}"]


def _retrying(data: JsonObject) -> Sequence[str]:
    return [f"[retry] attempt {data.get('attempt')}: {_one_line(data.get('error'))}"]


def _started(data: JsonObject) -> Sequence[str]:
    return [f"[session] {'resumed' if data.get('resumed') is True else 'started'}: {_text(data, 'agent')}"]


def _ended(data: JsonObject) -> Sequence[str]:
    return [f"[session] ended: {_text(data, 'reason')}"]


_PLAIN: Final[Mapping[EventType, Callable[[JsonObject], Sequence[str]]]] = {
    EventType.TURN_QUEUED: _prompt,
    EventType.MESSAGE: _message,
    EventType.TOOL_CALL: _tool_call,
    EventType.PERMISSION_REQUEST: _permission,
    EventType.QUESTION: _question,
    EventType.PLAN_PROPOSED: _plan,
    EventType.ASK_RESOLVED: _resolved,
    EventType.ERROR: _error,
    EventType.RETRYING: _retrying,
    EventType.SESSION_STARTED: _started,
    EventType.SESSION_ENDED: _ended,
}

DRAWN: Final = frozenset({*_PLAIN, EventType.TOOL_OUTPUT_CHUNK, EventType.TOOL_RESULT, EventType.TURN_ENDED})
"""Types that give lines or change what later ones give."""


def _text(data: JsonObject, name: str) -> str:
    value = data.get(name)
    return value if isinstance(value, str) else ""


def _one_line(value: JsonValue) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    joined = " ".join(text.split())
    return joined if len(joined) <= _SUMMARY else f"{joined[:_SUMMARY]}…"
