"""One conversation with one agent over ACP: which frame means what to the host, and when a turn is over.

A turn is one `session/prompt` request; its answer ends it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import assert_never

from shared.agents import jsonlines
from shared.agents.acp import outcome
from shared.agents.acp.asks import OpenAsks
from shared.agents.acp.flavour import Flavour
from shared.agents.acp.notices import notice
from shared.agents.acp.opening import Opening
from shared.agents.acp.permissions import Permission
from shared.agents.acp.requests import FORM, PERMISSION, TOO_LARGE, Heard, Requests, Standing
from shared.agents.acp.speech import Speech
from shared.agents.acp.todos import plan_update
from shared.agents.acp.tools import Tools
from shared.agents.acp.wishes import AcpPeer, ChangeMode, ChangeModel, Open, Turn, Wish
from shared.agents.driver import (
    Command,
    DialogueInput,
    Emit,
    ExitStatus,
    Interrupt,
    LaunchOptions,
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
    SteerRefused,
    TurnEnd,
)
from shared.agents.jsonrpc import (
    INVALID_PARAMS,
    Failure,
    Malformed,
    Notification,
    Peer,
    Request,
    Result,
    Stray,
)
from shared.agents.notices import Notices
from shared.domain.ask import PermissionAnswer, PlanAnswer, Verdict
from shared.domain.event import EventType
from shared.domain.ids import TurnId
from shared.domain.json import JsonObject
from shared.domain.session import Mode
from shared.domain.turn import TurnStatus

_NO_STEERING = "The protocol has no words for it."
_SILENT = frozenset({"available_commands_update", "session_info_update", "user_message_chunk"})
"""Updates that concern an editor alone, or repeat what was said to the agent."""


class AcpDialogue:
    """See `shared.agents.driver.Dialogue`."""

    def __init__(self, options: LaunchOptions, flavour: Flavour) -> None:
        self._options = options
        self._peer: AcpPeer = Peer(versioned=True)
        self._opening = Opening(options, flavour, self._peer)
        self._asks = OpenAsks(self._peer)
        self._speech = Speech(options.session)
        self._tools = Tools()
        self._notices = Notices()
        heard, standing = Heard(self._speech, self._tools, self._notices), Standing(self._gives, self._is_stopped)
        self._requests = Requests(flavour.extras(), self._peer, self._asks, heard, standing)
        self._meter = outcome.Meter(None if options.agent_session_id else 0.0)
        self._mode = self._given = options.mode
        self._running: outcome.Running | None = None
        self._turns = 0
        self._is_ready = False
        self._ended = False
        self._updates: Mapping[str, Callable[[JsonObject], Sequence[Output]]] = {
            "agent_message_chunk": self._speech.chunk,
            "agent_thought_chunk": self._speech.thought,
            "tool_call": self._tool,
            "tool_call_update": self._tool,
            "plan": lambda update: [plan_update(jsonlines.objects(update, "entries"))],
            "usage_update": self._used,
        }

    # --- from the host

    def open(self) -> Sequence[Output]:
        """Introduce ourselves to the agent."""
        return [self._opening.begin()]

    def send(self, said: DialogueInput) -> Sequence[Output]:
        """Translate one wish of the host."""
        if self._ended:
            return []
        match said:
            case Prompt(turn=turn, text=text):
                return self._begin(turn, text)
            case Command(turn=turn, name=name, args=args):
                return self._begin(turn, f"/{name} {args}".rstrip())
            case Steer(turn=turn):
                return [SteerRefused(turn, _NO_STEERING)]
            case _:
                return self._obey(said)

    def _obey(self, said: Reply | Interrupt | SetMode | SetModel | Leave) -> Sequence[Output]:
        match said:
            case Reply():
                return self._reply(said)
            case Interrupt():
                return self._interrupt()
            case SetMode():
                return self._set_mode(said.mode)
            case SetModel():
                return self._set_model(said.model)
            case Leave():
                # Closing its stdin is all an ACP agent needs to leave.
                return []
            case _:
                assert_never(said)

    def _begin(self, turn: TurnId, text: str) -> Sequence[Output]:
        outputs: list[Output] = []
        if self._running is not None:
            outputs += self._over(outcome.failed("Another prompt came before this one had ended."))
        self._turns += 1
        self._running = outcome.Running(text, self._turns)
        outputs += self._speech.begin(turn)
        self._meter.begin()
        return [*outputs, *self._go_on()]

    def _go_on(self) -> list[Output]:
        """Say the prompt that waits, once there is a conversation; end it where there will be none."""
        running, opening = self._running, self._opening
        if running is None or running.is_sent:
            return []
        if opening.problem:
            return self._over(outcome.failed(opening.problem))
        if not opening.is_open:
            return []
        running.is_sent = True
        block: JsonObject = {"type": "text", "text": running.text}
        params: JsonObject = {"sessionId": opening.session_id, "prompt": [block]}
        return [self._peer.request("session/prompt", params, Turn(running.number))]

    def _reply(self, reply: Reply) -> Sequence[Output]:
        answer = reply.answer
        outputs = self._asks.answered(reply.ref, answer)
        if not outputs:
            return []
        match answer:
            case PermissionAnswer(decision=Verdict.DENY, stop=True) if self._running is not None:
                self._running.denied = True
                return [*outputs, self._cancel()]
            case PlanAnswer(approve=True, next_mode=Mode() as mode):
                return [*outputs, *self._set_mode(mode)]
        return outputs

    def _interrupt(self) -> Sequence[Output]:
        running = self._running
        if running is None:
            return []
        running.interrupted = True
        if not running.is_sent:
            return self._over(outcome.ended(running, {}, None))
        return [self._cancel(), *self._asks.all_cancelled("interrupted")]

    def _cancel(self) -> Send:
        return self._peer.notify("session/cancel", {"sessionId": self._opening.session_id})

    def _set_mode(self, mode: Mode) -> Sequence[Output]:
        opening = self._opening
        if not opening.is_open:
            return [notice("mode_refused", message="The agent is not ready."), ModeNow(self._mode)]
        theirs = opening.theirs_for(mode)
        if theirs is None or (mode is Mode.BYPASS and not self._options.allow_bypass):
            message = f"The agent offers nothing for the mode {mode.value}."
            return [notice("mode_refused", message=message), ModeNow(self._mode)]
        if theirs == opening.selectors.mode.current:
            self._mode = self._given = mode
            return [ModeNow(mode)]
        return [opening.choose_mode(mode, theirs)]

    def _set_model(self, model: str | None) -> Sequence[Output]:
        opening = self._opening
        wished = model or opening.selectors.model.initial
        if not opening.is_open or not opening.selectors.model.is_offered or not wished:
            return [notice("request_failed", request="model", message="The agent offers no choice of models.")]
        return [opening.choose_model(wished)]

    # --- from the agent

    def feed(self, line: str, *, dropped: int = 0) -> Sequence[Output]:
        """One line of the agent's stdout."""
        if self._ended:
            return []
        if dropped:
            return self._cut_line(line, dropped)
        return self._read(line)

    def _read(self, line: str) -> Sequence[Output]:
        match self._peer.read(line):
            case Notification(method="session/update", params=params):
                return self._update(params, line)
            case Notification() as notification:
                return self._requests.told(notification, line)
            case Request() as request:
                return self._requests.asked(request, line)
            case Result(purpose=wish, value=value):
                return self._answered(wish, value)
            case Failure() as failure:
                return self._failed(failure)
            case Stray():
                return self._notices.unknown("stray answer", line)
            case Malformed():
                return self._notices.bad_line(line)

    def _cut_line(self, line: str, dropped: int) -> Sequence[Output]:
        told = notice("line_cut", dropped_bytes=dropped, excerpt=jsonlines.cut(line, 200))
        match self._peer.read_cut(line):
            case Request(id=name):
                # Nobody can be shown what it wants, and it must not wait for ever.
                refusal = self._peer.failure(name, INVALID_PARAMS, TOO_LARGE)
                return [told, refusal, notice("ask_denied", message=TOO_LARGE)]
            case Result(purpose=wish):
                return [told, *self._answered(wish, {})]
            case Failure() as failure:
                return [told, *self._failed(failure)]
            case Notification(method=method) if method in (PERMISSION, FORM) and self._running is not None:
                # Its id stood behind what was cut: stopping the turn is all that is left.
                self._running.denied = True
                return [told, self._cancel(), notice("ask_denied", message=TOO_LARGE)]
        return [told]

    def _update(self, params: JsonObject, line: str) -> Sequence[Output]:
        update = jsonlines.obj(params, "update")
        kind = jsonlines.text(update, "sessionUpdate")
        match kind:
            case "config_option_update":
                self._opening.selectors.read_options(update)
                return self._moved(self._opening.selectors.mode.current)
            case "current_mode_update":
                self._opening.selectors.mode.current = jsonlines.text(update, "currentModeId")
                return self._moved(self._opening.selectors.mode.current)
        if self._opening.is_replaying or kind in _SILENT:
            return []
        read = self._updates.get(kind)
        return read(update) if read is not None else self._notices.unknown(f"session/update/{kind}", line)

    def _moved(self, theirs: str) -> Sequence[Output]:
        """The agent is in this mode of its own now. Two of ours may be one of its."""
        mode = self._opening.selectors.our_mode(theirs)
        if not self._is_ready or mode is None or self._opening.theirs_for(self._mode) == theirs:
            return []
        # What the agent allows itself is its own doing; nobody has asked the driver to give it more.
        self._mode, self._given = mode, Mode.INTERACTIVE
        return [ModeNow(mode)]

    def _tool(self, update: JsonObject) -> Sequence[Output]:
        emits = self._tools.frame(update, stopped=self._is_stopped())
        return [*self._speech.ended(), *emits] if emits else []

    def _used(self, update: JsonObject) -> Sequence[Output]:
        self._meter.told(update)
        running, limit, spent = self._running, self._options.max_turn_cost_usd, self._meter.spent_usd
        if running is None or limit is None or spent is None or spent < limit or running.over_cost:
            return []
        running.over_cost = True
        return [self._cancel()]

    def _gives(self, permission: Permission) -> bool:
        """Whether the mode gives this permission, in place of an agent that has no such mode."""
        if permission.call.kind == "switch_mode":
            return False
        if self._given is Mode.BYPASS:
            return self._options.allow_bypass
        return self._given is Mode.ACCEPT_EDITS and permission.edits_within(self._options.cwd)

    def _is_stopped(self) -> bool:
        return self._running is not None and self._running.why_stopped() is not None

    # --- answers to our requests

    def _answered(self, wish: Wish, result: JsonObject) -> Sequence[Output]:
        match wish:
            case Turn(number=number):
                running = self._running
                if running is None or running.number != number:
                    return []
                return self._over(outcome.ended(running, result, self._meter.spent_usd))
            case Open():
                return self._settled(self._opening.answered(wish, result))
            case ChangeMode() | ChangeModel():
                self._opening.chosen(wish, result)
                if not self._is_ready:
                    return self._settled(self._opening.answered(wish, result))
                return self._changed(wish)
            case _:
                assert_never(wish)

    def _failed(self, failure: Failure[Wish]) -> Sequence[Output]:
        wish = failure.purpose
        match wish:
            case Turn(number=number):
                running = self._running
                if running is None or running.number != number:
                    return []
                return self._over(outcome.refused(running, failure, self._meter.spent_usd))
            case ChangeMode() if self._is_ready:
                return [notice("mode_refused", message=failure.message), ModeNow(self._mode)]
            case ChangeModel() if self._is_ready:
                return [notice("request_failed", request="model", message=failure.message)]
            case _:
                return self._settled(self._opening.failed(wish, failure))

    def _changed(self, wish: ChangeMode | ChangeModel) -> Sequence[Output]:
        if isinstance(wish, ChangeModel):
            return []
        self._mode = self._given = wish.mode
        return [ModeNow(wish.mode)]

    def _settled(self, outputs: Sequence[Output]) -> Sequence[Output]:
        """A step of the opening is done; perhaps it was the last."""
        opening = self._opening
        if opening.is_unknown:
            # This may come before any prompt: the host learns from it that a resume is in vain.
            self._running = None
            return [*outputs, outcome.failed(opening.problem, reason=outcome.UNKNOWN_CONVERSATION)]
        if self._is_ready or not (opening.is_open or opening.problem):
            return outputs
        self._is_ready = True
        ready = Ready(opening.session_id or None, opening.selectors.model.current or None, opening.version)
        return [*outputs, ready, *self._go_on()]

    # --- the end

    def _over(self, end: TurnEnd) -> list[Output]:
        """The running turn is over: end what is open in it before it ends."""
        self._running = None
        outputs: list[Output] = [*self._asks.all_cancelled("turn_ended"), *self._speech.ended()]
        outputs += self._tools.abandoned()
        if end.usage is not None:
            outputs.append(Emit(EventType.USAGE, outcome.usage_event(end.usage, end.cost_usd)))
        said = self._speech.last if end.status is TurnStatus.COMPLETED else ""
        return [*outputs, replace(end, result_text=said or None)]

    def woke(self) -> Sequence[Output]:
        """It is never asked for."""
        return []

    def end(self, status: ExitStatus) -> Sequence[Output]:
        """The process is gone. Nothing more comes from this dialogue."""
        if self._ended:
            return []
        running, self._ended = self._running, True
        outputs: list[Output] = [*self._asks.all_lost("agent_exited"), *self._speech.ended(), *self._tools.abandoned()]
        if running is not None:
            outputs.append(outcome.exited(running, status, self._meter.spent_usd))
        return outputs
