"""The ways a session leaves this host: parked, ended, handed to another host, or let go after a fault of ours."""

from __future__ import annotations

import structlog

from shared.domain import clock
from shared.domain.errors import CorralError
from shared.domain.event import Draft, EventType
from shared.domain.ids import SessionId
from shared.domain.session import EndReason, OnWorkerLoss, SessionStatus
from shared.domain.turn import MAX_ATTEMPTS, TurnStatus
from workers.host import facts, reading
from workers.host.attendance import Attendance
from workers.host.commits import Vetoed
from workers.host.facts import Fact
from workers.host.seat import Seat
from workers.host.teller import Teller
from workers.host.turn import Cut, ending_with_session, failed
from workers.host.world import Threads, World

log = structlog.get_logger(__name__)


class Leaving:
    """Carried out by the session's own task; each ends with the session given up in one commit."""

    def __init__(self, seat: Seat, attendance: Attendance) -> None:
        self._seat = seat
        self._attendance = attendance

    async def park(self, reason: str) -> bool:
        """End the agent and give the session up; the next input brings it back. False: an input came first.

        Raises:
            Fenced: the session is somebody else's.
        """
        await self._attendance.leave()
        self._seat.teller.settle()
        try:
            await self._seat.teller.commit(facts.session_parks(self._seat.id, self._seat.epoch, reason))
        except Vetoed:
            return False
        log.info("session.parked", session=self._seat.id, reason=reason)
        return True

    async def give_back(self) -> bool:
        """Give up a session for which no agent was needed. False: an input came first."""
        seat = self._seat
        parks = facts.session_parks(seat.id, seat.epoch, "idle")
        # It was parked when we took it: nothing has changed that a reader would have to know.
        silent = Fact((), parks.effects) if seat.status is SessionStatus.PARKED else parks
        seat.teller.settle()
        try:
            await seat.teller.commit(silent)
        except Vetoed:
            return False
        return True

    async def end(self, reason: EndReason, detail: str | None, *, remove_workspace: bool = False) -> None:
        """End the agent's whole tree, then every turn, then the session. All of it told in this order.

        Raises:
            Fenced: the session is somebody else's.
        """
        seat = self._seat
        if seat.talk.turn is not None:
            seat.talk.turn.session_end = reason
            seat.talk.cut(Cut.SESSION_ENDS, seat.world.times.stop_s)
        await self._attendance.stop()
        ending = ending_with_session(reason, detail)
        seat.talk.finish(ending)
        if remove_workspace:
            await self._remove_workspace()
        is_told = False
        while not is_told:
            left = await seat.threads.patiently(reading.open_turns, seat.world.database, seat.id)
            try:
                await seat.teller.commit(facts.session_ends(seat.id, reason, detail, left, ending, clock.now()))
                is_told = True
            except Vetoed:
                # A prompt was accepted in between: it gets its terminal event as well.
                log.debug("session.end_again", session=seat.id)
        log.info("session.ended", session=seat.id, reason=reason.value)

    async def hand_over(self) -> None:
        """Give the session up, because this worker is going. Another host goes on where something waits.

        Raises:
            Fenced: the session is somebody else's.
        """
        seat = self._seat
        await self._attendance.leave()
        status = SessionStatus.PARKED if seat.was_up else SessionStatus.STARTING
        drafts = []
        if seat.talk.pending.is_held:
            # Nobody notices: the next host holds the same turn with the same ask.
            status = SessionStatus.WAITING
        elif seat.was_up and seat.status is not SessionStatus.PARKED:
            drafts.append(Draft(EventType.SESSION_PARKED, {"reason": "worker_drained"}))
        effect = facts.session_is_handed_over(seat.id, seat.epoch, status, clock.now())
        seat.teller.settle()
        await seat.teller.commit(Fact(drafts, (effect,)))
        log.info("session.handed_over", session=seat.id)

    async def cut_for_drain(self) -> None:
        """The time for the running turn is over: it is interrupted, or repeated elsewhere where the session says so."""
        seat, running = self._seat, self._seat.talk.turn
        if running is None or seat.talk.pending.is_held:
            return
        repeats = seat.session.spec.on_worker_loss is OnWorkerLoss.CONTINUE
        if repeats and running.turn.attempt < MAX_ATTEMPTS and running.cut is None:
            seat.talk.forget_turn()
            await self._attendance.stop()
            seat.teller.tell(facts.turn_repeats(running.turn, "worker_drained"))
        else:
            seat.talk.cut(Cut.DRAINED, seat.world.times.stop_s)

    async def _remove_workspace(self) -> None:
        seat = self._seat
        kind = seat.world.kinds.get(seat.session.spec.workspace_kind)
        if kind is None:
            return
        try:
            await seat.threads.disk(kind.remove, seat.id, seat.session.spec.workspace, seat.world.volume)
        except (CorralError, OSError) as problem:
            text = problem.message if isinstance(problem, CorralError) else problem.strerror
            log.warning("workspace.not_removed", session=seat.id, problem=text)
            seat.teller.emit(facts.notice("workspace_not_removed", text or "the worker's disk failed"))


async def give_up(world: World, threads: Threads, teller: Teller, session: SessionId, epoch: int) -> None:
    """After a fault of ours: what ran, or else the turn that is next, ends failed, and the session is given up.

    Its agent is gone already. What is next may be what fails us, and must not fail the next host as well.

    Raises:
        CorralError: not even that could be committed; the session is found by whoever rescues this worker's.
    """
    await teller.flush()
    is_told = False
    while not is_told:
        try:
            await teller.commit(await _farewell(world, threads, teller, session, epoch))
            is_told = True
        except Vetoed:
            # A turn ended, or came, between the look and the commit.
            log.debug("session.give_up_again", session=session)


async def _farewell(world: World, threads: Threads, teller: Teller, session: SessionId, epoch: int) -> Fact:
    moment = clock.now()
    ending = failed("Corral failed to host this session; the worker's log has the reason.", "internal_error")
    open_turns = await threads.patiently(reading.open_turns, world.database, session)
    head = await threads.patiently(reading.head, world.database, session)
    running = [turn for turn in open_turns if turn.status is not TurnStatus.QUEUED]
    told = Fact()
    for ask in await threads.patiently(reading.unresolved_asks, world.database, session):
        told += facts.ask_is_lost(ask.id, ask.kind, ask.turn, moment, "internal_error")
    for turn in running or open_turns[:1]:
        told += facts.turn_ends(turn, ending, moment)
    told += Fact((Draft(EventType.SESSION_PARKED, {"reason": "internal_error"}),))
    if head is not None and not await threads.patiently(reading.has_stop, world.database, session, head.done_input):
        teller.inputs_done(head.last_input)
    hand_over = facts.session_is_handed_over(session, epoch, SessionStatus.PARKED, moment)
    return told + Fact((), (hand_over,))
