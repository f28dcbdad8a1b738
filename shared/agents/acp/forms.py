"""`elicitation/create` with a form (unstable in ACP 1) as a question, and answers as the form's content."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from shared.agents import jsonlines
from shared.domain.ask import Answer, AskKind, QuestionAnswer
from shared.domain.json import JsonObject, JsonValue

MAX_FIELDS = 50
_CUSTOM = "_custom"
"""`<field>_custom` holds what a human types instead of choosing, in forms of claude-agent-acp 0.100."""
_YES, _NO = "yes", "no"


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    question: str
    kind: str
    header: str
    choices: dict[str, str]
    """Values by label."""
    options: list[JsonValue]
    takes_text: bool


class Form:
    """A form the agent wants filled in. Each of its fields is one question."""

    kind = AskKind.QUESTION

    def __init__(self, params: JsonObject) -> None:
        self._fields = list(_fields(params))

    def __bool__(self) -> bool:
        """Whether there is anything to fill in."""
        return bool(self._fields)

    @property
    def data(self) -> JsonObject:
        """One question a field."""
        return {"questions": [_shown(field) for field in self._fields]}

    def answered(self, answer: Answer) -> JsonObject:
        """What was filled in; a declined form says nothing about why."""
        if not isinstance(answer, QuestionAnswer) or answer.answers is None:
            return {"action": "decline"}
        content: JsonObject = {}
        for field in self._fields:
            if field.question in answer.answers:
                content |= _filled(field, answer.answers[field.question])
        return {"action": "accept", "content": content}

    def cancelled(self) -> JsonObject:
        """Nobody will fill it in."""
        return {"action": "cancel"}


def _shown(field: _Field) -> JsonObject:
    asked: JsonObject = {"question": field.question, "options": field.options, "multi_select": field.kind == "array"}
    return {**asked, **jsonlines.present(header=field.header)}


def _fields(params: JsonObject) -> Iterator[_Field]:
    message = jsonlines.text(params, "message")
    properties = jsonlines.obj(jsonlines.obj(params, "requestedSchema"), "properties")
    names = [name for name in properties if name and name.removesuffix(_CUSTOM) not in properties.keys() - {name}]
    taken: set[str] = set()
    for name in names[:MAX_FIELDS]:
        schema = jsonlines.obj(properties, name)
        title = jsonlines.text(schema, "title")
        question = message if len(names) == 1 and message else jsonlines.text(schema, "description") or title or name
        if question in taken:
            question = f"{question} ({name})"
        taken.add(question)
        options, choices = _options(schema)
        kind = jsonlines.text(schema, "type") or "string"
        yield _Field(name, question, kind, title, choices, options, takes_text=f"{name}{_CUSTOM}" in properties)


def _options(schema: JsonObject) -> tuple[list[JsonValue], dict[str, str]]:
    if jsonlines.text(schema, "type") == "boolean":
        return [{"label": _YES}, {"label": _NO}], {}
    within = jsonlines.obj(schema, "items") or schema
    titled = jsonlines.objects(within, "oneOf") or jsonlines.objects(within, "anyOf")
    if not titled:
        return [{"label": label} for label in jsonlines.strings(within, "enum")], {}
    options: list[JsonValue] = []
    choices: dict[str, str] = {}
    for choice in titled:
        label = jsonlines.text(choice, "title") or jsonlines.text(choice, "const")
        choices[label] = jsonlines.text(choice, "const")
        options.append({"label": label, **jsonlines.present(description=jsonlines.text(choice, "description"))})
    return options, choices


def _filled(field: _Field, said: str | list[str]) -> JsonObject:
    texts = [said] if isinstance(said, str) else said
    if field.kind == "array":
        return {field.name: [field.choices.get(text, text) for text in texts]}
    text = ", ".join(texts)
    if field.takes_text and text not in field.choices:
        return {f"{field.name}{_CUSTOM}": text}
    return {field.name: _value(field, text)}


def _value(field: _Field, text: str) -> JsonValue:
    """What was said as the type the field has. What is no such value goes as it is: the agent says what it wants."""
    match field.kind:
        case "boolean":
            return text.strip().lower() in {_YES, "true", "1"}
        case "integer" | "number":
            return _number(text, whole=field.kind == "integer")
    return field.choices.get(text, text)


def _number(text: str, *, whole: bool) -> JsonValue:
    try:
        return int(text) if whole else float(text)
    except (ValueError, OverflowError):
        return text
