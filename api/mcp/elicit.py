"""An ask as a form that a client shows its human, and the filled-in form as an answer. Flat, as forms must be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from api.mcp.tool import Told
from api.mcp.views import one_line
from shared.domain.ask import AskKind, Verdict
from shared.domain.json import JsonObject

_PLAN_SHOWN: Final = 8000
_WORD: Final = {"type": "string", "title": "A word to the agent"}


def message_of(ask: Told) -> str:
    """What the human reads above the form."""
    data = ask["data"]
    match AskKind(ask["kind"]):
        case AskKind.PERMISSION:
            why = f"\n{one_line(data['description'])}" if data.get("description") else ""
            return f"The agent asks to use {data.get('tool_name')}: {one_line(data.get('input'))}{why}"
        case AskKind.QUESTION:
            return "The agent asks: " + " / ".join(one_line(one.get("question")) for one in _questions(data))
        case AskKind.PLAN:
            return f"The agent proposes a plan:\n\n{one_line(data.get('plan'), _PLAN_SHOWN)}"


def form_of(ask: Told) -> JsonObject:
    """The form, as JSON Schema with one level of properties."""
    match AskKind(ask["kind"]):
        case AskKind.PERMISSION:
            decision = {"type": "string", "title": "Decision", "enum": [one.value for one in Verdict]}
            return _form({"decision": decision, "message": _WORD}, ["decision"])
        case AskKind.QUESTION:
            fields: dict[str, Any] = {}
            for number, question in enumerate(_questions(ask["data"]), 1):
                fields |= _field_of(number, question)
            return _form(fields, [])
        case AskKind.PLAN:
            verdict = {"type": "string", "title": "Verdict", "enum": ["approve", "reject"]}
            feedback = {"type": "string", "title": "What should be different"}
            return _form({"verdict": verdict, "feedback": feedback}, ["verdict"])


def answer_of(ask: Told, content: Mapping[str, Any]) -> JsonObject:
    """The answer a filled-in form means; whether it fits is judged where every answer is."""
    match AskKind(ask["kind"]):
        case AskKind.QUESTION:
            answers: JsonObject = {}
            for number, question in enumerate(_questions(ask["data"]), 1):
                said = content.get(f"other{number}") or content.get(f"answer{number}")
                if said:
                    answers[str(question.get("question"))] = said
            return {"answers": answers or None}
        case _:
            return {name: value for name, value in content.items() if value not in (None, "")}


def refusal_of(ask: Told) -> JsonObject:
    """The answer of a human who refused the form itself."""
    match AskKind(ask["kind"]):
        case AskKind.PERMISSION:
            return {"decision": Verdict.DENY.value}
        case AskKind.QUESTION:
            return {"answers": None}
        case AskKind.PLAN:
            return {"verdict": "reject"}


def _field_of(number: int, question: Mapping[str, Any]) -> dict[str, Any]:
    text = one_line(question.get("question"))
    labels = [str(option.get("label")) for option in question.get("options") or []]
    other = {f"other{number}": {"type": "string", "title": f"{text}: something else" if labels else text}}
    if not labels:
        return other
    if question.get("multi_select") is True:
        items = {"type": "string", "enum": labels}
        return {f"answer{number}": {"type": "array", "title": text, "items": items}, **other}
    return {f"answer{number}": {"type": "string", "title": text, "enum": labels}, **other}


def _questions(data: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = data.get("questions")
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _form(properties: Mapping[str, Any], required: list[str]) -> JsonObject:
    return {"type": "object", "properties": dict(properties), "required": list(required)}
