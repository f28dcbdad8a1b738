"""What callers ask of a hosted session and what falls due in it, except what makes it begin a turn or leave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import structlog

from shared.agents.driver import SetMode, SetModel
from shared.domain import clock
from shared.domain.ask import Answer, Ask, read_answer
from shared.domain.errors import InvalidField
from shared.domain.ids import AskId, TurnId
from shared.domain.input import Input, InputKind
from shared.domain.session import Mode
from shared.domain.turn import TurnStatus
from workers.host import checkpoint, facts, reading
from workers.host.attendance import Attendance
from workers.host.clocks import Alarm
from workers.host.commits import Vetoed
from workers.host.pending import OpenAsk, refusal
from workers.host.seat import Seat
from workers.host.turn import Cut

log = structlog.get_logger(__name__)


class Obeying:
    """Takes inputs in the order of their numbers. For the session's own task."""

    def __init__(self, seat: Seat, attendance: Attendance, *, done: int) -> None:
        self._seat = seat
        self._attendance = attendance
        self._mode_wish: Mode | None = None
        self._has_model_wish = False
        self.done = done
        """Number of the last input taken into account."""
        self.wants_agent = False
        """The agent shall be up, also without a prompt."""
        self.is_draining = False

    async def obey(self, inputs: Sequence[Input]) -> Input | None:
        """Take `inputs` into account; a STOP is given back undone, and what came behind it is left."""
        for one in inputs:
            if one.kind is InputKind.STOP:
                return one
            self.done = one.n
            self._seat.teller.inputs_done(one.n)
            await self._obey(one)
        return None

    async def hear(self, alarm: Alarm) -> None:
        """Something fell due."""
        talk, times = self._seat.talk, self._seat.world.times
        match alarm:
            case Alarm.TURN:
                talk.cut(Cut.LIMIT, times.interrupt_s)
            case Alarm.INTERRUPT if talk.turn is not None:
                # It was told to stop and did not: its process is ended, and the next prompt resumes it.
                await self._attendance.stop()
            case Alarm.ASK:
                await self._expire_asks()
            case _:
                return

    async def _obey(self, one: Input) -> None:
        match one.kind:
            case InputKind.START:
                self.wants_agent = True
            case InputKind.CANCEL:
                self._cancel(one)
            case InputKind.STEER if one.turn is not None:
                await self._steer(one.turn)
            case InputKind.ANSWER if one.ask is not None:
                await self.answer(one.ask)
            case InputKind.MODE:
                self._wish_mode(Mode(str(one.data["mode"])))
            case InputKind.MODEL:
                model = one.data.get("model")
                self._seat.model = None if model is None else str(model)
                self._has_model_wish = True
            case InputKind.LIMITS:
                await self._reload_limits()
            case _:
                # A prompt is found in the line; the input only says that it is there.
                return

    def _cancel(self, one: Input) -> None:
        running = self._seat.talk.turn
        if running is not None and running.turn.id == one.turn:
            self._seat.talk.cut(Cut.CANCELLED, self._seat.world.times.interrupt_s)

    async def _steer(self, id: TurnId) -> None:
        turn = await self._seat.threads.patiently(reading.turn, self._seat.world.database, id)
        if turn is not None and turn.status is TurnStatus.QUEUED:
            self._seat.talk.steer(turn)

    # --- mode and model ---------------------------------------------------------------------------------------

    def _wish_mode(self, mode: Mode) -> None:
        if self._attendance.has_process:
            self._mode_wish = mode
        else:
            # Told although the row may say so already: whoever asked for it waits for the event.
            self._seat.teller.tell(facts.mode_is(self._seat.id, mode, self._seat.talk.mode))
            self._seat.talk.mode = mode

    def apply_wishes(self) -> None:
        """Tell the agent, which is up and has no turn, what it shall be from now on."""
        agent = self._seat.talk.agent
        if agent is None:
            return
        mode, self._mode_wish = self._mode_wish, None
        if mode is not None and mode is not self._seat.talk.mode:
            agent.say(SetMode(mode))
        if self._has_model_wish:
            self._has_model_wish = False
            self._seat.talk.meter.model = self._seat.model
            agent.say(SetModel(self._seat.model))

    # --- asks -------------------------------------------------------------------------------------------------

    async def answer(self, ref: AskId) -> None:
        """Hand on an answer that was accepted, where somebody still waits for it."""
        row = await self._seat.threads.patiently(reading.ask, self._seat.world.database, ref)
        waiting = self._seat.talk.pending.by_id(ref)
        if row is None or waiting is None or waiting.is_expired:
            return
        if waiting.is_checkpoint:
            await checkpoint.decide(self._seat, waiting, _read(row))
        else:
            self._reply(waiting, _read(row))

    def _reply(self, ask: OpenAsk, answer: Answer) -> None:
        if ask.is_network and self._seat.gate is not None:
            self._seat.gate.answer(ask, answer)
        else:
            self._seat.talk.reply(ask, answer)

    async def _expire_asks(self) -> None:
        seat = self._seat
        for ask in seat.talk.pending.due(seat.now()):
            ask.expires_s = None
            if ask.is_checkpoint:
                await checkpoint.expire(seat, ask)
            else:
                await self._expire(ask)
        seat.clocks.set(Alarm.ASK, seat.talk.pending.next_expiry_s)

    async def _expire(self, ask: OpenAsk) -> None:
        try:
            await self._seat.teller.commit(facts.ask_expires(ask.id, ask.kind, ask.turn, clock.now()))
        except Vetoed:
            # Somebody answered at the last moment: the answer is among the next inputs.
            self._seat.ring()
            return
        ask.is_expired = True
        if self._seat.talk.pending.by_id(ask.id) is not None:
            self._reply(ask, refusal(ask.kind))

    # --- limits -----------------------------------------------------------------------------------------------

    async def _reload_limits(self) -> None:
        seat = self._seat
        known = await seat.threads.patiently(reading.known, seat.world.database, seat.world.sealer, seat.id)
        if known is None:
            return
        seat.session = replace(seat.session, spec=replace(seat.session.spec, limits=known.session.spec.limits))
        self.set_lifetime(known.head.end_by)

    def set_lifetime(self, end_by: datetime | None) -> None:
        """The session ends at that moment."""
        seat = self._seat
        left_s = None if end_by is None else (end_by - clock.now()).total_seconds()
        seat.clocks.set(Alarm.LIFETIME, None if left_s is None else seat.now() + left_s)

    def set_idle(self, since: float | None) -> None:
        """The session has had nothing to do since then; None: it has."""
        idle_s = self._seat.session.spec.limits.idle_s
        self._seat.clocks.set(Alarm.IDLE, None if since is None or idle_s is None else since + idle_s)


def _read(row: Ask) -> Answer:
    try:
        return read_answer(row.kind, row.answer or {})
    except InvalidField as problem:
        # An answer of another release that this one cannot read: no is the only safe thing to say.
        log.warning("ask.unreadable", ask=row.id, problem=problem.message)
        return refusal(row.kind)
