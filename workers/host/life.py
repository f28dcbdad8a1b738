"""What a hosted session does next: one round after the other, each when it was rung or something fell due."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field

from shared.agents.driver import TurnEnd
from shared.domain import clock
from shared.domain.ask import AskStatus
from shared.domain.budget import Exhausted, OnBudget
from shared.domain.session import EndReason, SessionStatus
from shared.domain.turn import Ending, Turn, TurnStatus
from shared.domain.usage import to_micro_usd
from workers.host import checkpoint, facts, reading
from workers.host.attendance import Attendance, could_not_start
from workers.host.budgeting import Budgeting, Waits
from workers.host.clocks import Alarm, Countdown
from workers.host.commits import Vetoed
from workers.host.leaving import Leaving
from workers.host.obeying import Obeying
from workers.host.reading import Known
from workers.host.seat import Seat
from workers.host.turn import RunningTurn, ending_of, failed


@dataclass(slots=True)
class Orders:
    """What others have said to the session since it last looked."""

    bell: asyncio.Event = field(default_factory=asyncio.Event)
    has_news: bool = True
    """Inputs may have come."""
    park: str | None = None
    """The session shall be parked when it has nothing to do, for this reason."""
    drain_at: float | None = None
    """The host is going: no turn is begun any more, and the running one has until then."""

    def ring(self) -> None:
        """Look around."""
        self.has_news = True
        self.bell.set()


class Life:
    """Decides for one session. State that only its own task touches."""

    def __init__(self, seat: Seat, orders: Orders, known: Known) -> None:
        self._seat = seat
        self._orders = orders
        self._attendance = Attendance(seat, taken_over=seat.epoch > 1)
        self._leaving = Leaving(seat, self._attendance)
        self._obeying = Obeying(seat, self._attendance, done=known.head.done_input)
        self._budgeting = Budgeting(seat)
        self._next: Turn | None = None
        self._is_over = False
        self.idle_since: float | None = None
        """Since when the session has had nothing to do; None while it has."""
        self._obeying.set_lifetime(known.head.end_by)
        # The input that asked for it may be one that an earlier host took into account, and did not live to obey.
        self._obeying.wants_agent = known.head.status is SessionStatus.STARTING
        self._held = checkpoint.held_in(known)
        self._tell_leftovers(known)

    async def run(self) -> None:
        """Go on until the session is given up.

        Raises:
            Fenced: the session is somebody else's.
        """
        if self._held is not None and self._held[1].status is AskStatus.ANSWERED:
            # An earlier host may have taken the input into account, and not lived to obey it.
            await self._obeying.answer(self._held[1].id)
        while not self._is_over:
            self._orders.bell.clear()
            await self._round()
            if not self._is_over:
                self._seat.teller.settle()
                await self._sleep()

    def _tell_leftovers(self, known: Known) -> None:
        moment = clock.now()
        turn_held, ask_held = self._held or (None, None)
        if turn_held is not None and ask_held is not None:
            checkpoint.hold_again(self._seat, self._running(turn_held), ask_held)
        for ask in known.left_asks:
            if ask is ask_held:
                continue
            self._seat.teller.tell(facts.ask_is_lost(ask.id, ask.kind, ask.turn, moment, "worker_lost"))
        for turn in known.left_turns:
            if turn is turn_held:
                continue
            ending = Ending(TurnStatus.INTERRUPTED, "worker_lost").with_spent(known.left_spent.get(turn.id))
            self._seat.teller.tell(facts.turn_ends(turn, ending, moment))

    async def _sleep(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(self._seat.clocks.next()):
                await self._orders.bell.wait()

    async def _round(self) -> None:
        if self._orders.has_news:
            await self._take_news()
        if self._orders.drain_at is not None and not self._is_over:
            self._seat.clocks.set(Alarm.DRAIN, self._orders.drain_at)
            self._orders.drain_at = None
            self._obeying.is_draining = True
        for alarm in self._seat.clocks.take_due(self._seat.now()):
            if not self._is_over:
                await self._hear(alarm)
        if not self._is_over:
            await self._work()

    async def _take_news(self) -> None:
        self._orders.has_news = False
        seat = self._seat
        news = await seat.threads.patiently(reading.news, seat.world.database, seat.id, self._obeying.done)
        self._next = news.next_turn
        stop = await self._obeying.obey(news.inputs)
        if stop is not None:
            await self._end(EndReason.TERMINATED, None, remove_workspace=stop.data.get("remove_workspace") is True)
        elif news.may_be_more:
            self._orders.ring()

    async def _hear(self, alarm: Alarm) -> None:
        match alarm:
            case Alarm.IDLE:
                self._orders.park = "idle"
            case Alarm.LIFETIME:
                await self._end(EndReason.LIFETIME, None)
            case Alarm.DRAIN:
                await self._leaving.cut_for_drain()
            case _:
                await self._obeying.hear(alarm)

    # --- what is to be done -----------------------------------------------------------------------------------

    async def _work(self) -> None:
        if self._seat.talk.is_stale:
            await self._begin_afresh()
        is_leaving = self._obeying.is_draining and self._seat.talk.pending.is_held
        if self._seat.talk.turn is not None and not is_leaving:
            await self._budgeting.settle()
            await self._carry_on()
        elif (reason := self._limit_reached()) is not None:
            await self._end(reason, None)
        elif self._obeying.is_draining:
            await self._leaving.hand_over()
            self._is_over = True
        elif self._attendance.problem is not None:
            await self._fail_start()
        elif not self._attendance.is_starting:
            await self._take_up()

    async def _take_up(self) -> None:
        if self._next is not None and self._next.confirm and not await self._is_let_go(self._next):
            await self._stop_at_checkpoint(self._next)
        elif self._next is None and not self._obeying.wants_agent:
            await self._rest()
        elif not self._attendance.is_up:
            self._be_busy()
            self._attendance.bring_up()
        else:
            self._obeying.wants_agent = False
            self._obeying.apply_wishes()
            if self._next is not None:
                await self._begin(self._next)
            else:
                await self._rest()

    async def _begin(self, turn: Turn) -> None:
        seat = self._seat
        self._be_busy()
        self._orders.park = None
        admission = await self._budgeting.admit(turn)
        if isinstance(admission, Waits):
            return
        if isinstance(admission, Exhausted) and admission.on_budget is OnBudget.STOP:
            await self._budgeting.refuse(turn, admission)
            self._next = None
            self._orders.ring()
            return
        try:
            await seat.teller.commit(facts.turn_starts(turn, clock.now()))
        except Vetoed:
            self._orders.ring()
            return
        self._next = None
        seat.status = SessionStatus.RUNNING
        seat.turns_started += turn.attempt == 1 and not turn.confirm
        running = self._running(turn)
        # A first one whose host was lost between letting it go and sending it.
        running.is_uncounted = turn.confirm and seat.turns_started == 0
        seat.talk.begin(running)
        if isinstance(admission, Exhausted):
            self._budgeting.ask(running, admission)
        await self._carry_on()

    def _running(self, turn: Turn) -> RunningTurn:
        limit_s = self._seat.session.spec.limits.turn_s
        return RunningTurn(turn, self._seat.now(), None if limit_s is None else Countdown(limit_s))

    async def _is_let_go(self, turn: Turn) -> bool:
        # Only one that is begun again can have been: its first attempt has no ask before it begins.
        seat = self._seat
        return turn.attempt > 1 and await seat.threads.patiently(reading.is_let_go, seat.world.database, turn)

    async def _stop_at_checkpoint(self, turn: Turn) -> None:
        """Begin a turn and hold it. No agent is needed for that."""
        self._be_busy()
        self._orders.park = None
        asked = checkpoint.opens(self._seat, turn)
        try:
            await self._seat.teller.commit(facts.turn_starts(turn, clock.now()) + asked)
        except Vetoed:
            checkpoint.forget(self._seat, turn)
            self._orders.ring()
            return
        self._next = None
        checkpoint.hold(self._seat, self._running(turn))

    async def _carry_on(self) -> None:
        """See to it that the running turn's prompt reaches an agent."""
        talk, running = self._seat.talk, self._seat.talk.turn
        if running is None or running.is_sent:
            return
        if running.cut is not None:
            talk.finish(ending_of(TurnEnd(TurnStatus.INTERRUPTED, "interrupted"), running))
        elif talk.pending.is_held or running.held is not None:
            return
        elif self._attendance.problem is not None:
            problem, self._attendance.problem = self._attendance.problem, None
            talk.finish(failed(problem.message, "start_failed"))
            self._orders.park = "start_failed"
        elif self._attendance.is_up:
            if running.is_uncounted:
                # Of a turn that was held at its checkpoint budgets are looked at only now.
                if not await self._budgeting.lets_go_on(running):
                    return
                await self._count(running)
            talk.prompt()
        else:
            self._attendance.bring_up()

    async def _count(self, running: RunningTurn) -> None:
        """Catch up on what a turn that was held had not come to: it began before its agent was looked at."""
        running.is_uncounted = False
        self._obeying.apply_wishes()
        self._seat.turns_started += 1
        await self._seat.teller.commit(facts.turn_counts(running.turn))

    async def _begin_afresh(self) -> None:
        running = self._seat.talk.turn
        await self._attendance.begin_afresh()
        if running is not None:
            running.is_sent, running.sent_again = False, True

    def _limit_reached(self) -> EndReason | None:
        self._budgeting.warn_once()
        spec = self._seat.session.spec
        limits, meter = spec.limits, self._seat.talk.meter
        if limits.max_turns is not None and self._seat.turns_started >= limits.max_turns:
            return EndReason.MAX_TURNS
        if spec.on_budget is OnBudget.ASK:
            # A human decides, when there is something to be begun.
            return None
        if limits.max_cost_usd is not None and meter.micro_usd >= to_micro_usd(limits.max_cost_usd):
            return EndReason.MAX_COST
        if limits.max_tokens is not None and meter.tokens >= limits.max_tokens:
            return EndReason.MAX_TOKENS
        return None

    async def _fail_start(self) -> None:
        problem, self._attendance.problem = self._attendance.problem, None
        if problem is None:
            return
        self._obeying.wants_agent = False
        if not self._seat.was_up:
            await self._end(EndReason.START_FAILED, problem.message)
            return
        if self._next is not None:
            ending = failed(problem.message, "start_failed")
            self._seat.teller.tell(facts.turn_ends(self._next, ending, clock.now()))
            self._next = None
        else:
            self._seat.teller.tell(could_not_start(problem))
        self._orders.park = "start_failed"
        self._orders.ring()

    # --- nothing to do ----------------------------------------------------------------------------------------

    async def _rest(self) -> None:
        seat, orders = self._seat, self._orders
        if seat.talk.pending:
            # The agent asks between two turns: whoever waits for a human is not idle.
            self._be_busy()
            return
        if seat.status in {SessionStatus.PARKED, SessionStatus.STRANDED} and not self._attendance.has_process:
            self._leave_unless_rung(gone=await self._leaving.give_back())
            return
        if seat.status is SessionStatus.WAITING and not self._attendance.has_process:
            # A held turn is over, and nobody had to bring an agent up for it.
            orders.park = "idle"
        if seat.status is not SessionStatus.IDLE:
            seat.status = SessionStatus.IDLE
            seat.teller.tell(facts.session_idles(seat.id))
        if orders.park is not None:
            reason, orders.park = orders.park, None
            self._leave_unless_rung(gone=await self._leaving.park(reason))
        elif self.idle_since is None:
            self.idle_since = seat.now()
            self._obeying.set_idle(self.idle_since)

    def _leave_unless_rung(self, *, gone: bool) -> None:
        self._is_over = gone
        if not gone:
            self._be_busy()
            self._orders.ring()

    def _be_busy(self) -> None:
        self.idle_since = None
        self._obeying.set_idle(None)

    async def _end(self, reason: EndReason, detail: str | None, *, remove_workspace: bool = False) -> None:
        await self._leaving.end(reason, detail, remove_workspace=remove_workspace)
        self._is_over = True
