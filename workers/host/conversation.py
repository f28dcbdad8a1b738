"""What a session hears from its agent, and what becomes of it: events, asks, the end of the running turn.

Carries out each output of the dialogue at once, in order, without waiting for anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, assert_never

import structlog

from shared.agents.driver import (
    AskApplied,
    AskOpen,
    AskWithdrawn,
    Command,
    Driver,
    Emit,
    ExitStatus,
    Interrupt,
    ModeNow,
    Output,
    Prompt,
    Ready,
    Reply,
    Send,
    Steer,
    Steered,
    SteerRefused,
    Transcript,
    TurnEnd,
    WakeIn,
)
from shared.domain import clock
from shared.domain.ask import CORRALS_REF, Answer
from shared.domain.event import Draft, EventType
from shared.domain.ids import TurnId
from shared.domain.session import Mode, Session
from shared.domain.turn import Ending, Turn, TurnStatus
from shared.telemetry import metrics
from workers.host import facts, spending
from workers.host.agent import Agent
from workers.host.clocks import Alarm, Clocks
from workers.host.meter import Meter
from workers.host.pending import BUDGET_REF, OpenAsk, Pending, refusal
from workers.host.teller import Teller
from workers.host.turn import Cut, RunningTurn, ending_of, failed

log = structlog.get_logger(__name__)

MAX_MISSES: Final = 2
"""An agent that ends again and again before it reads its prompt fails the turn in the end."""


class Conversation:
    """One session's talk with its agent, over all the processes the agent has meanwhile. For the loop.

    `ring` wakes the session's own task, which does what takes time.
    """

    def __init__(
        self,
        session: Session,
        driver: Driver | None,
        teller: Teller,
        clocks: Clocks,
        ring: Callable[[], None],
        meter: Meter,
    ) -> None:
        self._session = session
        self.meter = meter
        self._driver = driver
        self._teller = teller
        self._clocks = clocks
        self._ring = ring
        self._loop = asyncio.get_running_loop()
        self._wake: asyncio.TimerHandle | None = None
        self.agent: Agent | None = None
        self.ready: Ready | None = None
        """What the running agent said of itself; None until it takes prompts."""
        self.changed = asyncio.Event()
        """The agent became ready, or ended."""
        self.turn: RunningTurn | None = None
        self._steers: dict[TurnId, Turn] = {}
        """Queued turns whose text is on its way into the running one."""
        self.pending = Pending(session.spec.ask_timeout_s)
        self.mode = session.spec.mode
        self.agent_session_id = session.agent_session_id
        self.is_stale = False
        """The agent does not know the conversation it was to resume."""

    # --- the process ------------------------------------------------------------------------------------------

    def attach(self, agent: Agent) -> None:
        """From now on `agent` is whom we talk to."""
        self.agent = agent
        self.ready = None
        self.changed.clear()
        self.agent_session_id = agent.started.launch.agent_session_id or agent.started.options.agent_session_id

    def detach(self, status: ExitStatus) -> None:
        """The agent's process is gone, and all it had to say is said."""
        self._set_wake(None)
        self._lose(self.pending.close_agents(), "agent_ended")
        if self._is_unread():
            self._send_to_the_next()
        elif self.turn is not None and self.turn.is_sent and not self.is_stale:
            how = f"signal {status.signal}" if status.signal is not None else f"exit code {status.code}"
            self.finish(failed(f"The agent's process ended in mid turn ({how}).", "agent_exited"))
        self.agent = None
        self.ready = None
        self.changed.set()
        self._ring()

    def _is_unread(self) -> bool:
        """Whether the agent ended and has not read a byte of the running turn's prompt: another may be sent it."""
        running, agent = self.turn, self.agent
        return (
            running is not None
            and running.is_sent
            and running.misses < MAX_MISSES
            and agent is not None
            and not agent.has_read_beyond(running.offset)
        )

    def _send_to_the_next(self) -> None:
        if self.turn is not None:
            self.turn.is_sent = False
            self.turn.misses += 1

    # --- what the agent is told -------------------------------------------------------------------------------

    def begin(self, running: RunningTurn) -> None:
        """This turn runs from now on. Its prompt is sent by `prompt`."""
        self.turn = running
        self._run_clock()

    def prompt(self) -> None:
        """Hand the running turn's prompt, or command, to the agent, which is ready."""
        if self.turn is None or self.agent is None:
            return
        turn = self.turn.turn
        if turn.command is not None and (self._driver is None or turn.command not in self._driver.abilities.commands):
            # It was accepted by another release, whose driver knew it.
            self.finish(failed(f"The agent has no command {turn.command}.", "unsupported_command"))
            return
        self.turn.is_sent = True
        self.turn.offset = self.agent.sent_bytes
        says = Prompt(turn.id, turn.text) if turn.command is None else Command(turn.id, turn.command, turn.args)
        self.agent.say(says)

    def steer(self, turn: Turn) -> None:
        """Offer the agent a queued turn's text for the running turn. Where it is not taken, the turn stays queued."""
        running = self.turn
        if self.agent is not None and running is not None and running.is_sent and running.cut is None:
            self._steers[turn.id] = turn
            self.agent.say(Steer(turn.id, turn.text))

    def cut(self, why: Cut, within_s: float) -> None:
        """Stop the running turn; its agent is ended when it has not obeyed within_s."""
        if self.turn is None:
            return
        self.turn.cut = why
        self._clocks.set(Alarm.TURN, None)
        if self.turn.is_sent and self.agent is not None:
            self._clocks.set(Alarm.INTERRUPT, self._loop.time() + within_s)
            self.agent.say(Interrupt())

    def reply(self, ask: OpenAsk, answer: Answer) -> None:
        """Hand an answer to the agent, or to the turn that Corral itself holds."""
        if ask.ref == BUDGET_REF:
            if self.turn is not None and self.turn.held is not None:
                self.turn.held.answer = answer
                self._ring()
        elif self.agent is not None:
            self.agent.say(Reply(ask.ref, answer))

    def finish(self, ending: Ending) -> None:
        """Give the running turn its terminal event."""
        running = self.turn
        if running is None:
            return
        self._lose(self.pending.close_all(), "turn_ended")
        duration_s = self._loop.time() - running.started_s
        ending = self.meter.settle(ending)
        self._teller.tell(facts.turn_ends(running.turn, ending, clock.now(), duration_s=duration_s))
        self.over(ending)

    def over(self, ending: Ending) -> None:
        """The running turn has its terminal event, and no ask is open."""
        running, self.turn = self.turn, None
        if running is None:
            return
        self._steers.clear()
        for alarm in (Alarm.TURN, Alarm.INTERRUPT, Alarm.ASK):
            self._clocks.set(alarm, None)
        duration_s = self._loop.time() - running.started_s
        spending.count(self._session.spec.agent, ending)
        metrics.TURNS_ENDED.labels(status=ending.status.value, stop_reason=ending.stop_reason[:40]).inc()
        log.info(
            "turn.ended",
            session=self._session.id,
            turn=running.turn.id,
            agent=self._session.spec.agent,
            status=ending.status.value,
            stop_reason=ending.stop_reason,
            duration_s=round(duration_s, 3),
            cost_usd=ending.cost_usd,
            cost_source=ending.cost_source,
        )
        self._ring()

    def forget_turn(self) -> RunningTurn | None:
        """Let the running turn go without an end: it runs again elsewhere."""
        running, self.turn = self.turn, None
        self._steers.clear()
        self.meter.forget()
        self._clocks.set(Alarm.TURN, None)
        self._clocks.set(Alarm.INTERRUPT, None)
        self._lose(self.pending.close_all(), "worker_lost")
        return running

    # --- what the agent says ----------------------------------------------------------------------------------

    def take(self, outputs: Sequence[Output], size: int) -> None:
        """Carry these out, in order."""
        for output in outputs:
            if isinstance(output, Emit):
                self._emit(output, size)
                size = 0
            else:
                self._take(output)

    def read(self) -> None:
        """A batch of the agent's lines has been taken."""
        self._teller.put_batch()

    async def room(self) -> None:
        """Wait while the journal is behind."""
        await self._teller.room()

    def _take(self, output: Output) -> None:
        match output:
            case Send(data=data):
                if self.agent is not None:
                    self.agent.send(data)
            case Emit():
                self._emit(output, 0)
            case TurnEnd():
                self._hear_end(output)
            case AskOpen() | AskWithdrawn() | AskApplied():
                self._take_ask(output)
            case Steered() | SteerRefused():
                self._hear_steer(output)
            case Ready() | ModeNow() | Transcript() | WakeIn():
                self._take_news(output)
            case _:
                assert_never(output)

    def _emit(self, said: Emit, size: int) -> None:
        data = self.meter.read(said.data) if said.type is EventType.USAGE else said.data
        self._teller.emit(Draft(said.type, data, self._turn_id), size)

    def _take_ask(self, output: AskOpen | AskWithdrawn | AskApplied) -> None:
        match output:
            case AskOpen(ref=ref, kind=kind) if ref.startswith(CORRALS_REF) and self.agent is not None:
                # A yes to it would be taken for one to Corral.
                self.agent.say(Reply(ref, refusal(kind)))
            case _ if output.ref.startswith(CORRALS_REF):
                return
            case AskOpen():
                self.open_ask(output)
            case AskWithdrawn(ref=ref, reason=reason):
                self._withdraw_ask(ref, reason)
            case AskApplied(ref=ref):
                self.apply_ask(ref)

    def _take_news(self, output: Ready | ModeNow | Transcript | WakeIn) -> None:
        match output:
            case Ready():
                self._hear_ready(output)
            case ModeNow(mode=mode):
                self.set_mode(mode)
            case Transcript(entries=entries):
                if self.agent_session_id is not None:
                    self._teller.tell(facts.transcript_grew(self._session.id, self.agent_session_id, entries))
            case WakeIn(seconds=seconds):
                self._set_wake(seconds)

    @property
    def _turn_id(self) -> TurnId | None:
        return None if self.turn is None else self.turn.turn.id

    def _hear_ready(self, ready: Ready) -> None:
        is_first, self.ready = self.ready is None, ready
        if not is_first and ready.agent_session_id != self.agent_session_id:
            self._teller.tell(facts.agent_session_is(self._session.id, ready.agent_session_id))
        self.agent_session_id = ready.agent_session_id or self.agent_session_id
        self.meter.model = ready.model or self.meter.model
        self.changed.set()

    def _hear_end(self, end: TurnEnd) -> None:
        if self._is_unread():
            return
        resumed = self.agent is not None and self.agent.started.options.agent_session_id is not None
        may_be_stale = resumed and self._driver is not None and not (self.turn and self.turn.sent_again)
        if may_be_stale and self._driver is not None and self._driver.is_stale(end):
            # The turn stays open: its prompt goes to a fresh conversation.
            self.is_stale = True
            self._ring()
        elif self.turn is not None and self.turn.is_sent:
            self.finish(ending_of(end, self.turn))

    def _hear_steer(self, answer: Steered | SteerRefused) -> None:
        turn = self._steers.pop(answer.turn, None)
        if turn is None:
            return
        if isinstance(answer, Steered):
            self._teller.tell(facts.turn_is_steered(turn, self._turn_id, clock.now()))
            metrics.TURNS_ENDED.labels(status=TurnStatus.COMPLETED.value, stop_reason="steered").inc()
        else:
            notice = facts.notice("steer_refused", answer.reason)
            self._teller.emit(Draft(notice.type, notice.data, turn.id))
        self._ring()

    def set_mode(self, mode: Mode) -> None:
        """The agent acts in `mode` now, or will when it is started."""
        if mode is not self.mode:
            self._teller.tell(facts.mode_is(self._session.id, mode, self.mode))
            self.mode = mode

    def _set_wake(self, seconds: float | None) -> None:
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None
        if seconds is not None:
            self._wake = self._loop.call_later(seconds, self._woke)

    def _woke(self) -> None:
        self._wake = None
        if self.agent is not None:
            self.agent.woke()

    # --- asks -------------------------------------------------------------------------------------------------

    def open_ask(self, said: AskOpen) -> None:
        """Somebody is to be asked: the agent waits, or the turn that is held."""
        ask = self.pending.open(said, self._session.id, self._turn_id, at=clock.now(), now=self._loop.time())
        self._teller.tell(facts.ask_opens(ask, self._session.tenant))
        self.wait()
        self._ring()

    def wait(self) -> None:
        """A human is asked: the turn's clock stands, and the ask's runs."""
        if self.turn is not None and self.turn.countdown is not None:
            self.turn.countdown.hold(self._loop.time())
            self._clocks.set(Alarm.TURN, None)
        self._clocks.set(Alarm.ASK, self.pending.next_expiry_s)

    def apply_ask(self, ref: str) -> None:
        """The answer has reached who asked."""
        ask = self.pending.close(ref)
        if ask is None:
            return
        if not ask.is_expired:
            self._teller.tell(facts.ask_applies(ask.id, ask.kind, ask.turn, clock.now()))
        self._go_on()

    def _withdraw_ask(self, ref: str, reason: str) -> None:
        ask = self.pending.close(ref)
        if ask is not None:
            self._lose([ask], reason)
            self._go_on()

    def _lose(self, closed: Sequence[OpenAsk], reason: str) -> None:
        self._clocks.set(Alarm.ASK, self.pending.next_expiry_s)
        for ask in closed:
            if not ask.is_expired:
                self._teller.tell(facts.ask_is_lost(ask.id, ask.kind, ask.turn, clock.now(), reason))

    def _go_on(self) -> None:
        if not self.pending:
            self._teller.tell(facts.goes_on(self._session.id, self._turn_id))
        self.stop_waiting()

    def stop_waiting(self) -> None:
        """An ask is closed; where it was the last one, the turn's clock runs again."""
        self._clocks.set(Alarm.ASK, self.pending.next_expiry_s)
        if not self.pending:
            self._run_clock()

    def _run_clock(self) -> None:
        if self.turn is not None and self.turn.countdown is not None and self.turn.cut is None:
            self._clocks.set(Alarm.TURN, self.turn.countdown.run(self._loop.time()))
