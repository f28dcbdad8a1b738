"""What the agent does: `tool_call` and `tool_call_update` frames as one call and one result.

An agent tells a call while the model still writes it, and completes its input with later frames. It is told to
callers once its input is whole: when it runs, or when the agent asks whether it may.
"""

from __future__ import annotations

import json
import re
from collections import deque
from dataclasses import dataclass, field

from shared.agents import jsonlines
from shared.agents.acp.speech import told
from shared.agents.driver import Emit
from shared.domain.event import EventType
from shared.domain.json import JsonObject, JsonValue

MAX_CALLS = 256
"""Calls whose result is still to come; the oldest is given up beyond."""
MAX_STREAMED_CHARS = 256 * 1024
"""Output that is told while it comes; ACP repeats all of it with each piece."""
_ABANDONED = "The turn ended first."
_FORGOTTEN = "The agent went on without a result of this tool."
_NAME = re.compile(r"[\w.:-]{1,64}")
_OVER = frozenset({"completed", "failed"})


@dataclass(slots=True)
class Call:
    """A tool call that has no result yet."""

    id: str
    name: str
    status: str = "pending"
    title: str = ""
    kind: str = ""
    input: JsonObject = field(default_factory=dict)
    content: list[JsonObject] = field(default_factory=list)
    locations: list[JsonObject] = field(default_factory=list)
    is_told: bool = False
    streamed: str = ""

    def learn(self, frame: JsonObject) -> None:
        """Take over what a frame says; what it leaves out stays."""
        self.status = jsonlines.text(frame, "status") or self.status
        self.title = jsonlines.text(frame, "title") or self.title
        self.kind = jsonlines.text(frame, "kind") or self.kind
        self.input = given(frame) or self.input
        self.content = jsonlines.objects(frame, "content") or self.content
        self.locations = jsonlines.objects(frame, "locations") or self.locations

    @property
    def plan(self) -> str:
        """The plan that a call to leave plan mode proposes."""
        return jsonlines.text(self.input, "plan") or texts(self.content)


class Tools:
    """The calls that are open."""

    def __init__(self) -> None:
        self._open: dict[str, Call] = {}
        self._closed: deque[str] = deque(maxlen=MAX_CALLS)

    def frame(self, update: JsonObject, *, stopped: bool = False) -> list[Emit]:
        """A `tool_call` or `tool_call_update`. What ends after the turn was `stopped` has failed:
        some agents call a command completed that they have killed.
        """
        call_id = jsonlines.text(update, "toolCallId")
        if not call_id or (call_id not in self._open and _is_late(call_id in self._closed, update)):
            return []
        emits, call = self._known(call_id, update)
        call.learn(update)
        if "status" not in update and jsonlines.text(update, "sessionUpdate") == "tool_call" and call.input:
            call.status = "in_progress"
        if call.status != "pending":
            emits += self._tell(call)
        if call.status in _OVER:
            return [*emits, self._result(call, update, stopped=stopped)]
        return emits + _streamed(call, update)

    def asked(self, frame: JsonObject) -> tuple[list[Emit], Call]:
        """The agent asks whether it may run this call: it is told now, with all that is known of it."""
        emits, call = self._known(jsonlines.text(frame, "toolCallId"), frame)
        status = call.status
        call.learn(frame)
        call.status = status
        return [*emits, *self._tell(call)], call

    def abandoned(self) -> list[Emit]:
        """Results for calls that will have none."""
        return [emit for call in list(self._open.values()) for emit in self._give_up(call, _ABANDONED)]

    def _known(self, call_id: str, frame: JsonObject) -> tuple[list[Emit], Call]:
        if call := self._open.get(call_id):
            return [], call
        emits: list[Emit] = []
        if len(self._open) >= MAX_CALLS:
            emits = self._give_up(next(iter(self._open.values())), _FORGOTTEN)
        self._open[call_id] = call = Call(call_id, _name(frame))
        return emits, call

    def _tell(self, call: Call) -> list[Emit]:
        if call.is_told:
            return []
        call.is_told = True
        more = jsonlines.present(title=call.title, kind=call.kind)
        shown = shown_input(call)
        return [Emit(EventType.TOOL_CALL, {"tool_call_id": call.id, "name": call.name, "input": shown, **more})]

    def _result(self, call: Call, update: JsonObject, *, stopped: bool) -> Emit:
        raw = update.get("rawOutput")
        output = texts(call.content) or _as_text(raw)
        return self._close(call, output, failed=stopped or call.status == "failed" or _exit_code(raw) != 0)

    def _give_up(self, call: Call, why: str) -> list[Emit]:
        return [*self._tell(call), self._close(call, why, failed=True)]

    def _close(self, call: Call, output: str, *, failed: bool) -> Emit:
        del self._open[call.id]
        self._closed.append(call.id)
        data: JsonObject = {"tool_call_id": call.id, "name": call.name, "output": output, "is_error": failed}
        return Emit(EventType.TOOL_RESULT, data)


