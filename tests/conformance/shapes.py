"""The shapes `docs/events.md` promises, and what must hold of the outputs of every conversation with any agent."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

from shared.agents.driver import (
    AskApplied,
    AskOpen,
    AskWithdrawn,
    Emit,
    ModeNow,
    Output,
    Ready,
    Send,
    Steered,
    SteerRefused,
    Transcript,
    TurnEnd,
    WakeIn,
)
from shared.domain.ask import AskKind
from shared.domain.event import EventType, render
from shared.domain.json import JsonObject
from shared.domain.turn import TERMINAL_TURN

Shape = Mapping[str, type | tuple[type, ...]]

NUMBER: Final = (int, float)
# A name that ends in `?` may be absent. Fields beyond these are allowed: the format is additive.
EVENTS: Final[Mapping[EventType, Shape]] = {
    EventType.MESSAGE_CHUNK: {"text": str, "message_id": str},
    EventType.THINKING_CHUNK: {"text": str, "message_id?": str},
    EventType.MESSAGE: {"text": str, "message_id": str},
    EventType.TOOL_CALL: {"tool_call_id": str, "name": str, "input": dict},
    EventType.TOOL_OUTPUT_CHUNK: {"tool_call_id": str, "text": str, "at_ns?": int},
    EventType.TOOL_RESULT: {
        "tool_call_id": str,
        "name": str,
        "output": str,
        "is_error": bool,
        "duration_s?": NUMBER,
    },
    EventType.PLAN_UPDATE: {"items": list},
    EventType.USAGE: {
        "input_tokens": int,
        "output_tokens": int,
        "cache_read_tokens": int,
        "cache_write_tokens": int,
        "cost_usd?": (*NUMBER, type(None)),
    },
    EventType.NOTICE: {"kind": str},
    EventType.RETRYING: {"attempt": int, "max_attempts?": int, "delay_s?": NUMBER, "error?": str, "status?": int},
    EventType.ERROR: {"message": str},
}
"""What a driver may emit. Every other type is Corral's own to write."""

ASKS: Final[Mapping[AskKind, Shape]] = {
    AskKind.PERMISSION: {
        "tool_name": str,
        "input": dict,
        "description?": str,
        "tool_call_id?": str,
        "suggestions?": list,
    },
    AskKind.QUESTION: {"questions": list},
    AskKind.PLAN: {"plan": str},
}
QUESTION: Final[Shape] = {"question": str, "header?": str, "options": list, "multi_select": bool}
OPTION: Final[Shape] = {"label": str, "description?": str}
ITEM: Final[Shape] = {"text": str, "status": str}
ITEM_STATES: Final = {"pending", "in_progress", "completed"}


def misfits(outputs: Sequence[Output]) -> list[str]:
    """What is wrong with single outputs, each in a sentence."""
    found: list[str] = []
    for output in outputs:
        match output:
            case Emit(type=kind, data=data):
                found += _emit_misfits(kind, data)
            case AskOpen(kind=ask, data=data):
                found += [*_lacks(str(ask), data, ASKS[ask]), *_question_misfits(data)]
                render(data)
            case Send(data=sent):
                found += [] if sent.endswith(b"\n") else [f"sent bytes are not whole lines: {sent!r}"]
            case Transcript(entries=entries):
                found += [f"not one JSON line: {entry!r}" for entry in entries if not _is_entry(entry)]
            case TurnEnd(status=status):
                found += [] if status in TERMINAL_TURN else [f"{status} ends no turn"]
            case Ready() | AskApplied() | AskWithdrawn() | ModeNow() | WakeIn() | Steered() | SteerRefused():
                pass
            case _:
                found.append(f"{output!r} is no output")
    return found


def _is_entry(entry: str) -> bool:
    return "\n" not in entry and isinstance(json.loads(entry), dict)


def _emit_misfits(kind: EventType, data: JsonObject) -> list[str]:
    # What a driver gives must have a text form, whatever the agent printed.
    json.loads(render(data))
    if kind not in EVENTS:
        return [f"{kind} is not a driver's to emit"]
    found = _lacks(kind, data, EVENTS[kind])
    if kind is EventType.PLAN_UPDATE and not found:
        found += [misfit for item in data["items"] for misfit in _lacks("item", item, ITEM)]
        found += [f"{item['status']} is no state" for item in data["items"] if item.get("status") not in ITEM_STATES]
    return found


def _question_misfits(data: JsonObject) -> list[str]:
    questions = data.get("questions", [])
    found = [misfit for question in questions for misfit in _lacks("question", question, QUESTION)]
    options = [option for question in questions for option in question.get("options", [])]
    return found + [misfit for option in options for misfit in _lacks("option", option, OPTION)]


def _lacks(what: str, data: JsonObject, shape: Shape) -> list[str]:
    found = []
    for key, kind in shape.items():
        name = key.removesuffix("?")
        if name not in data:
            found += [] if key.endswith("?") else [f"{what} lacks {name}: {data}"]
        elif not isinstance(data[name], kind) or (isinstance(data[name], bool) and kind is not bool):
            found.append(f"{what}.{name} is {data[name]!r}, not {kind}")
    return found


def imbalances(outputs: Sequence[Output]) -> list[str]:
    """What opens must close once: asks and tool calls. For the outputs of a conversation that has ended."""
    return [*_ask_imbalances(outputs), *_call_imbalances(outputs)]


def _ask_imbalances(outputs: Sequence[Output]) -> list[str]:
    waiting: set[str] = set()
    found: list[str] = []
    for before, output in zip([None, *outputs], outputs, strict=False):
        match output:
            case AskOpen(ref=ref):
                found += [f"ask {ref} was opened while it is open"] if ref in waiting else []
                waiting.add(ref)
            case AskApplied(ref=ref) | AskWithdrawn(ref=ref):
                found += [] if ref in waiting else [f"ask {ref} ended but was not open"]
                waiting.discard(ref)
        if isinstance(output, AskApplied) and not isinstance(before, Send):
            found.append(f"ask {output.ref} is applied without a Send before it")
    return found + [f"ask {ref} never ended" for ref in waiting]


def _call_imbalances(outputs: Sequence[Output]) -> list[str]:
    open_calls: set[object] = set()
    found: list[str] = []
    for output in outputs:
        if not isinstance(output, Emit):
            continue
        call = output.data.get("tool_call_id")
        if output.type is EventType.TOOL_CALL:
            open_calls.add(call)
        elif output.type in {EventType.TOOL_OUTPUT_CHUNK, EventType.TOOL_RESULT} and call not in open_calls:
            found.append(f"{output.type} of {call}, which is not open")
        if output.type is EventType.TOOL_RESULT:
            open_calls.discard(call)
    return found + [f"tool call {call} never got its result" for call in open_calls]


def ends_per_prompt(outputs: Sequence[Output], prompts: int) -> list[str]:
    """Whether every prompt ended exactly once."""
    ends = [output for output in outputs if isinstance(output, TurnEnd)]
    return [] if len(ends) == prompts else [f"{prompts} prompts but {len(ends)} ends: {ends}"]


def answers_per_steer(outputs: Sequence[Output], steers: Sequence[str]) -> list[str]:
    """Whether every steer was answered exactly once."""
    answers = [output.turn for output in outputs if isinstance(output, Steered | SteerRefused)]
    return [] if sorted(answers) == sorted(steers) else [f"steers {steers} but answers to {answers}"]
