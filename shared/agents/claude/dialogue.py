"""One conversation with one `claude` process: which frame means what to the host, and when a turn is over.

A turn ends with `session_state_changed idle` after its own `result`: a result alone is not the end,
since finished background tasks make the agent go on unprompted.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import assert_never

from shared.agents.claude import frames, notices, outcome
from shared.agents.claude.asks import OpenAsks, unreadable
from shared.agents.claude.content import Content, results
from shared.agents.claude.modes import CLAUDE_MODES, ModeWatch
from shared.agents.claude.requests import Requests
from shared.agents.claude.transcript import mirrored
from shared.agents.driver import (
    Command,
    DialogueInput,
    Emit,
    ExitStatus,
    Interrupt,
    LaunchOptions,
    Leave,
    Output,
    Prompt,
    Ready,
    Reply,
    Send,
    SetMode,
    SetModel,
    Steer,
    SteerRefused,
    Transcript,
    TurnEnd,
    WakeIn,
)
from shared.agents.notices import EXCERPT_CHARS, Notices, notice
from shared.domain.ask import PermissionAnswer, Verdict
from shared.domain.event import EventType
from shared.domain.json import JsonObject
from shared.domain.session import Mode
from shared.domain.turn import TurnStatus, command_text

IDLE_GRACE_S = 5.0
"""After a result without `idle` the turn ends anyway; the two are 4 to 80 ms apart in 2.1.329."""
MAX_TRIES = 3
_PROMPTS = uuid.UUID("0f6a7a4e-51a8-4d0a-8f59-6d1f5b1f4c6e")

_Informing = Callable[[JsonObject], Sequence[Output]]
_INFORMING: Mapping[str, _Informing] = {
    "api_retry": notices.retrying,
    "compact_boundary": notices.compacted,
    "informational": notices.informational,
    "mirror_error": notices.mirror_error,
    "permission_denied": notices.permission_denied,
    "task_started": notices.task_started,
    "task_notification": notices.task_ended,
}
"""System frames that change nothing here."""


class ClaudeDialogue:
    """See `shared.agents.driver.Dialogue`."""

    def __init__(self, options: LaunchOptions, conversation: str) -> None:
        self._options = options
        self._conversation = conversation
        self._asks = OpenAsks(allow_bypass=options.allow_bypass)
        self._content = Content()
        self._notices = Notices()
        # A resumed conversation goes on counting where it was, which nobody has told us.
        self._meter = outcome.Meter(None if options.agent_session_id else 0.0)
        self._running: outcome.Running | None = None
        self._state = "idle"
        self._modes = ModeWatch(options.mode)
        self._version: str | None = None
        self._model: str | None = options.model
        self._ready = False
        self._ended = False
        self._stale = False
        self._requests = Requests()
        self._request = self._requests.make
        self._frames: Mapping[str, Callable[[JsonObject], Sequence[Output]]] = {
            "assistant": self._content.assistant,
            "command_lifecycle": self._lifecycle,
            "control_cancel_request": self._cancelled,
            "control_request": self._asked,
            "control_response": self._answered,
            "conversation_reset": notices.conversation_reset,
            "rate_limit_event": notices.rate_limit,
            "result": self._result,
            "stream_event": self._content.streamed,
            "transcript_mirror": self._mirror,
            "user": self._user,
        }
        self._systems: Mapping[str, Callable[[JsonObject], Sequence[Output]]] = {
            **_INFORMING,
            "init": self._init,
            "session_state_changed": self._state_changed,
            "status": self._status,
        }

    # --- from the host

    def open(self) -> Sequence[Output]:
        """Ask the agent to introduce itself."""
        return [self._request("initialize")]

    def send(self, said: DialogueInput) -> Sequence[Output]:
        """Translate one wish of the host."""
        match said:
            case Prompt():
                return self._prompt(said)
            case Command():
                return self._command(said)
            case Steer():
                return [SteerRefused(said.turn, "Claude Code takes no message into a running turn.")]
            case Reply():
                return self._reply(said)
            case Interrupt():
                return self._interrupt()
            case SetMode() | SetModel() | Leave():
                return [self._wished(said)]
            case _:
                assert_never(said)

    def _wished(self, wish: SetMode | SetModel | Leave) -> Send:
        match wish:
            case SetMode():
                self._modes.asked()
                return self._request("set_permission_mode", mode=CLAUDE_MODES[wish.mode])
            case SetModel():
                self._model = wish.model
                return self._request("set_model", model=wish.model)
            case Leave():
                return self._request("end_session")
            case _:
                assert_never(wish)

    def _prompt(self, prompt: Prompt) -> Sequence[Output]:
        outputs: list[Output] = []
        if self._running is not None:
            outputs.append(TurnEnd(TurnStatus.FAILED, "error", error="Another prompt came before this one had ended."))
        self._running = outcome.Running(prompt)
        if self._options.max_turn_cost_usd is not None and self._meter.total_usd is None:
            outputs.append(self._request("get_usage", skip_behaviors=True))
        return [*outputs, self._prompted(self._running)]

    def _command(self, command: Command) -> Sequence[Output]:
        if command.name != "plan":
            return self._prompt(Prompt(command.turn, command_text(command.name, command.args)))
        # In this protocol it has no `/plan`: "isn't available in this environment" (2.1.329).
        self._running = outcome.Running(Prompt(command.turn, command.args))
        self._modes.asked()
        return [self._request("set_permission_mode", purpose="plan", mode=CLAUDE_MODES[Mode.PLAN])]

    def _prompted(self, running: outcome.Running) -> Send:
        """Say the prompt under a name of its own: a prompt whose uuid stands in the transcript is skipped, and
        the turn of a lost worker is prompted again. What is known of the conversation tells the two apart.
        """
        running.tries += 1
        known = len(self._options.transcript)
        running.uuid = str(uuid.uuid5(_PROMPTS, f"{running.prompt.turn}/{known}/{running.tries}"))
        return frames.user(running.prompt.text, running.uuid)

    def _reply(self, reply: Reply) -> Sequence[Output]:
        answer = reply.answer
        outputs = self._asks.answered(reply.ref, answer)
        stops = isinstance(answer, PermissionAnswer) and answer.decision is Verdict.DENY and answer.stop
        if outputs and stops and self._running is not None:
            self._running.denied = True
        return outputs

    def _interrupt(self) -> Sequence[Output]:
        if self._running is not None:
            self._running.interrupted = True
        elif self._state == "idle":
            return []
        # A prompt the agent has not taken up yet would outlive a plain interrupt.
        return [self._request("interrupt", cancel_queued=True)]

    # --- from the agent

    def feed(self, line: str, *, dropped: int = 0) -> Sequence[Output]:
        """One line of the agent's stdout."""
        if self._ended:
            return []
        if dropped:
            return self._cut_line(line, dropped)
        frame = frames.parse(line)
        if frame is None:
            return [*unreadable(line), *self._notices.bad_line(line)]
        kind = frames.text(frame, "type")
        known = self._frames
        if kind == "system":
            kind, known = frames.text(frame, "subtype"), self._systems
        read = known.get(kind)
        if read is not None:
            return read(frame)
        return [] if kind in notices.SILENT else self._notices.unknown(kind, line)

    def _cut_line(self, line: str, dropped: int) -> Sequence[Output]:
        told = notice("line_cut", dropped_bytes=dropped, excerpt=frames.cut(line, EXCERPT_CHARS))
        return [*unreadable(line), told]

    def _user(self, frame: JsonObject) -> Sequence[Output]:
        passed = [output for block in results(frame) for output in self._asks.passed(frames.text(block, "tool_use_id"))]
        outputs: list[Output] = [*passed, *self._content.user(frame)]
        if outputs and self._watches_cost() and not self._requests.are_waiting_for("get_usage"):
            outputs.append(self._request("get_usage", skip_behaviors=True))
        return outputs

    def _mirror(self, frame: JsonObject) -> Sequence[Output]:
        entries = mirrored(frame)
        return [Transcript(entries)] if entries else []

    def _asked(self, frame: JsonObject) -> Sequence[Output]:
        ref, request = frames.text(frame, "request_id"), frames.obj(frame, "request")
        subtype = frames.text(request, "subtype")
        if subtype == "can_use_tool":
            plan = self._content.plan_of(frames.text(request, "tool_use_id"))
            return self._asks.opened(ref, request, plan=plan)
        if not ref:
            return self._notices.unknown("control_request", subtype)
        refusal = frames.refusal(ref, f"Corral does not serve {frames.cut(subtype, 80)!r} requests.")
        return [refusal, *self._notices.unknown(f"control_request/{subtype}", subtype)]

    def _cancelled(self, frame: JsonObject) -> Sequence[Output]:
        reason = "interrupted" if self._running is not None and self._running.interrupted else "withdrawn"
        return self._asks.withdrawn(frames.text(frame, "request_id"), reason)

    # --- answers to our requests

    def _answered(self, frame: JsonObject) -> Sequence[Output]:
        response = frames.obj(frame, "response")
        subtype = self._requests.answered(response)
        failed = frames.text(response, "subtype") == "error"
        body = frames.obj(response, "response")
        match subtype:
            case "initialize" if not failed:
                return self._introduced(body)
            case "set_permission_mode":
                return self._modes.answered(body, failed=failed, problem=frames.text(response, "error"))
            case "plan":
                return self._planning(body, failed=failed, problem=frames.text(response, "error"))
            case "get_usage" if not failed:
                return self._cost_told(frames.number(frames.obj(body, "session"), "total_cost_usd"))
        if not failed or not subtype:
            return []
        problem = frames.cut(frames.text(response, "error"), 2000)
        return [notice("request_failed", request=subtype, message=problem)]

    def _introduced(self, body: JsonObject) -> Sequence[Output]:
        self._ready = True
        self._version = frames.text(body, "claude_code_version") or None
        offered = {frames.text(model, "value"): model for model in frames.objects(body, "models")}
        chosen = offered.get(self._model or "default", {})
        self._model = frames.text(chosen, "resolvedModel") or self._model
        return [self._introduction(), *self._modes.now(frames.text(body, "current_permission_mode"))]

    def _introduction(self) -> Ready:
        return Ready(self._conversation, self._model, self._version)

    def _planning(self, body: JsonObject, *, failed: bool, problem: str) -> Sequence[Output]:
        """The command `plan` was carried out: what stands behind it is the prompt in the new mode."""
        outputs, running = self._modes.answered(body, failed=failed, problem=problem), self._running
        if running is None or running.uuid:
            return outputs
        if running.prompt.text and not (failed or running.interrupted):
            return [*outputs, self._prompted(running)]
        running.fate = "" if failed or running.interrupted else "completed"
        return [*outputs, *self._end(running)]

    # --- the course of a turn

    def _init(self, frame: JsonObject) -> Sequence[Output]:
        outputs: list[Output] = []
        conversation = frames.text(frame, "session_id")
        if conversation and conversation != self._conversation:
            self._conversation = conversation
            self._model = frames.text(frame, "model") or self._model
            outputs.append(self._introduction())
        return [*outputs, *self._modes.now(frames.text(frame, "permissionMode")), *self._goes_on()]

    def _status(self, frame: JsonObject) -> Sequence[Output]:
        outputs = [*self._modes.now(frames.text(frame, "permissionMode"))]
        result = frames.text(frame, "compact_result")
        if frames.text(frame, "status") == "compacting":
            outputs.append(notice("compacting"))
        elif result and result != "success":
            outputs.append(notice("compact_failed", message=frames.cut(result, 2000)))
        return outputs

    def _goes_on(self) -> Sequence[Output]:
        """The agent works on after the result of our prompt, so its idle is still to come."""
        return [WakeIn(None)] if self._running is not None and self._running.result is not None else []

    def _lifecycle(self, frame: JsonObject) -> Sequence[Output]:
        running, state = self._running, frames.text(frame, "state")
        if running is None or frames.text(frame, "command_uuid") != running.uuid:
            return []
        if state in ("completed", "cancelled"):
            running.fate = state
            return []
        running.taken_up = True
        # An interrupt that came while the prompt was neither queued nor running has hit nothing.
        return self._interrupt() if state == "started" and running.interrupted else []

    def _state_changed(self, frame: JsonObject) -> Sequence[Output]:
        self._state = frames.text(frame, "state")
        if self._state != "idle":
            return self._goes_on()
        running = self._running
        if running is None or (running.result is None and not running.fate):
            return []
        if running.was_skipped and running.tries < MAX_TRIES:
            running.fate = ""
            return [self._prompted(running)]
        return self._end(running)

    def _result(self, frame: JsonObject) -> Sequence[Output]:
        if any(outcome.NO_CONVERSATION in error for error in frames.strings(frame, "errors")):
            return self._unknown_conversation("\n".join(frames.strings(frame, "errors")))
        outputs: list[Output] = [Emit(EventType.USAGE, self._meter.add(frame))]
        running = self._running
        if running is not None and running.result is None and running.owns(frame):
            running.result = frame
        if running is not None and running.result is not None:
            outputs.append(WakeIn(IDLE_GRACE_S))
        return outputs

    def _end(self, running: outcome.Running) -> Sequence[Output]:
        self._running = None
        wake = [WakeIn(None)] if running.result is not None else []
        return [*wake, *self._content.abandoned(), outcome.ended(running, self._meter)]

    def _unknown_conversation(self, message: str) -> Sequence[Output]:
        # This may come before any prompt: the host learns from it that a resume is in vain.
        if self._stale:
            return []
        self._running, self._stale = None, True
        return [outcome.unknown_conversation(message)]

    # --- the cost of a turn

    def _watches_cost(self) -> bool:
        return self._options.max_turn_cost_usd is not None and self._running is not None

    def _cost_told(self, total_usd: float | None) -> Sequence[Output]:
        """`--max-budget-usd` counts the whole process, so a turn's own limit is watched from here."""
        running, limit = self._running, self._options.max_turn_cost_usd
        if running is None or limit is None or total_usd is None:
            return []
        if self._meter.total_usd is None:
            self._meter.total_usd = total_usd
        if running.over_cost or total_usd - self._meter.total_usd < limit:
            return []
        running.over_cost = True
        return [self._request("interrupt", cancel_queued=True)]

    # --- the clock and the end

    def woke(self) -> Sequence[Output]:
        """The idle that should have followed a result did not come."""
        running = self._running
        return [] if running is None or running.result is None else self._end(running)

    def end(self, status: ExitStatus) -> Sequence[Output]:
        """The process is gone. Nothing more comes from this dialogue."""
        if self._ended:
            return []
        self._ended = True
        outputs: list[Output] = [*self._asks.all_withdrawn("agent_exited"), *self._content.abandoned(everything=True)]
        running = self._running
        if not self._ready and outcome.NO_CONVERSATION in status.stderr_tail:
            return [*outputs, *self._unknown_conversation(status.stderr_tail)]
        if running is None:
            return outputs
        if running.result is not None or running.fate:
            return [*outputs, *self._end(running)]
        self._running = None
        return [*outputs, outcome.exited(running, self._meter, status)]
