"""One conversation with one `codex app-server`: which message means what to the host.

A process holds one thread. A turn of ours is one of Codex's, or several: a plan, then what its judge made of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import assert_never

from shared.agents import jsonlines
from shared.agents.codex import asks, items, notices
from shared.agents.codex.outcome import Phase
from shared.agents.codex.rollout import Mirror
from shared.agents.codex.thread import Thread
from shared.agents.codex.turns import Turns
from shared.agents.codex.wishes import Asked, What
from shared.agents.driver import (
    Command,
    DialogueInput,
    ExitStatus,
    Interrupt,
    LaunchOptions,
    Leave,
    ModeNow,
    Output,
    Prompt,
    Reply,
    SetMode,
    SetModel,
    Steer,
)
from shared.agents.jsonrpc import (
    METHOD_NOT_FOUND,
    Failure,
    Malformed,
    Message,
    Notification,
    Peer,
    Request,
    Result,
    Stray,
)
from shared.agents.notices import EXCERPT_CHARS, notice
from shared.domain.ask import AskKind, PermissionAnswer, Verdict
from shared.domain.json import JsonObject
from shared.domain.session import Mode

_TOO_LARGE = "The request is too large to be shown to anybody. Use smaller steps."

_Told = Callable[[JsonObject], Sequence[Output]]


class CodexDialogue:
    """See `shared.agents.driver.Dialogue`."""

    def __init__(self, options: LaunchOptions) -> None:
        self._options = options
        self._peer: Peer[Asked] = Peer(versioned=False)
        self._content = items.Content()
        self._notices = notices.CodexNotices()
        self._asks = asks.OpenAsks(self._peer.result, self._content)
        mirror = Mirror(options.home)
        self._thread = Thread(options, self._peer, mirror)
        self._turns = Turns(self._peer, self._thread, self._content, self._asks, mirror)
        self._turns.mode = options.mode
        self._ended = False
        self._methods: Mapping[str, _Told] = {
            "account/rateLimits/updated": self._notices.rate_limit,
            "error": self._own(self._turns.error),
            "item/agentMessage/delta": self._pieces(self._content.text_delta),
            "item/commandExecution/outputDelta": self._content.output_delta,
            "item/completed": self._item_completed,
            "item/mcpToolCall/progress": self._content.output_delta,
            "item/reasoning/summaryTextDelta": self._pieces(self._content.thought_delta),
            "item/reasoning/textDelta": self._pieces(self._content.thought_delta),
            "item/started": self._item_started,
            "mcpServer/startupStatus/updated": notices.server_status,
            "model/rerouted": self._own(notices.rerouted),
            "serverRequest/resolved": self._resolved,
            "thread/tokenUsage/updated": self._own(self._turns.used),
            "turn/completed": self._own(self._turns.completed),
            "turn/diff/updated": self._own(self._turns.diff),
            "turn/plan/updated": self._own(items.todo_list),
            "turn/started": self._own(lambda params: self._turns.named(jsonlines.obj(params, "turn"))),
            **{method: partial(self._notices.warning, kind) for method, kind in notices.WARNINGS.items()},
        }

    # --- from the host

    def open(self) -> Sequence[Output]:
        """Introduce ourselves."""
        return self._thread.open()

    def send(self, said: DialogueInput) -> Sequence[Output]:
        """Translate one wish of the host."""
        return [] if self._ended else self._heed(said)

    def _heed(self, said: DialogueInput) -> Sequence[Output]:
        match said:
            case Prompt() | Command():
                return self._turns.prompt(said)
            case Steer():
                return self._turns.steer(said)
            case Reply():
                return self._reply(said)
            case Interrupt():
                return self._turns.interrupt()
            case SetMode():
                return self._set_mode(said.mode)
            case SetModel():
                return self._thread.choose(said.model)
            case Leave():
                # It ends when its stdin does.
                return []
            case _:
                assert_never(said)

    def _set_mode(self, mode: Mode) -> Sequence[Output]:
        if mode is Mode.BYPASS and not self._options.allow_bypass:
            refused = "This session may not bypass permissions."
            return [notice("mode_refused", message=refused), ModeNow(self._turns.mode)]
        # Each turn says its mode when it starts, so this is for the next one.
        self._turns.mode = mode
        return [ModeNow(mode)]

    def _reply(self, reply: Reply) -> Sequence[Output]:
        judged = self._turns.judged(reply, allow_bypass=self._options.allow_bypass)
        if judged is not None:
            return judged
        ask, answer = self._asks.find(reply.ref), reply.answer
        if ask is None:
            return []
        outputs: list[Output] = []
        denies = isinstance(answer, PermissionAnswer) and answer.decision is Verdict.DENY
        if isinstance(answer, PermissionAnswer) and denies and ask.kind is AskKind.PERMISSION:
            outputs += self._reason(ask, answer)
        outputs += self._asks.answered(reply.ref, answer)
        if isinstance(answer, PermissionAnswer) and denies and answer.stop:
            outputs += self._turns.denied()
        return outputs

    def _reason(self, ask: asks.Open, answer: PermissionAnswer) -> list[Output]:
        """Codex's denial has no words: they are said into the turn, before it, so that they are read with it."""
        running, message = self._turns.running, answer.message or ""
        self._content.deny(ask.item, f"{asks.DENIED} {message}" if message else "The user did not allow this.")
        is_own = ask.thread == self._thread.id
        if not message or answer.stop or not is_own or running is None or running.phase is not Phase.STARTED:
            return []
        return [self._turns.say_into(running, f"{asks.DENIED} {message}", Asked(What.REASON))]

    # --- from Codex

    def feed(self, line: str, *, dropped: int = 0) -> Sequence[Output]:
        """One line of Codex's stdout."""
        if self._ended:
            return []
        if dropped:
            excerpt = jsonlines.cut(line, EXCERPT_CHARS)
            told = notice("line_cut", dropped_bytes=dropped, excerpt=excerpt)
            return [told, *self._partly(line)]
        message = self._peer.read(line)
        if isinstance(message, Malformed):
            return [*self._notices.bad_line(line), *self._partly(line)]
        return self._take(message, line)

    def _partly(self, line: str) -> Sequence[Output]:
        """What can be made of a line whose end is missing or mangled: who speaks is known, and not what is said."""
        message = self._peer.read_cut(line)
        if isinstance(message, Request) and message.method in asks.METHODS:
            return self._asks.denied(message, _TOO_LARGE)
        return self._take(message, line)

    def _take(self, message: Message[Asked], line: str) -> Sequence[Output]:
        match message:
            case Request():
                return self._asked(message, line)
            case Notification(method=method, params=params):
                told = self._methods.get(method)
                if told is not None:
                    return told(params)
                return [] if method in notices.SILENT else self._notices.unknown(method, line)
            case Result(purpose=asked, value=value):
                return self._answered(asked, value)
            case Failure(purpose=asked):
                return self._refused(asked, message)
            case Stray() | Malformed():
                return []
            case _:
                assert_never(message)

    def _asked(self, request: Request, line: str) -> Sequence[Output]:
        if request.method in asks.METHODS:
            return self._asks.opened(request)
        told = self._notices.unknown(request.method, line)
        if request.method in asks.OLD_METHODS:
            return [self._peer.result(request.id, {"decision": "denied"}), *told]
        problem = f"Corral does not serve {jsonlines.cut(request.method, 80)!r}."
        return [self._peer.failure(request.id, METHOD_NOT_FOUND, problem), *told]

    def _resolved(self, params: JsonObject) -> Sequence[Output]:
        running = self._turns.running
        reason = "interrupted" if running is not None and running.interrupted else "withdrawn"
        return self._asks.resolved(params.get("requestId"), reason)

    # --- answers to our requests

    def _answered(self, asked: Asked, value: JsonObject) -> Sequence[Output]:
        match asked.what:
            case What.TURN:
                return self._turns.named(jsonlines.obj(value, "turn"), asked.serial)
            case What.STEER:
                return self._turns.steered(asked)
            case What.CLEAN | What.MIRROR | What.CLEAR:
                return self._turns.seen_to(asked, value)
            case What.INTERRUPT | What.REASON:
                return []
        return [*self._thread.answered(asked.what, value), *self._turns.go_on()]

    def _refused(self, asked: Asked, failure: Failure[Asked]) -> Sequence[Output]:
        match asked.what:
            case What.TURN:
                return self._turns.refused(asked.serial, failure.message)
            case What.STEER:
                return self._turns.not_steered(asked, failure.message)
            case What.CLEAR:
                return self._turns.not_seen_to(asked, failure.message)
            case What.CLEAN | What.MIRROR:
                return [self._failed(asked, failure), *self._turns.not_seen_to(asked, failure.message)]
            case What.REASON | What.MODELS:
                return [self._failed(asked, failure)]
            case What.INTERRUPT:
                # The turn has just ended by itself.
                return []
        return [*self._thread.refused(asked.what, failure), *self._turns.go_on()]

    def _failed(self, asked: Asked, failure: Failure[Asked]) -> Output:
        message = jsonlines.cut(failure.message, notices.MAX_MESSAGE_CHARS)
        return notice("request_failed", request=asked.what.value, message=message)

    # --- whose words these are

    def _parent(self, params: JsonObject) -> JsonObject | None:
        """What marks a subagent's words; empty for the agent's own, None for those of nobody known."""
        thread = jsonlines.text(params, "threadId")
        return {} if thread in ("", self._thread.id) else self._content.parent_of(thread)

    def _own(self, told: _Told) -> _Told:
        """For news of the agent's own thread alone."""
        return lambda params: told(params) if self._parent(params) == {} else []

    def _pieces(self, told: Callable[[JsonObject, JsonObject], Sequence[Output]]) -> _Told:
        def read(params: JsonObject) -> Sequence[Output]:
            parent = self._parent(params)
            return [] if parent is None else told(params, parent)

        return read

    def _item_started(self, params: JsonObject) -> Sequence[Output]:
        item, parent = jsonlines.obj(params, "item"), self._parent(params)
        emits = self._content.started(item, parent) if parent is not None else []
        return self._unknown_item(item) if emits is None else emits

    def _item_completed(self, params: JsonObject) -> Sequence[Output]:
        item, parent = jsonlines.obj(params, "item"), self._parent(params)
        if parent is None:
            return []
        passed = self._asks.passed(jsonlines.text(item, "id"))
        if not parent:
            self._hear(item)
        emits = self._content.completed(item, parent)
        return [*passed, *(self._unknown_item(item) if emits is None else emits)]

    def _hear(self, item: JsonObject) -> None:
        match jsonlines.text(item, "type"):
            case "plan":
                self._turns.proposed(item)
            case "agentMessage":
                self._turns.said(jsonlines.text(item, "text"))

    def _unknown_item(self, item: JsonObject) -> Sequence[Output]:
        return self._notices.unknown(f"item/{jsonlines.text(item, 'type')}", "")

    # --- the clock and the end

    def woke(self) -> Sequence[Output]:
        """What should have followed the turn's end did not come."""
        return self._turns.woke()

    def end(self, status: ExitStatus) -> Sequence[Output]:
        """The process is gone. Nothing more comes from this dialogue."""
        if self._ended:
            return []
        self._ended = True
        return self._turns.end(status)
