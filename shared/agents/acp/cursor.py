"""Cursor's agent: `cursor-agent acp`, and the questions, plans and to-do lists it has beside the protocol.

Written from its documentation: it cannot be installed or run without Cursor's own servers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.agents import jsonlines
from shared.agents.acp.flavour import Flavour, Waiting
from shared.agents.acp.notices import notice
from shared.agents.acp.todos import MAX_ITEMS, plan_update
from shared.agents.driver import Abilities, Emit, Profile
from shared.domain.ask import Answer, AskKind, PlanAnswer, QuestionAnswer
from shared.domain.json import JsonObject, JsonValue
from shared.domain.session import Mode

_CANCELLED: JsonObject = {"outcome": {"outcome": "cancelled"}}


@dataclass(frozen=True, slots=True)
class Question:
    """`cursor/ask_question`."""

    questions: Sequence[JsonObject]

    @property
    def kind(self) -> AskKind:
        """A question."""
        return AskKind.QUESTION

    @property
    def data(self) -> JsonObject:
        """Its questions, with the labels of their options."""
        return {"questions": [_shown(question) for question in self.questions]}

    def answered(self, answer: Answer) -> JsonObject:
        """The ids of the chosen options; what is no label goes as free text."""
        if not isinstance(answer, QuestionAnswer) or answer.answers is None:
            reason = answer.message if isinstance(answer, QuestionAnswer) else None
            return {"outcome": {"outcome": "skipped", "reason": reason or "The user declined to answer."}}
        said = answer.answers
        told: list[JsonValue] = [
            _chosen(question, said[jsonlines.text(question, "prompt")])
            for question in self.questions
            if jsonlines.text(question, "prompt") in said
        ]
        return {"outcome": {"outcome": "answered", "answers": told}}

    def cancelled(self) -> JsonObject:
        """Nobody will answer."""
        return _CANCELLED


@dataclass(frozen=True, slots=True)
class Plan:
    """`cursor/create_plan`."""

    text: str

    @property
    def kind(self) -> AskKind:
        """A plan."""
        return AskKind.PLAN

    @property
    def data(self) -> JsonObject:
        """The plan as Markdown."""
        return {"plan": self.text}

    def answered(self, answer: Answer) -> JsonObject:
        """Accepted, or rejected with what the human said."""
        if isinstance(answer, PlanAnswer) and answer.approve:
            return {"outcome": {"outcome": "accepted"}}
        feedback = answer.feedback if isinstance(answer, PlanAnswer) else None
        return {"outcome": {"outcome": "rejected", "reason": feedback or "The user rejected the plan."}}

    def cancelled(self) -> JsonObject:
        """Nobody will judge it."""
        return _CANCELLED


class CursorExtras:
    """The extensions of one conversation."""

    def __init__(self) -> None:
        self._todos: dict[str, JsonObject] = {}

    def asked(self, method: str, params: JsonObject) -> Waiting | None:
        """A question or a plan."""
        match method:
            case "cursor/ask_question":
                asked = [one for one in jsonlines.objects(params, "questions") if jsonlines.text(one, "prompt")]
                return Question(asked) if asked else None
            case "cursor/create_plan":
                parts = [jsonlines.text(params, key) for key in ("name", "overview", "plan")]
                name, *rest = parts
                text = "\n\n".join([*([f"# {name}"] if name else []), *filter(None, rest)])
                return Plan(text) if text else None
        return None

    def told(self, method: str, params: JsonObject) -> Sequence[Emit] | None:
        """The to-do list, whole or in parts; and what a subagent was given to do."""
        match method:
            case "cursor/update_todos":
                if params.get("merge") is not True:
                    self._todos.clear()
                for todo in jsonlines.objects(params, "todos"):
                    self._put(todo)
                return [plan_update([*self._todos.values()])]
            case "cursor/task":
                return [notice("task_started", description=jsonlines.text(params, "description"))]
        return None

    def _put(self, todo: JsonObject) -> None:
        name = jsonlines.text(todo, "id")
        if jsonlines.text(todo, "status") == "cancelled":
            self._todos.pop(name, None)
        elif name in self._todos or len(self._todos) < MAX_ITEMS:
            self._todos[name] = {**self._todos.get(name, {}), **todo}


def _shown(question: JsonObject) -> JsonObject:
    options: list[JsonValue] = [{"label": label} for label in _ids(question)]
    several = question.get("allowMultiple") is True
    return {"question": jsonlines.text(question, "prompt"), "options": options, "multi_select": several}


def _ids(question: JsonObject) -> dict[str, str]:
    """Ids of the options by their labels."""
    options = jsonlines.objects(question, "options")
    return {jsonlines.text(one, "label") or jsonlines.text(one, "id"): jsonlines.text(one, "id") for one in options}


def _chosen(question: JsonObject, said: str | list[str]) -> JsonObject:
    ids, texts = _ids(question), [said] if isinstance(said, str) else said
    chosen: list[JsonValue] = [ids[text] for text in texts if text in ids]
    free = ", ".join(text for text in texts if text not in ids)
    answer: JsonObject = {"questionId": jsonlines.text(question, "id"), "selectedOptionIds": chosen}
    return {**answer, **jsonlines.present(freeformText=free)}


CURSOR = Flavour(
    name="cursor",
    program="cursor-agent",
    abilities=Abilities(
        modes=frozenset(Mode),
        questions=True,
        plans=True,
        resume=True,
        allow_always=True,
        profile=Profile(hosts=("*.cursor.sh", "*.cursorapi.com")),
    ),
    arguments=("acp",),
    modes={Mode.INTERACTIVE: ("agent",), Mode.PLAN: ("plan",)},
    # With CURSOR_API_KEY this asks nobody.
    login=("cursor_login",),
    login_first=True,
    extras=CursorExtras,
)
