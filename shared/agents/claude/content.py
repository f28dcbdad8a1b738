"""What the agent says and does: `stream_event`, `assistant` and `user` frames as events."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from shared.agents.claude import frames, todos
from shared.agents.driver import Emit
from shared.agents.notices import notice
from shared.domain.event import EventType
from shared.domain.json import JsonObject, JsonValue

MAX_CALLS = 1000
"""Tool calls whose result is still to come; the oldest is given up beyond."""
_READ_AGAIN = todos.TOOLS | {"ExitPlanMode"}
_ABANDONED = "The agent went on without a result of this tool."


@dataclass(frozen=True, slots=True)
class _Call:
    name: str
    input: JsonObject
    parent: JsonObject


@dataclass(slots=True)
class _Spoken:
    """Which text of which message: Claude Code gives all texts of a message one id, and our readers add up
    the chunks of an id.
    """

    message_id: str = ""
    texts: int = 0

    def next(self, message_id: str) -> None:
        self.texts = self.texts + 1 if message_id == self.message_id else 1
        self.message_id = message_id

    @property
    def name(self) -> str:
        return self.message_id if self.texts <= 1 else f"{self.message_id}.{self.texts}"


class Content:
    """The conversation as events. Keeps what one frame must know of those before it."""

    def __init__(self) -> None:
        self._calls: dict[str, _Call] = {}
        self._todos = todos.Todos()
        self._streamed = _Spoken()
        self._unstreamed = _Spoken()
        self._message_id = ""
        self._thinking_streamed = False
        self._last_text = ""

    def plan_of(self, tool_call_id: str) -> str:
        """The plan an ExitPlanMode call proposes: its input, else what the agent said last."""
        call = self._calls.get(tool_call_id)
        return (frames.text(call.input, "plan") if call else "") or self._last_text

    # --- pieces

    def streamed(self, frame: JsonObject) -> list[Emit]:
        """A piece of a message as the model writes it."""
        event = frames.obj(frame, "event")
        match frames.text(event, "type"):
            case "content_block_delta":
                return self._delta(frames.obj(event, "delta"), frame)
            case "content_block_start":
                if frames.text(frames.obj(event, "content_block"), "type") == "text":
                    self._streamed.next(self._message_id)
            case "message_start":
                self._message_id = frames.text(frames.obj(event, "message"), "id")
        return []

    def _delta(self, delta: JsonObject, frame: JsonObject) -> list[Emit]:
        match frames.text(delta, "type"):
            case "text_delta":
                return _piece(EventType.MESSAGE_CHUNK, frames.text(delta, "text"), self._streamed.name, frame)
            case "thinking_delta":
                self._thinking_streamed = True
                return _piece(EventType.THINKING_CHUNK, frames.text(delta, "thinking"), self._message_id, frame)
        return []

    # --- whole blocks

    def assistant(self, frame: JsonObject) -> list[Emit]:
        """A finished block of a message: Claude Code sends one frame for each."""
        message = frames.obj(frame, "message")
        if frame.get("is_api_error_message") is True:
            return [_api_error(frame, message)]
        emits: list[Emit] = []
        for block in frames.objects(message, "content"):
            emits += self._block(block, frames.text(message, "id"), frame)
        return emits

    def _block(self, block: JsonObject, message_id: str, frame: JsonObject) -> list[Emit]:
        match frames.text(block, "type"):
            case "text":
                return self._text(frames.text(block, "text"), message_id, frame)
            case "thinking":
                return self._thought(frames.text(block, "thinking"), message_id, frame)
            case "tool_use" | "server_tool_use":
                return self._called(block, frame)
            case kind if kind.endswith("_tool_result"):
                # The model's own servers ran the tool; its result comes within the message.
                return self._result(block, frame)
        return []

    def _text(self, said: str, message_id: str, frame: JsonObject) -> list[Emit]:
        if not said:
            return []
        parent = _parent(frame)
        spoken = self._streamed
        if parent or message_id != spoken.message_id:
            spoken = self._unstreamed
            spoken.next(message_id)
        if not parent:
            self._last_text = said
        marks: JsonObject = {"aborted": True} if frame.get("aborted") is True else {}
        return [Emit(EventType.MESSAGE, {"text": said, "message_id": spoken.name, **parent, **marks})]

    def _thought(self, thought: str, message_id: str, frame: JsonObject) -> list[Emit]:
        streamed, self._thinking_streamed = self._thinking_streamed, False
        if streamed and not _parent(frame):
            return []
        return _piece(EventType.THINKING_CHUNK, thought, message_id, frame)

    # --- tools

    def _called(self, block: JsonObject, frame: JsonObject) -> list[Emit]:
        call_id, parent = frames.text(block, "id"), _parent(frame)
        name, tool_input = frames.text(block, "name"), frames.obj(block, "input")
        if not call_id or call_id in self._calls:
            return []
        emits = [self._give_up(next(iter(self._calls)))] if len(self._calls) >= MAX_CALLS else []
        # Inputs are kept only where they are read again: one may hold a whole file.
        self._calls[call_id] = _Call(name, tool_input if name in _READ_AGAIN else {}, parent)
        data: JsonObject = {"tool_call_id": call_id, "name": name, "input": tool_input, **parent}
        return [*emits, Emit(EventType.TOOL_CALL, data)]

    def user(self, frame: JsonObject) -> list[Emit]:
        """Tool results. The texts of these frames are the agent's own notes to the model."""
        return [emit for block in results(frame) for emit in self._result(block, frame)]

    def _result(self, block: JsonObject, frame: JsonObject) -> list[Emit]:
        call_id = frames.text(block, "tool_use_id")
        call = self._calls.pop(call_id, None)
        output, failed = _output(block), block.get("is_error") is True
        if call is None:
            # Every call has one result in the log, so this one is told otherwise.
            return [notice("unknown_result", tool_call_id=call_id, output=frames.cut(output, 2000))]
        data = _result_data(call_id, call, output, failed=failed)
        emits = [Emit(EventType.TOOL_RESULT, {**data, **frames.present(not_run=_not_run(call_id, frame))})]
        if call.name in todos.TOOLS and not failed:
            emits += self._todos.done(call.name, call.input, frames.obj(frame, "tool_use_result"))
        return emits

    def abandoned(self, *, everything: bool = False) -> list[Emit]:
        """Results for calls that will have none: at the end of a turn those of the agent itself, since a
        subagent may work on; at the end of the process everything.
        """
        calls = [call_id for call_id, call in self._calls.items() if everything or not call.parent]
        return [self._give_up(call_id) for call_id in calls]

    def _give_up(self, call_id: str) -> Emit:
        return Emit(EventType.TOOL_RESULT, _result_data(call_id, self._calls.pop(call_id), _ABANDONED, failed=True))


