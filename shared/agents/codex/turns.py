"""The turn that runs: from its prompt to its one end."""

from __future__ import annotations

from dataclasses import replace

from shared.agents import jsonlines
from shared.agents.codex import notices, outcome, plans
from shared.agents.codex.asks import OpenAsks
from shared.agents.codex.items import Content
from shared.agents.codex.modes import turn_settings
from shared.agents.codex.outcome import Meter, Phase, Running
from shared.agents.codex.rollout import Mirror
from shared.agents.codex.thread import Thread
from shared.agents.codex.wishes import Asked, What
from shared.agents.driver import (
    AskApplied,
    AskOpen,
    AskWithdrawn,
    Command,
    Emit,
    ExitStatus,
    ModeNow,
    Output,
    Prompt,
    Reply,
    Send,
    Steer,
    Steered,
    SteerRefused,
    Transcript,
    TurnEnd,
    WakeIn,
)
from shared.agents.jsonrpc import Peer
from shared.agents.notices import EXCERPT_CHARS, notice
from shared.domain.ask import AskKind
from shared.domain.event import EventType
from shared.domain.ids import TurnId
from shared.domain.json import JsonObject
from shared.domain.session import Mode
from shared.domain.turn import TurnStatus

CLOSING_S = 10.0
"""How long a finished turn waits for what is seen to behind it; some milliseconds are usual."""
MAX_STEERS = 64
MAX_PLAN_CHARS = 1024 * 1024
MAX_DIFF_CHARS = 1024 * 1024


