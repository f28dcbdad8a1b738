"""What a person's form says, as the answer an ask takes. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from api.pages.page import MAX_WORDS, Option
from shared.domain.ask import Ask, AskKind
from shared.domain.errors import InvalidField
from shared.domain.event import storable
from shared.domain.json import JsonObject, JsonValue

FormData = Mapping[str, Sequence[str]]

DENIALS: Final[Mapping[AskKind, tuple[Option, str]]] = {
    AskKind.PERMISSION: (Option("Deny", value="deny"), "Why not (the agent reads it)"),
    AskKind.QUESTION: (Option("Decline to answer", value="decline"), "Why not (the agent reads it)"),
    AskKind.PLAN: (Option("Send back", value="reject"), "What should be different"),
}
"""How each kind is answered with no, and what the text beside it is for."""

MOST_QUESTIONS: Final = 50


@dataclass(frozen=True, slots=True)
class Asked:
    """One question of an ask, by the name it has in the form."""

    name: str
    text: str
    header: str
    options: Sequence[tuple[str, str]]
    is_many: bool


@dataclass(frozen=True, slots=True)
class Said:
    """What came with a form, to be shown again where it could not be taken."""

    do: str = ""
    message: str = ""
    next_mode: str = ""
    chosen: Mapping[str, Sequence[str]] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)


def read(form: FormData) -> Said:
    """The form's fields; texts are cut where the page's own fields would not take more."""
    names = [f"q{number}" for number in range(MOST_QUESTIONS)]
    return Said(
        do=_one(form, "do"),
        message=_one(form, "message"),
        next_mode=_one(form, "next_mode"),
        chosen={name: list(form[name]) for name in names if name in form},
        texts={name: _one(form, f"{name}t") for name in names if f"{name}t" in form},
    )


def answer_of(ask: Ask, said: Said) -> JsonObject:
    """The answer in the form that operations take.

    Raises:
        InvalidField: a button that is not there, or a question without an answer.
    """
    no, _ = DENIALS[ask.kind]
    if said.do == no.value:
        return _refusal(ask.kind, said.message)
    match ask.kind, said.do:
        case AskKind.PERMISSION, "allow" | "allow_always":
            return {"decision": said.do}
        case AskKind.QUESTION, "answer":
            return {"answers": {one.text: _answer(one, said) for one in asked(ask.data)}}
        case AskKind.PLAN, "approve":
            return {"verdict": "approve", **({"next_mode": said.next_mode} if said.next_mode else {})}
        case _:
            raise InvalidField(said.do, "is none of this page's buttons")


def asked(data: JsonObject) -> Sequence[Asked]:
    """The questions of an ask; what is not in their form is left out, as nobody could answer it."""
    found = data.get("questions")
    whole = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    return [
        Asked(f"q{number}", _str(one, "question"), _str(one, "header"), _options(one), one.get("multi_select") is True)
        for number, one in enumerate(whole[:MOST_QUESTIONS])
    ]


def _options(question: JsonObject) -> Sequence[tuple[str, str]]:
    options = question.get("options")
    if not isinstance(options, list):
        return ()
    return [(_str(one, "label"), _str(one, "description")) for one in options if isinstance(one, dict)]


def _answer(one: Asked, said: Said) -> JsonValue:
    numbers = {str(number): label for number, (label, _) in enumerate(one.options)}
    labels: list[JsonValue] = [numbers[word] for word in said.chosen.get(one.name, ()) if word in numbers]
    text = said.texts.get(one.name, "").strip()
    if not labels and not text:
        raise InvalidField(one.text, "needs an answer")
    if one.is_many:
        return [*labels, text] if text else labels
    # Who writes something beside an option means what he writes.
    return text or labels[0]


def _refusal(kind: AskKind, message: str) -> JsonObject:
    words = message.strip()
    match kind:
        case AskKind.PERMISSION:
            return {"decision": "deny", **({"message": words} if words else {})}
        case AskKind.QUESTION:
            return {"answers": None, **({"message": words} if words else {})}
        case AskKind.PLAN:
            return {"verdict": "reject", **({"feedback": words} if words else {})}


def _one(form: FormData, name: str) -> str:
    values = form.get(name, ())
    # Browsers send the lines of a text with CR LF.
    return storable(values[0].replace("\r\n", "\n"))[:MAX_WORDS] if values else ""


def _str(data: JsonObject, name: str) -> str:
    value = data.get(name)
    return value if isinstance(value, str) else ""
