"""The demo agent's frames, field by field: what is read from them is of the documented type, or they are malformed."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any, Final, assert_never

from shared.agents.driver import TurnEnd
from shared.domain.ask import Answer, AskKind, PermissionAnswer, PlanAnswer, QuestionAnswer, Verdict
from shared.domain.json import JsonObject, JsonValue
from shared.domain.turn import TERMINAL_TURN, TurnStatus
from shared.domain.usage import Usage

MAX_DEPTH: Final = 64
"""Nesting of what is passed on to readers; a thousand levels exhaust their parsers."""

FRAME_DEPTH: Final = 200
"""Nesting of a whole frame; what it carries beyond MAX_DEPTH is refused where it is passed on."""

UNREADABLE: Final = f"not JSON of at most {FRAME_DEPTH} levels"

TODO_STATES: Final = ("pending", "in_progress", "completed")


class Malformed(Exception):
    """A frame lacks a field, or has one of another type."""


def parsed(line: str) -> JsonObject:
    """The JSON object in `line`."""
    # One message for all three: how deep a parser gets, and where it says a text is broken, differs from one
    # Python to the next, and what callers are told must not.
    try:
        frame: JsonValue = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Malformed(UNREADABLE) from error
    if line.count("{") + line.count("[") > FRAME_DEPTH and _is_deeper(frame, FRAME_DEPTH):
        raise Malformed(UNREADABLE)
    if not isinstance(frame, dict):
        raise Malformed("not a JSON object")
    return frame


# --- fields ---------------------------------------------------------------------------------------------------


def text(frame: JsonObject, key: str) -> str:
    """The text at `key`."""
    value = frame.get(key)
    if not isinstance(value, str):
        raise Malformed(f"{key} is not a text")
    return value


def object_(frame: JsonObject, key: str) -> JsonObject:
    """The object at `key`."""
    value = frame.get(key)
    if not isinstance(value, dict):
        raise Malformed(f"{key} is not an object")
    return value


def objects(frame: JsonObject, key: str) -> list[JsonObject]:
    """The objects in the array at `key`."""
    value = frame.get(key)
    if not isinstance(value, list):
        raise Malformed(f"{key} is not an array")
    found = [item for item in value if isinstance(item, dict)]
    if len(found) != len(value):
        raise Malformed(f"{key} holds something else than objects")
    return found


def amount(frame: JsonObject, key: str) -> float:
    """The finite number, zero or more, at `key`."""
    value = frame.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise Malformed(f"{key} is not a number from 0 up")
    return value


def count(frame: JsonObject, key: str) -> int:
    """The whole number, zero or more and of 63 bits at most, at `key`."""
    value = amount(frame, key)
    if not isinstance(value, int) or value >= 2**63:
        raise Malformed(f"{key} is not a whole number")
    return value


def shallow(value: JsonObject) -> JsonObject:
    """`value`, unless it is nested deeper than readers can be asked to follow."""
    if _is_deeper(value, MAX_DEPTH):
        raise Malformed(f"nested deeper than {MAX_DEPTH} levels")
    return value


def _is_deeper(value: JsonValue, levels: int) -> bool:
    level: list[JsonValue] = [value]
    for _ in range(levels):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return False
    return True


def _inside(value: JsonValue) -> Iterator[JsonValue]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


# --- frames ---------------------------------------------------------------------------------------------------


def words(frame: JsonObject) -> JsonObject:
    """The data of a text or a piece of one."""
    return {"text": text(frame, "text"), "message_id": text(frame, "message_id")}


def todo_item(item: JsonObject) -> JsonObject:
    """One item of a to-do list."""
    status = text(item, "status")
    if status not in TODO_STATES:
        raise Malformed(f"there is no status {status[:80]!r}")
    return {"text": text(item, "text"), "status": status}


def usage(frame: JsonObject) -> tuple[Usage, float | None]:
    """Tokens, and cost in USD where it is told."""
    counts = {name: count(frame, name) for name in Usage.__slots__}
    return Usage(**counts), amount(frame, "cost_usd") if frame.get("cost_usd") is not None else None


def turn_end(frame: JsonObject) -> TurnEnd:
    """The end a `result` tells of. What it lacks is left out; a status of no meaning is a failure."""
    told = _or_none(frame, "status")
    reason, said, error = (_or_none(frame, key) for key in ("stop_reason", "text", "error"))
    status = TurnStatus.FAILED
    if told in TERMINAL_TURN:
        status = TurnStatus(told)
    else:
        error = error or "The agent ended the turn with a status of no meaning."
    try:
        used, cost_usd = usage(object_(frame, "usage"))
    except Malformed:
        used, cost_usd = None, None
    return TurnEnd(status, reason or "unknown", said, error, used, cost_usd)


def _or_none(frame: JsonObject, key: str) -> str | None:
    value = frame.get(key)
    return value if isinstance(value, str) else None


# --- asks -----------------------------------------------------------------------------------------------------


def shown(request: JsonObject) -> tuple[AskKind, JsonObject]:
    """The kind of an ask and what a human is shown of it."""
    shallow(request)
    match request.get("subtype"):
        case "permission":
            return AskKind.PERMISSION, _permission(request)
        case "question":
            questions: list[JsonValue] = [_question(item) for item in objects(request, "questions")]
            return AskKind.QUESTION, {"questions": questions}
        case "plan":
            return AskKind.PLAN, {"plan": text(request, "plan")}
        case other:
            raise Malformed(f"there is no ask {other!r}")


def _permission(request: JsonObject) -> JsonObject:
    data: JsonObject = {"tool_name": text(request, "tool_name"), "input": object_(request, "input")}
    if "description" in request:
        data["description"] = text(request, "description")
    if "tool_use_id" in request:
        data["tool_call_id"] = text(request, "tool_use_id")
    if isinstance(suggestions := request.get("suggestions"), list):
        data["suggestions"] = suggestions
    return data


def _question(question: JsonObject) -> JsonObject:
    options: list[JsonValue] = [_option(option) for option in objects(question, "options")]
    data: JsonObject = {"question": text(question, "question")}
    if "header" in question:
        data["header"] = text(question, "header")
    return data | {"options": options, "multi_select": question.get("multi_select") is True}


def _option(option: JsonObject) -> JsonObject:
    label: JsonObject = {"label": text(option, "label")}
    return label | {"description": text(option, "description")} if "description" in option else label


def in_their_words(answer: Answer) -> JsonObject:
    """An answer as the agent expects it."""
    match answer:
        case PermissionAnswer(decision=Verdict.DENY):
            return {"behavior": "deny", "message": answer.message, "stop": answer.stop}
        case PermissionAnswer():
            always = answer.decision is Verdict.ALLOW_ALWAYS
            return {"behavior": "allow", "always": always, "updated_input": answer.input}
        case QuestionAnswer(answers=None):
            return {"declined": True, "message": answer.message}
        case QuestionAnswer():
            return {"answers": _listed(answer)}
        case PlanAnswer():
            return {"approve": answer.approve, "feedback": answer.feedback, "next_mode": answer.next_mode}
        case _:
            assert_never(answer)


def _listed(answer: QuestionAnswer) -> JsonObject:
    given: dict[str, Any] = dict(answer.answers or {})
    return given