class Turns:
    """One turn at a time. Whatever Codex says or leaves unsaid, each prompt gets one end."""

    def __init__(self, peer: Peer[Asked], thread: Thread, content: Content, asks: OpenAsks, mirror: Mirror) -> None:
        self._peer = peer
        self._thread = thread
        self._content = content
        self._asks = asks
        self._mirror = mirror
        self._meter = Meter()
        self._serial = 0
        self._plan = ("", "")
        """Name and text of the plan that this turn of Codex has proposed."""
        self._steers: dict[TurnId, None] = {}
        """Texts on their way into the turn."""
        self.mode = Mode.INTERACTIVE
        self.running: Running | None = None

    # --- it begins

    def prompt(self, prompt: Prompt | Command) -> list[Output]:
        """A new turn; it waits where Codex is not up yet."""
        outputs: list[Output] = []
        if self.running is not None:
            outputs += self._dropped("Another prompt came before this one had ended.")
        self.running = Running(prompt)
        self._meter.begin()
        return outputs + self.go_on()

    def go_on(self) -> list[Output]:
        """Start the turn that waited for Codex to come up."""
        running = self.running
        if running is None or running.phase is not Phase.WAITING or not self._thread.is_ready:
            return []
        if self._thread.broken is not None:
            self.running = None
            return [self._thread.broken]
        if isinstance(running.prompt, Command):
            return self._command(running, running.prompt)
        return [self._start(running, running.prompt.text)]

    def _command(self, running: Running, command: Command) -> list[Output]:
        match command.name:
            case "compact":
                self._begin(running)
                params: JsonObject = {"threadId": self._thread.id}
                return [self._peer.request("thread/compact/start", params, self._asked(What.TURN))]
            case "clear":
                self._begin(running)
                running.phase, running.end = Phase.CLOSING, TurnEnd(TurnStatus.COMPLETED, "end_turn")
                running.awaited.add(What.CLEAR)
                return [self._thread.clear(self._asked(What.CLEAR)), WakeIn(CLOSING_S)]
            case "plan":
                self.mode = Mode.PLAN
                if command.args:
                    return [ModeNow(Mode.PLAN), self._start(running, command.args)]
                self.running = None
                return [ModeNow(Mode.PLAN), TurnEnd(TurnStatus.COMPLETED, "end_turn")]
            case name:
                self.running = None
                return [outcome.failed({"message": f"Codex has no command {jsonlines.cut(name, 80)}."})]

    def _begin(self, running: Running) -> None:
        running.phase, running.turn_id = Phase.STARTED, ""
        self._serial += 1
        self._plan = ("", "")

    def _start(self, running: Running, text: str) -> Send:
        self._begin(running)
        settings = turn_settings(self.mode, model=self._thread.model, effort=self._thread.effort)
        params: JsonObject = {"threadId": self._thread.id, "input": [text_input(text)], **settings}
        return self._peer.request("turn/start", params, self._asked(What.TURN))

    def named(self, turn: JsonObject, serial: int | None = None) -> list[Output]:
        """Codex names its turn, in its answer (of which `serial` says to what) or as news."""
        running, name = self.running, jsonlines.text(turn, "id")
        if running is None or running.phase is not Phase.STARTED or serial not in (None, self._serial):
            return []
        is_news = running.turn_id != name and (serial is not None or not running.turn_id)
        if not name or not is_news:
            return []
        running.turn_id = name
        return [self._stop(running)] if running.interrupted else []

    def refused(self, serial: int, message: str) -> list[Output]:
        """Codex does not take the prompt."""
        running = self.running
        if running is None or running.phase is not Phase.STARTED or serial != self._serial:
            return []
        return self._close(running, outcome.failed({"message": message}))

    # --- it is steered

    def steer(self, steer: Steer) -> list[Output]:
        """Say a text into the running turn, if there is one that can take it now."""
        running = self.running
        if running is None or running.phase is not Phase.STARTED or not running.turn_id or running.interrupted:
            return [SteerRefused(steer.turn, "Codex does not take a message at this moment.")]
        if len(self._steers) >= MAX_STEERS:
            return [SteerRefused(steer.turn, f"{MAX_STEERS} messages are on their way already.")]
        self._steers[steer.turn] = None
        return [self.say_into(running, steer.text, Asked(What.STEER, self._serial, steer.turn))]

    def say_into(self, running: Running, text: str, asked: Asked) -> Send:
        """Say a text into the running turn."""
        said: JsonObject = {"threadId": self._thread.id, "expectedTurnId": running.turn_id, "input": [text_input(text)]}
        return self._peer.request("turn/steer", said, asked)

    def steered(self, asked: Asked) -> list[Output]:
        """Codex has taken it."""
        return [Steered(asked.turn)] if asked.turn is not None and self._is_awaited(asked.turn) else []

    def not_steered(self, asked: Asked, message: str) -> list[Output]:
        """Codex has not."""
        why = jsonlines.cut(message, notices.MAX_MESSAGE_CHARS)
        return [SteerRefused(asked.turn, why)] if asked.turn is not None and self._is_awaited(asked.turn) else []

    def _is_awaited(self, turn: TurnId) -> bool:
        is_awaited = turn in self._steers
        self._steers.pop(turn, None)
        return is_awaited

    def _unsteered(self) -> list[Output]:
        turns = list(self._steers)
        self._steers.clear()
        return [SteerRefused(turn, "The turn ended first.") for turn in turns]

    # --- it is stopped

    def interrupt(self) -> list[Output]:
        """Stop it; harmless when nothing runs."""
        running = self.running
        if running is None or running.phase is Phase.CLOSING:
            return []
        running.interrupted = True
        if running.phase is Phase.STARTED:
            return [self._stop(running)] if running.turn_id else []
        end = TurnEnd(TurnStatus.CANCELLED, "interrupted")
        if running.phase is Phase.PLANNED:
            return [AskWithdrawn(running.plan_ref, "interrupted"), *self._close(running, end)]
        self.running = None
        return [end]

    def denied(self) -> list[Output]:
        """A human denied something and asked to stop. The turn is stopped where the denial does not do it."""
        running = self.running
        if running is None or running.phase is not Phase.STARTED:
            return []
        running.denied = True
        return [self._stop(running)] if running.turn_id else []

    def _stop(self, running: Running) -> Send:
        params: JsonObject = {"threadId": self._thread.id, "turnId": running.turn_id}
        return self._peer.request("turn/interrupt", params, Asked(What.INTERRUPT))

    # --- a plan

    def proposed(self, item: JsonObject) -> None:
        """Codex has written a plan; it is shown when Codex rests."""
        text = jsonlines.cut(jsonlines.text(item, "text"), MAX_PLAN_CHARS)
        self._plan = (jsonlines.cut(jsonlines.text(item, "id"), EXCERPT_CHARS), text)

    def judged(self, reply: Reply, *, allow_bypass: bool) -> list[Output] | None:
        """The answer to the plan; None where the reply is to something else."""
        running = self.running
        if running is None or running.phase is not Phase.PLANNED or reply.ref != running.plan_ref:
            return None
        approved, text = plans.verdict(reply.answer)
        news: list[Output] = []
        if approved:
            self.mode = plans.mode_after(reply.answer, allow_bypass=allow_bypass)
            news.append(ModeNow(self.mode))
        running.plan_ref = ""
        return [self._start(running, text), AskApplied(reply.ref), *news]

    # --- news of it

    def said(self, text: str) -> None:
        """The agent's own message."""
        if self.running is not None:
            self.running.said = text

    def diff(self, params: JsonObject) -> list[Output]:
        """All changes of the turn so far; told once, at its end."""
        if self.running is not None:
            self.running.diff = jsonlines.cut(jsonlines.text(params, "diff"), MAX_DIFF_CHARS)
        return []

    def used(self, params: JsonObject) -> list[Output]:
        """Tokens."""
        usage = jsonlines.obj(params, "tokenUsage")
        data = self._meter.add(usage)
        if self.running is None or self.running.phase is Phase.WAITING:
            # A resumed thread tells where it was.
            self._meter.begin()
            return []
        return [Emit(EventType.USAGE, data)]

    def error(self, params: JsonObject) -> list[Output]:
        """A failure of the model or of Codex itself."""
        error = jsonlines.obj(params, "error")
        if params.get("willRetry") is not True:
            return [notices.failed(error)]
        if self.running is not None:
            self.running.retries += 1
        return [notices.retrying(error, self.running.retries if self.running else 1)]

    # --- it ends

    def completed(self, params: JsonObject) -> list[Output]:
        """Codex rests: with a plan to be judged, or for good."""
        running, turn = self.running, jsonlines.obj(params, "turn")
        if running is None or running.phase is not Phase.STARTED:
            return []
        if running.turn_id and jsonlines.text(turn, "id") not in ("", running.turn_id):
            return []
        is_done = jsonlines.text(turn, "status") in ("completed", "") and not running.interrupted
        if is_done and self.mode is Mode.PLAN and self._plan[1]:
            return self._rest(running)
        return self._close(running, outcome.ended(running, turn))

    def _rest(self, running: Running) -> list[Output]:
        name, text = self._plan
        running.phase, running.plan_ref = Phase.PLANNED, plans.ref_of(name)
        left = [*self._asks.given_up("turn_ended"), *self._content.closed(interrupted=False)]
        return [*left, AskOpen(running.plan_ref, AskKind.PLAN, {"plan": text})]

    def _close(self, running: Running, end: TurnEnd) -> list[Output]:
        """Codex is done with the prompt: see to what it left behind."""
        running.phase, running.end = Phase.CLOSING, end
        cancelled = end.status is TurnStatus.CANCELLED
        outputs: list[Output] = [
            *self._asks.given_up("interrupted" if cancelled else "turn_ended"),
            *self._content.closed(interrupted=end.status is not TurnStatus.COMPLETED),
        ]
        if running.diff:
            outputs.append(notice("turn_diff", diff=running.diff))
        if cancelled and running.turn_id:
            # An interrupt ends the turn and not the command that runs in it (seen from 0.163.0 to 0.169.0).
            running.awaited.add(What.CLEAN)
            params: JsonObject = {"threadId": self._thread.id}
            outputs.append(self._peer.request("thread/backgroundTerminals/clean", params, self._asked(What.CLEAN)))
        return [*outputs, *self._read_on(running), *self._finish_if_seen_to(running)]

    def _asked(self, what: What) -> Asked:
        return Asked(what, self._serial)

    def _read_on(self, running: Running) -> list[Output]:
        params = self._mirror.next()
        if params is None:
            return []
        running.awaited.add(What.MIRROR)
        return [self._peer.request("command/exec", params, self._asked(What.MIRROR))]

    def _finish_if_seen_to(self, running: Running) -> list[Output]:
        return [WakeIn(CLOSING_S)] if running.awaited else self._finish(running)

    def seen_to(self, asked: Asked, value: JsonObject) -> list[Output]:
        """Something that the end waited for is done."""
        running, outputs = self.running, list[Output]()
        if asked.what is What.CLEAR:
            ready = self._thread.cleared(value)
            if ready is None:
                return self.not_seen_to(asked, "Codex did not name its thread.")
            outputs += [notice("conversation_reset", trigger="clear"), ready]
        if asked.what is What.MIRROR:
            entries, more = self._mirror.take(value)
            outputs += [Transcript(entries)] if entries else []
            if more and running is not None and running.phase is Phase.CLOSING:
                return [*outputs, *self._read_on(running)]
        return outputs + self._without(asked)

    def not_seen_to(self, asked: Asked, message: str) -> list[Output]:
        """Something that the end waited for cannot be done."""
        if asked.what is What.MIRROR:
            self._mirror.stop()
        if asked.what is What.CLEAR and self.running is not None and asked.serial == self._serial:
            self.running.end = outcome.failed({"message": message})
        return self._without(asked)

    def _without(self, asked: Asked) -> list[Output]:
        running = self.running
        if running is None or running.phase is not Phase.CLOSING or asked.serial != self._serial:
            return []
        running.awaited.discard(asked.what)
        return [] if running.awaited else self._finish(running)

    def woke(self) -> list[Output]:
        """What the end waited for takes too long."""
        running = self.running
        return self._finish(running) if running is not None and running.phase is Phase.CLOSING else []

    def _finish(self, running: Running) -> list[Output]:
        self.running = None
        end = running.end or TurnEnd(TurnStatus.FAILED, "error")
        return [WakeIn(None), *self._unsteered(), replace(end, usage=self._meter.spent())]

    def _dropped(self, why: str) -> list[Output]:
        running, self.running = self.running, None
        withdrawn = [AskWithdrawn(running.plan_ref, "turn_ended")] if running and running.plan_ref else []
        end = running.end if running and running.end else TurnEnd(TurnStatus.FAILED, "error", error=why)
        closed = [*self._asks.given_up("turn_ended"), *self._content.closed(interrupted=True)]
        return [*withdrawn, *closed, *self._unsteered(), end]

    def end(self, status: ExitStatus) -> list[Output]:
        """The process is gone."""
        running, self.running = self.running, None
        outputs: list[Output] = [*self._asks.all_withdrawn("agent_exited")]
        if running is not None and running.phase is Phase.PLANNED:
            outputs.append(AskWithdrawn(running.plan_ref, "agent_exited"))
        outputs += [*self._content.abandoned(), *self._unsteered()]
        return outputs if running is None else [*outputs, outcome.exited(running, status, self._meter.spent())]


def text_input(text: str) -> JsonObject:
    """Words of a user."""
    return {"type": "text", "text": text, "text_elements": []}
