"""One conversation with the demo agent; `docs/agents/demo.md` describes the frames.

A frame it does not know becomes a notice, a malformed one too; an ask it cannot show is denied on the spot, so that
the agent never waits for an answer nobody can give.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from shared.agents.demo import frames
from shared.agents.demo.frames import Malformed
from shared.agents.driver import (
    AskApplied,
    AskOpen,
    AskWithdrawn,
    Command,
    DialogueInput,
    Emit,
    ExitStatus,
    Interrupt,
    Leave,
    ModeNow,
    Output,
    Prompt,
    Ready,
    Reply,
    Send,
    SetMode,
    SetModel,
    Steer,
    Steered,
    SteerRefused,
    Transcript,
    TurnEnd,
)
from shared.domain.ask import Answer, AskKind
from shared.domain.event import EventType
from shared.domain.ids import TurnId
from shared.domain.json import JsonObject, JsonValue
from shared.domain.session import Mode
from shared.domain.turn import TurnStatus
from shared.domain.usage import Usage

MAX_QUOTE: Final = 500
"""Characters of a strange line that its notice repeats."""

NOTHING_RUNS: Final = "The turn it was to steer has ended."

MAX_OPEN: Final = 256
"""Asks, or tool calls, at once: memory is bounded whatever the agent prints."""

_REFUSAL: Final[JsonObject] = {"behavior": "deny", "declined": True, "approve": False}
"""Refuses any kind of ask."""

# A line that was cut has lost its end, so its beginning is all there is. The agent writes these fields first.
_CUT_ASK = re.compile(r'\{"type":"control_request","request_id":"([^"\\]+)"')
_CUT_RESULT = re.compile(r'\{"type":"result","turn":"[^"\\]*","status":"(\w+)","stop_reason":"(\w+)"')


class DemoDialogue:
    """One conversation. Every ask it opens it also ends; every tool call gets its one result."""

    def __init__(self) -> None:
        self._turns: deque[Prompt | Command] = deque()
        self._steers: dict[str, TurnId] = {}
        """Steers without an answer, by request id."""
        self._asks: dict[str, AskKind] = {}
        self._calls: dict[str, str] = {}
        """Names of the tools whose result has not come, by call."""
        self._wishes: dict[str, str] = {}
        """What we asked for, by request id."""
        self._requests = 0
        self._interrupted = False
        self._ended = False
        self._readers: Mapping[str, Callable[[JsonObject], Iterator[Output]]] = {
            "control_response": self._replied,
            "control_request": self._asked,
            "control_cancel": self._cancelled,
            "text_delta": self._text_delta,
            "thinking_delta": self._thinking_delta,
            "message": self._message,
            "tool_use": self._tool_use,
            "tool_output": self._tool_output,
            "tool_result": self._tool_result,
            "todo": self._todo,
            "usage": self._used,
            "retrying": self._retrying,
            "compacted": self._compacted,
            "session": self._renamed,
            "error": self._failed,
            "mode": self._mode,
            "transcript": self._transcript,
            "result": self._result,
        }

    # --- from the host ---

    def open(self) -> Sequence[Output]:
        return [self._request("initialize")]

    def send(self, said: DialogueInput) -> Sequence[Output]:
        if self._ended:
            return []
        match said:
            case Prompt() | Command():
                return [self._begin(said)]
            case Steer():
                return [self._steer(said)]
            case Reply(ref=ref, answer=answer):
                return self._answer(ref, answer)
            case Interrupt():
                self._interrupted = bool(self._turns)
                return [self._request("interrupt")] if self._turns else []
            case SetMode() | SetModel() | Leave():
                return [self._wish(said)]

    def woke(self) -> Sequence[Output]:
        return []

    def end(self, status: ExitStatus) -> Sequence[Output]:
        if self._ended:
            return []
        self._ended = True
        outputs: list[Output] = [*self._close_turn("agent_exited")]
        ended = TurnStatus.CANCELLED if self._interrupted else TurnStatus.FAILED
        outputs += [TurnEnd(ended, "agent_exited", error=_last_words(status)) for _ in self._turns]
        self._turns.clear()
        return outputs

    def _begin(self, said: Prompt | Command) -> Send:
        self._turns.append(said)
        self._interrupted = False
        if isinstance(said, Prompt):
            return _send({"type": "user", "turn": said.turn, "text": said.text})
        return _send({"type": "command", "turn": said.turn, "name": said.name, "args": said.args})

    def _wish(self, said: SetMode | SetModel | Leave) -> Send:
        match said:
            case SetMode(mode=mode):
                return self._request("set_mode", mode=mode.value)
            case SetModel(model=model):
                return self._request("set_model", model=model)
            case Leave():
                return self._request("end_session")

    def _steer(self, said: Steer) -> Output:
        if not self._turns:
            return SteerRefused(said.turn, NOTHING_RUNS)
        request = self._request("steer", turn=said.turn, text=said.text)
        self._steers[f"corral_{self._requests}"] = said.turn
        return request

    def _request(self, subtype: str, **fields: JsonValue) -> Send:
        self._requests += 1
        ref = f"corral_{self._requests}"
        self._wishes[ref] = subtype
        return _send({"type": "control_request", "request_id": ref, "request": {"subtype": subtype, **fields}})

    def _answer(self, ref: str, answer: Answer) -> Sequence[Output]:
        if ref not in self._asks:
            return []
        del self._asks[ref]
        return [_response(ref, frames.in_their_words(answer)), AskApplied(ref)]

    # --- from the agent ---

    def feed(self, line: str, *, dropped: int = 0) -> Sequence[Output]:
        if self._ended:
            return []
        if dropped:
            return [*self._cut(line, dropped)]
        if not line.strip():
            return []
        try:
            frame = frames.parsed(line)
            kind = frames.text(frame, "type")
            reader = self._readers.get(kind)
            return (
                [*reader(frame)]
                if reader
                else [_notice("unknown_frame", frame=kind[:MAX_QUOTE], excerpt=line[:MAX_QUOTE])]
            )
        except Malformed as error:
            return [_notice("unreadable_line", excerpt=line[:MAX_QUOTE], problem=str(error)[:MAX_QUOTE])]

    def _cut(self, line: str, dropped: int) -> Iterator[Output]:
        yield _notice("line_cut", dropped_bytes=dropped)
        if ask := _CUT_ASK.match(line):
            yield from self._deny(ask[1], f"its request was too long by {dropped} bytes")
        elif result := _CUT_RESULT.match(line):
            yield from self._end_turn({"status": result[1], "stop_reason": result[2]})

    def _deny(self, ref: str, problem: str) -> Iterator[Output]:
        text = f"A request of the agent could not be shown and was denied: {problem}."
        yield _response(ref, {**_REFUSAL, "message": text, "feedback": text})
        yield _notice("ask_denied", message=text)

    def _replied(self, frame: JsonObject) -> Iterator[Output]:
        ref = frames.text(frame, "request_id")
        wish = self._wishes.pop(ref, None)
        if wish == "steer":
            yield from self._steer_answered(ref, frame)
        elif frame.get("ok") is not True:
            error = frames.object_(frame, "error")
            yield Emit(EventType.ERROR, {"message": frames.text(error, "message"), "code": frames.text(error, "code")})
        elif wish == "initialize":
            yield _introduction(frames.object_(frame, "response"))

    def _steer_answered(self, ref: str, frame: JsonObject) -> Iterator[Output]:
        turn = self._steers.pop(ref, None)
        # The turn may have ended while the answer was on its way: that was the answer then.
        if turn is not None and frame.get("ok") is True:
            yield Steered(turn)
        elif turn is not None:
            # Whatever the agent says of it, or does not: a steer is answered.
            yield SteerRefused(turn, _words_of(frame.get("error")))

    def _asked(self, frame: JsonObject) -> Iterator[Output]:
        ref = frames.text(frame, "request_id")
        if ref in self._asks:
            raise Malformed(f"request_id {ref} is open already")
        if len(self._asks) >= MAX_OPEN:
            yield from self._deny(ref, f"{MAX_OPEN} others are open")
            return
        try:
            kind, data = frames.shown(frames.object_(frame, "request"))
        except Malformed as error:
            yield from self._deny(ref, str(error))
            return
        self._asks[ref] = kind
        yield AskOpen(ref, kind, data)

    def _cancelled(self, frame: JsonObject) -> Iterator[Output]:
        ref = frames.text(frame, "request_id")
        # Nothing is open where our answer and their change of mind crossed.
        if ref in self._asks:
            del self._asks[ref]
            yield AskWithdrawn(ref, str(frame.get("reason") or "withdrawn"))

    def _text_delta(self, frame: JsonObject) -> Iterator[Output]:
        yield Emit(EventType.MESSAGE_CHUNK, frames.words(frame))

    def _thinking_delta(self, frame: JsonObject) -> Iterator[Output]:
        yield Emit(EventType.THINKING_CHUNK, frames.words(frame))

    def _message(self, frame: JsonObject) -> Iterator[Output]:
        yield Emit(EventType.MESSAGE, frames.words(frame))

    def _tool_use(self, frame: JsonObject) -> Iterator[Output]:
        call, name, given = (
            frames.text(frame, "id"),
            frames.text(frame, "name"),
            frames.shallow(frames.object_(frame, "input")),
        )
        if call in self._calls:
            raise Malformed(f"id {call} is in use")
        if len(self._calls) >= MAX_OPEN:
            raise Malformed(f"{MAX_OPEN} tool calls are open")
        self._calls[call] = name
        yield Emit(EventType.TOOL_CALL, {"tool_call_id": call, "name": name, "input": given})

    def _tool_output(self, frame: JsonObject) -> Iterator[Output]:
        call = self._open_call(frame)
        data: JsonObject = {"tool_call_id": call, "text": frames.text(frame, "text")}
        if isinstance(at_ns := frame.get("at_ns"), int):
            data["at_ns"] = at_ns
        yield Emit(EventType.TOOL_OUTPUT_CHUNK, data)

    def _tool_result(self, frame: JsonObject) -> Iterator[Output]:
        call, output = self._open_call(frame), frames.text(frame, "output")
        data = _outcome(call, self._calls[call], output, is_error=frame.get("is_error") is True)
        if "duration_s" in frame:
            data["duration_s"] = frames.amount(frame, "duration_s")
        del self._calls[call]
        yield Emit(EventType.TOOL_RESULT, data)

    def _open_call(self, frame: JsonObject) -> str:
        call = frames.text(frame, "id")
        if call not in self._calls:
            raise Malformed(f"no tool call {call} is open")
        return call

    def _todo(self, frame: JsonObject) -> Iterator[Output]:
        items: list[JsonValue] = [frames.todo_item(item) for item in frames.objects(frame, "items")]
        yield Emit(EventType.PLAN_UPDATE, {"items": items})

    def _used(self, frame: JsonObject) -> Iterator[Output]:
        usage, cost_usd = frames.usage(frame)
        counts: JsonObject = {name: getattr(usage, name) for name in Usage.__slots__}
        yield Emit(EventType.USAGE, counts | ({} if cost_usd is None else {"cost_usd": cost_usd}))

    def _retrying(self, frame: JsonObject) -> Iterator[Output]:
        data: JsonObject = {"attempt": frames.count(frame, "attempt"), "error": frames.text(frame, "error")}
        if "max_attempts" in frame:
            data["max_attempts"] = frames.count(frame, "max_attempts")
        if "delay_s" in frame:
            data["delay_s"] = frames.amount(frame, "delay_s")
        yield Emit(EventType.RETRYING, data)

    def _compacted(self, frame: JsonObject) -> Iterator[Output]:
        counts: JsonObject = {name: frames.count(frame, name) for name in ("tokens_before", "tokens_after")}
        yield _notice("compacted", trigger=frames.text(frame, "trigger"), **counts)

    def _renamed(self, frame: JsonObject) -> Iterator[Output]:
        yield _notice("conversation_reset")
        yield _introduction(frame)

    def _failed(self, frame: JsonObject) -> Iterator[Output]:
        yield Emit(EventType.ERROR, {"message": frames.text(frame, "message"), "code": frames.text(frame, "code")})

    def _mode(self, frame: JsonObject) -> Iterator[Output]:
        mode = frames.text(frame, "mode")
        if mode not in set(Mode):
            raise Malformed(f"there is no mode {mode}")
        yield ModeNow(Mode(mode))

    def _transcript(self, frame: JsonObject) -> Iterator[Output]:
        yield Transcript([json.dumps(frames.shallow(entry)) for entry in frames.objects(frame, "entries")])

    def _result(self, frame: JsonObject) -> Iterator[Output]:
        if not self._turns:
            raise Malformed("no turn is running")
        yield from self._end_turn(frame)

    def _end_turn(self, frame: JsonObject) -> Iterator[Output]:
        """End the running turn, however little of the frame makes sense: no second one would come."""
        if not self._turns:
            return
        yield from self._close_turn("turn_ended")
        self._turns.popleft()
        yield frames.turn_end(frame)

    def _close_turn(self, reason: str) -> Iterator[Output]:
        for call, name in self._calls.items():
            yield Emit(EventType.TOOL_RESULT, _outcome(call, name, "The turn ended first.", is_error=True))
        self._calls.clear()
        for ref in self._asks:
            yield AskWithdrawn(ref, reason)
        self._asks.clear()
        for turn in self._steers.values():
            yield SteerRefused(turn, NOTHING_RUNS)
        self._steers.clear()


def _introduction(about: JsonObject) -> Ready:
    return Ready(frames.text(about, "session_id"), frames.text(about, "model"), frames.text(about, "version"))


def _words_of(error: JsonValue) -> str:
    message = error.get("message") if isinstance(error, dict) else None
    return message if isinstance(message, str) else "The agent did not take it."


def _send(frame: JsonObject) -> Send:
    return Send(json.dumps(frame, separators=(",", ":")).encode() + b"\n")


def _response(ref: str, response: JsonObject) -> Send:
    return _send({"type": "control_response", "request_id": ref, "response": response})


def _notice(kind: str, **fields: JsonValue) -> Emit:
    return Emit(EventType.NOTICE, {"kind": kind, **fields})


def _outcome(call: str, name: str, output: str, *, is_error: bool) -> JsonObject:
    return {"tool_call_id": call, "name": name, "output": output, "is_error": is_error}


def _last_words(status: ExitStatus) -> str:
    how = f"exited with code {status.code}" if status.signal is None else f"was ended by signal {status.signal}"
    tail = status.stderr_tail.strip()
    return f"The agent {how}." + (f"\n{tail}" if tail else "")