def _is_late(was_closed: bool, update: JsonObject) -> bool:  # noqa: FBT001 - a private predicate
    """Whether an update comes after its call's result, or for a call nobody began."""
    return jsonlines.text(update, "sessionUpdate") != "tool_call" and (was_closed or not _says_anything(update))


def _says_anything(update: JsonObject) -> bool:
    return bool(jsonlines.text(update, "title") or jsonlines.text(update, "kind") or given(update))


def _name(frame: JsonObject) -> str:
    """A short name: the agent's own where it tells one, else its first title where that is one word, else the kind."""
    for meta in jsonlines.obj(frame, "_meta").values():
        if isinstance(meta, dict) and _NAME.fullmatch(jsonlines.text(meta, "toolName")):
            return jsonlines.text(meta, "toolName")
    title = jsonlines.text(frame, "title")
    return title if _NAME.fullmatch(title) else jsonlines.cut(jsonlines.text(frame, "kind"), 64) or "tool"


def given(frame: JsonObject) -> JsonObject:
    """The input in a frame, as an object."""
    raw = frame.get("rawInput")
    if isinstance(raw, dict):
        return raw
    return {} if raw in (None, "", []) else {"value": raw}


def shown_input(call: Call) -> JsonObject:
    """What a human is shown of a call: its input, else the changes it would make."""
    if call.input or not call.content:
        return call.input
    content: list[JsonValue] = [*call.content]
    return {"content": content}


def _streamed(call: Call, update: JsonObject) -> list[Emit]:
    if not call.is_told or jsonlines.text(update, "status") != "in_progress":
        return []
    output = texts(jsonlines.objects(update, "content"))
    news = output[len(call.streamed) :]
    if not news or not output.startswith(call.streamed) or len(output) > MAX_STREAMED_CHARS:
        return []
    call.streamed = output
    return [Emit(EventType.TOOL_OUTPUT_CHUNK, {"tool_call_id": call.id, "text": news})]


def texts(content: list[JsonObject]) -> str:
    """The content of a call as text; a change of a file as JSON."""
    return "\n".join(part for part in map(_part, content) if part)


def _part(item: JsonObject) -> str:
    match jsonlines.text(item, "type"):
        case "content":
            return told(jsonlines.obj(item, "content"))
        case "diff":
            return json.dumps({"path": item.get("path"), "old": item.get("oldText"), "new": item.get("newText")})
    return ""


def _as_text(value: JsonValue) -> str:
    if isinstance(value, dict) and isinstance(value.get("output"), str):
        return str(value["output"])
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value)


def _exit_code(raw: JsonValue) -> int:
    """The exit code of a command that has `completed`: OpenCode says so of one that has failed, too."""
    if not isinstance(raw, dict):
        return 0
    code = jsonlines.number(jsonlines.obj(raw, "metadata"), "exit")
    code = jsonlines.number(raw, "exitCode") if code is None else code
    return int(code or 0)
