"""The agent's to-do list, put together from its TodoWrite, TaskCreate and TaskUpdate calls."""

from __future__ import annotations

from collections.abc import Sequence

from shared.agents.claude import frames
from shared.agents.driver import Emit
from shared.domain.event import EventType
from shared.domain.json import JsonObject, JsonValue

TOOLS = frozenset({"TodoWrite", "TaskCreate", "TaskUpdate"})
MAX_ITEMS = 500
STATES = frozenset({"pending", "in_progress", "completed"})


class Todos:
    """The list as far as this process has seen it: after a resume it begins empty."""

    def __init__(self) -> None:
        self._items: dict[str, JsonObject] = {}

    def done(self, name: str, tool_input: JsonObject, outcome: JsonObject) -> Sequence[Emit]:
        """A call of one of `TOOLS` has succeeded; `outcome` is the structured half of its result."""
        match name:
            case "TodoWrite":
                self._write(tool_input)
            case "TaskCreate":
                task = frames.obj(outcome, "task")
                self._put(frames.text(task, "id"), frames.text(task, "subject") or frames.text(tool_input, "subject"))
            case _:
                self._update(tool_input)
        items: list[JsonValue] = [*self._items.values()]
        return [Emit(EventType.PLAN_UPDATE, {"items": items})]

    def _write(self, tool_input: JsonObject) -> None:
        todos = frames.objects(tool_input, "todos")[:MAX_ITEMS]
        self._items = {
            str(place): {"text": frames.text(todo, "content"), "status": _state(frames.text(todo, "status"))}
            for place, todo in enumerate(todos)
        }

    def _put(self, task: str, text: str, status: str = "") -> None:
        if task in self._items or len(self._items) < MAX_ITEMS:
            self._items[task] = {"id": task, "text": text, "status": _state(status)}

    def _update(self, tool_input: JsonObject) -> None:
        task, status = frames.text(tool_input, "taskId"), frames.text(tool_input, "status")
        if status == "deleted":
            self._items.pop(task, None)
            return
        known = self._items.get(task, {})
        text = frames.text(tool_input, "subject") or frames.text(known, "text")
        self._put(task, text, status or frames.text(known, "status"))


def _state(status: str) -> str:
    return status if status in STATES else "pending"
