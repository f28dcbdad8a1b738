"""The demo agent between its turns: what it knows, and what it does with each frame it hears."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from cli.demo.memory import Entry, Memory
from cli.demo.wire import Frame, Wire

VERSION = "1.0"
DEFAULT_MODEL = "demo-1"
MODES = ("interactive", "accept_edits", "plan", "bypass")


class Settings(NamedTuple):
    """What the command line said."""

    mode: str = "interactive"
    model: str = DEFAULT_MODEL
    allow_bypass: bool = False
    max_turn_cost_usd: float | None = None


class Agent:
    """The state of one process: mode, model, prompts not begun, answers not read."""

    def __init__(self, wire: Wire, memory: Memory, settings: Settings, *, unknown: bool = False) -> None:
        self.wire = wire
        self.memory = memory
        self.settings = settings
        self.mode = settings.mode
        self.model = settings.model
        self.unknown = unknown
        """Whether the conversation to resume was not found."""
        self.always: set[str] = set()
        """Tools a human has allowed for good, that is for the life of this process."""
        self.prompts: deque[Frame] = deque()
        """Also commands."""
        self.steers: deque[str] = deque()
        """What the running turn was told meanwhile and has not taken up."""
        self.answers: dict[str, Frame] = {}
        self.awaited: str | None = None
        """The request whose answer the running turn waits for."""
        self.in_turn = False
        self.interrupted = False
        self.deaf = False
        """Whether interrupts go unheard."""
        self.exit_code: int | None = None
        """Set when the agent is to leave after this turn."""

    def attend(self, timeout_s: float, others: Sequence[int] = ()) -> list[int]:
        """Wait as `Wire.listen` does, then act on everything heard; gives those of `others` that can be read."""
        ready = self.wire.listen(timeout_s, others)
        while (frame := self.wire.take()) is not None:
            self.hear(frame)
        return ready

    def remember(self, entry: Entry) -> None:
        """Keep `entry` here and tell it to the host, who may have to restore it elsewhere."""
        self.memory.add(entry)
        self.wire.say("transcript", entries=[entry])

    def change_mode(self, mode: str) -> None:
        """Take `mode` and say so; nothing when it is the mode already."""
        if mode != self.mode:
            self.mode = mode
            self.wire.say("mode", mode=mode)

    def copy(self, known: Memory) -> None:
        """Begin with what another conversation remembers, and tell the host."""
        self.memory.copy(known)
        self.wire.say("transcript", entries=self.memory.entries)

    def change_model(self, model: object) -> None:
        """Answer to this name; an empty one is the default."""
        self.model = str(model or DEFAULT_MODEL)

    def forget(self) -> None:
        """Begin another conversation, under another id, and tell the host."""
        turns, self.memory = self.memory.turns, self.memory.successor()
        # Told before anything is kept under the new name.
        self.wire.say("session", **self._about())
        self.remember({"type": "session", "session_id": self.memory.session_id, "turns": turns})

    def hear(self, frame: Frame) -> None:
        """Act on one frame of the host."""
        match frame.get("type"):
            case "user" | "command":
                self.prompts.append(frame)
            case "control_request":
                self._obey(frame)
            case "control_response":
                self._answer(frame)
            case "bad_frame":
                self._complain(str(frame.get("problem")))
            case other:
                self._complain(f"there is no frame type {other!r}")

    def _complain(self, problem: str) -> None:
        self.wire.say("error", code="bad_frame", message=f"a line on stdin was passed over: {problem}")

    def _answer(self, frame: Frame) -> None:
        ref = frame.get("request_id")
        response = frame.get("response")
        if ref is not None and ref == self.awaited:
            self.answers[ref] = response if isinstance(response, dict) else {}

    def _obey(self, frame: Frame) -> None:
        request = frame.get("request")
        wish: Frame = request if isinstance(request, dict) else {}
        match wish.get("subtype"):
            case "initialize":
                self._reply(frame, self._about())
            case "interrupt":
                self._interrupt(frame)
            case "steer":
                self._steer(frame, str(wish.get("text") or ""))
            case "set_mode":
                self._set_mode(frame, wish.get("mode"))
            case "set_model":
                self.change_model(wish.get("model"))
                self._reply(frame, {"model": self.model})
            case "end_session":
                self.exit_code = 0
                self._reply(frame, {})
            case other:
                self._refuse(frame, "unsupported", f"there is no request {other!r}")

    def _about(self) -> Frame:
        return {
            "session_id": self.memory.session_id,
            "resumed": self.memory.resumed,
            "version": VERSION,
            "model": self.model,
            "mode": self.mode,
        }

    def _interrupt(self, frame: Frame) -> None:
        if self.deaf and self.in_turn:
            return
        self.interrupted = self.in_turn
        self._reply(frame, {"interrupted": self.in_turn})

    def _steer(self, frame: Frame, text: str) -> None:
        if not self.in_turn:
            self._refuse(frame, "nothing_running", "no turn is running")
            return
        self.steers.append(text)
        self._reply(frame, {"steered": True})

    def _set_mode(self, frame: Frame, mode: object) -> None:
        if mode not in MODES:
            self._refuse(frame, "unknown_mode", f"there is no mode {mode!r}; known: {', '.join(MODES)}")
        elif mode == "bypass" and not self.settings.allow_bypass:
            self._refuse(frame, "bypass_not_allowed", "bypass needs an agent started with --allow-bypass")
        else:
            self._reply(frame, {"mode": mode})
            self.change_mode(str(mode))

    def _reply(self, frame: Frame, response: Frame) -> None:
        self.wire.say("control_response", request_id=frame.get("request_id"), ok=True, response=response)

    def _refuse(self, frame: Frame, code: str, message: str) -> None:
        error = {"code": code, "message": message}
        self.wire.say("control_response", request_id=frame.get("request_id"), ok=False, error=error)
