"""What Codex says and does: items and their pieces as events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from shared.agents import jsonlines
from shared.agents.codex import tools
from shared.agents.driver import Emit
from shared.agents.notices import notice
from shared.domain.event import EventType
from shared.domain.json import JsonObject, JsonValue

MAX_CALLS = 1000
"""Tool calls whose result is still to come; the oldest is given up beyond. As many ended ones are remembered."""
MAX_INPUTS = 16
"""Inputs kept for the request that may follow: one may hold a whole file."""
MAX_TEXTS = 16
MAX_TEXT_CHARS = 256 * 1024
"""Of a message that may be cut off; a longer one is then not told whole, its pieces were."""
MAX_OUTPUT_CHARS = 64 * 1024
MAX_CHILDREN = 64
_ABANDONED = "The agent went on without a result of this tool."
_STATES = {"pending": "pending", "inProgress": "in_progress", "completed": "completed"}

Kept = TypeVar("Kept")

QUIET = frozenset({"userMessage", "hookPrompt", "functionCallOutput", "plan"})
"""Items that repeat what was said to Codex, or are seen to elsewhere."""


@dataclass(slots=True)
class _Call:
    name: str
    parent: JsonObject
    output: str = ""
    denied: str = ""
    """Why a human did not allow it."""


@dataclass(slots=True)
class _Text:
    parent: JsonObject
    text: str = field(default="")


class Content:
    """The conversation as events. Keeps what one message must know of those before it."""

    def __init__(self) -> None:
        self._calls: dict[str, _Call] = {}
        self._inputs: dict[str, tools.Called] = {}
        self._ended: dict[str, None] = {}
        self._texts: dict[str, _Text] = {}
        self._thought: dict[str, None] = {}
        self._children: dict[str, str] = {}

    # --- whose it is

    def parent_of(self, thread: str) -> JsonObject | None:
        """What marks the words of this subagent's thread; None where it is not known."""
        call = self._children.get(thread)
        return None if call is None else {"parent_tool_call_id": call}

    # --- pieces

    def text_delta(self, params: JsonObject, parent: JsonObject) -> list[Emit]:
        """A piece of a message."""
        item, piece = jsonlines.text(params, "itemId"), jsonlines.text(params, "delta")
        if not item or not piece:
            return []
        text = self._texts.get(item)
        if text is None:
            _make_room(self._texts, MAX_TEXTS)
            text = self._texts[item] = _Text(parent)
        text.text = (text.text + piece)[: MAX_TEXT_CHARS + 1]
        return [Emit(EventType.MESSAGE_CHUNK, {"text": piece, "message_id": item, **parent})]

    def thought_delta(self, params: JsonObject, parent: JsonObject) -> list[Emit]:
        """A piece of its reasoning."""
        item, piece = jsonlines.text(params, "itemId"), jsonlines.text(params, "delta")
        if not item or not piece:
            return []
        _make_room(self._thought, MAX_TEXTS)
        self._thought[item] = None
        return [Emit(EventType.THINKING_CHUNK, {"text": piece, "message_id": item, **parent})]

    def output_delta(self, params: JsonObject) -> list[Emit]:
        """A piece of a running tool's output."""
        item = jsonlines.text(params, "itemId")
        piece = jsonlines.text(params, "delta") or jsonlines.text(params, "message")
        call = self._calls.get(item)
        if call is None or not piece:
            return []
        call.output = (call.output + piece)[-MAX_OUTPUT_CHARS:]
        return [Emit(EventType.TOOL_OUTPUT_CHUNK, {"tool_call_id": item, "text": piece})]

    # --- whole items

    def started(self, item: JsonObject, parent: JsonObject) -> list[Emit] | None:
        """An item begins; None where its type is unknown."""
        name = jsonlines.text(item, "type")
        called = tools.called(item)
        if called is not None:
            return self._called(item, called, parent)
        if name == "contextCompaction":
            return [notice("compacting")]
        return [] if name in QUIET or name in _TOLD_AT_THE_END else None

    def completed(self, item: JsonObject, parent: JsonObject) -> list[Emit] | None:
        """An item is whole; None where its type is unknown."""
        called = tools.called(item)
        if called is not None:
            return self._result(item, called, parent)
        match jsonlines.text(item, "type"):
            case "agentMessage":
                return self._message(item, parent)
            case "reasoning":
                return self._reasoning(item, parent)
            case "contextCompaction":
                return [notice("compacted")]
            case "enteredReviewMode" | "exitedReviewMode" as kind:
                return [notice("review", state=kind, message=jsonlines.text(item, "review"))]
            case kind:
                return [] if kind in QUIET else None

    def _message(self, item: JsonObject, parent: JsonObject) -> list[Emit]:
        name, text = jsonlines.text(item, "id"), jsonlines.text(item, "text")
        self._texts.pop(name, None)
        if not name or not text:
            return []
        return [Emit(EventType.MESSAGE, {"text": text, "message_id": name, **parent})]

    def _reasoning(self, item: JsonObject, parent: JsonObject) -> list[Emit]:
        name = jsonlines.text(item, "id")
        text = "\n\n".join(jsonlines.strings(item, "summary") or jsonlines.strings(item, "content"))
        if not text or name in self._thought:
            self._thought.pop(name, None)
            return []
        return [Emit(EventType.THINKING_CHUNK, {"text": text, "message_id": name, **parent})]

    # --- tools

    def _called(self, item: JsonObject, called: tools.Called, parent: JsonObject) -> list[Emit]:
        name = jsonlines.text(item, "id")
        if not name or name in self._calls or name in self._ended:
            return []
        emits = [self._give_up(next(iter(self._calls)), _ABANDONED)] if len(self._calls) >= MAX_CALLS else []
        self._calls[name] = _Call(called.name, parent)
        _make_room(self._inputs, MAX_INPUTS)
        self._inputs[name] = called
        child = jsonlines.text(item, "agentThreadId")
        if child and child not in self._children and len(self._children) < MAX_CHILDREN:
            self._children[child] = name
        data: JsonObject = {"tool_call_id": name, "name": called.name, "input": called.input, **parent}
        return [*emits, Emit(EventType.TOOL_CALL, data)]

    def _result(self, item: JsonObject, called: tools.Called, parent: JsonObject) -> list[Emit]:
        name = jsonlines.text(item, "id")
        # One that tells its end alone has begun too. One we have given up (a command that ran on) has had its end.
        emits = self._called(item, called, parent)
        call = self._calls.get(name)
        if call is None:
            return emits
        self._end(name)
        data: JsonObject = {"tool_call_id": name, "name": call.name, **tools.outcome(item, call.output), **call.parent}
        if call.denied:
            data["output"] = call.denied
        return [*emits, Emit(EventType.TOOL_RESULT, data)]

    def deny(self, item: str, message: str) -> None:
        """A human did not allow this call; its result says why."""
        call = self._calls.get(item)
        if call is not None:
            call.denied = message

    def input_of(self, item: str) -> JsonObject | None:
        """What this open call was given, while it is kept."""
        called = self._inputs.get(item)
        return None if called is None else called.input

    def open_call_of(self, prefix: str) -> tuple[str, str, JsonObject] | None:
        """The newest open call whose name begins so: its id, name and input."""
        for item, called in reversed(self._inputs.items()):
            if called.name.startswith(prefix):
                return item, called.name, called.input
        return None

    # --- the end

    def closed(self, *, interrupted: bool) -> list[Emit]:
        """The turn is over: results for the agent's own calls that will have none, and what was said of a message
        that was cut off. A command it left running in the background has not failed. Subagents may work on.
        """
        calls = [name for name, call in self._calls.items() if not call.parent]
        texts = [name for name, text in self._texts.items() if not text.parent]
        emits = [emit for name in texts for emit in self._cut_off(name)]
        return emits + [self._left(name, interrupted=interrupted) for name in calls]

    def abandoned(self) -> list[Emit]:
        """The process is gone: nothing goes on."""
        emits = [emit for name in tuple(self._texts) for emit in self._cut_off(name)]
        return emits + [self._give_up(name, _ABANDONED) for name in tuple(self._calls)]

    def _left(self, name: str, *, interrupted: bool) -> Emit:
        call = self._calls[name]
        if interrupted:
            return self._give_up(name, "It was interrupted.")
        if call.name != "shell":
            return self._give_up(name, _ABANDONED)
        self._end(name)
        output = f"{call.output}\n[It runs on in the background.]".strip()
        return _result_of(name, call, output, failed=False)

    def _give_up(self, name: str, why: str) -> Emit:
        call = self._calls[name]
        self._end(name)
        return _result_of(name, call, call.denied or f"{call.output}\n{why}".strip(), failed=True)

    def _end(self, name: str) -> None:
        self._calls.pop(name, None)
        self._inputs.pop(name, None)
        _make_room(self._ended, MAX_CALLS)
        self._ended[name] = None

    def _cut_off(self, name: str) -> list[Emit]:
        said = self._texts.pop(name)
        if len(said.text) > MAX_TEXT_CHARS:
            return []
        data: JsonObject = {"text": said.text, "message_id": name, "aborted": True, **said.parent}
        return [Emit(EventType.MESSAGE, data)]


_TOLD_AT_THE_END = frozenset({"agentMessage", "reasoning", "enteredReviewMode", "exitedReviewMode"})


def _result_of(name: str, call: _Call, output: str, *, failed: bool) -> Emit:
    data: JsonObject = {"tool_call_id": name, "name": call.name, "output": output, "is_error": failed, **call.parent}
    return Emit(EventType.TOOL_RESULT, data)


def _make_room(kept: dict[str, Kept], limit: int) -> None:
    if len(kept) >= limit:
        del kept[next(iter(kept))]


def todo_list(params: JsonObject) -> Sequence[Emit]:
    """`turn/plan/updated`: the agent's to-do list as it now stands."""
    items: list[JsonValue] = [
        {"text": jsonlines.text(step, "step"), "status": _STATES.get(jsonlines.text(step, "status"), "pending")}
        for step in jsonlines.objects(params, "plan")
    ]
    return [Emit(EventType.PLAN_UPDATE, {"items": items})]