def results(frame: JsonObject) -> list[JsonObject]:
    """The tool results in a `user` frame."""
    blocks = frames.objects(frames.obj(frame, "message"), "content")
    return [block for block in blocks if frames.text(block, "type") == "tool_result"]


def _piece(kind: EventType, text: str, message_id: str, frame: JsonObject) -> list[Emit]:
    return [Emit(kind, {"text": text, "message_id": message_id, **_parent(frame)})] if text else []


def _parent(frame: JsonObject) -> JsonObject:
    """Whose words these are, where a subagent speaks: the call that started it."""
    parent = frames.text(frame, "parent_tool_use_id")
    return {"parent_tool_call_id": parent} if parent else {}


def _result_data(call_id: str, call: _Call, output: str, *, failed: bool) -> JsonObject:
    return {"tool_call_id": call_id, "name": call.name, "output": output, "is_error": failed, **call.parent}


def _output(block: JsonObject) -> str:
    if isinstance(block.get("content"), str):
        return frames.text(block, "content")
    return "\n".join(_part(part) for part in frames.objects(block, "content"))


def _part(part: JsonObject) -> str:
    match frames.text(part, "type"):
        case "text":
            return frames.text(part, "text")
        case "image":
            # Its pixels are of no use in a log; the file the tool read is.
            return f"[image {frames.text(frames.obj(part, 'source'), 'media_type')}]"
    return json.dumps(part)


def _not_run(call_id: str, frame: JsonObject) -> str:
    """Why the tool did not run (`user-rejected`, `permission-rule`, …); empty where it did."""
    for meta in frames.objects(frame, "tool_result_meta"):
        if frames.text(meta, "id") == call_id:
            return frames.text(meta, "non_execution_kind")
    return ""


def _api_error(frame: JsonObject, message: JsonObject) -> Emit:
    texts: Sequence[str] = [frames.text(block, "text") for block in frames.objects(message, "content")]
    status = frames.number(frame, "api_error_status")
    reason = frames.text(frame, "api_error_type") or frames.text(frame, "api_error") or frames.text(frame, "error")
    facts: dict[str, JsonValue] = {"status": None if status is None else int(status), "reason": reason}
    return Emit(EventType.ERROR, {"message": "\n".join(texts), "code": "api_error", **frames.present(**facts)})
