"""A session's agent over time: brought up when there is work, ended when there is none, up again from where it was."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import structlog

from shared.agents.driver import ExitStatus
from shared.domain.budget import OnBudget
from shared.domain.event import Draft, EventType
from shared.domain.usage import to_usd
from shared.telemetry import metrics
from workers.host import attaching, facts, reading, start
from workers.host.agent import Agent, Started
from workers.host.facts import Fact
from workers.host.seat import Seat
from workers.host.start import Plan, StartFailed

log = structlog.get_logger(__name__)

TELL_CHARACTERS: Final = 1000
"""Of what a failed agent wrote to stderr."""


class Attendance:
    """Whether the agent is there, and what it takes to change that."""

    def __init__(self, seat: Seat, *, taken_over: bool) -> None:
        self._seat = seat
        self._clear_leftovers = taken_over
        self._starting: asyncio.Task[None] | None = None
        self._running: asyncio.Task[None] | None = None
        self._exit: ExitStatus | None = None
        self._afresh = False
        self.problem: StartFailed | None = None
        """Why the last start failed; whoever deals with it clears it."""

    @property
    def is_up(self) -> bool:
        """The agent takes prompts."""
        return self._starting is None and self._seat.talk.ready is not None

    @property
    def is_starting(self) -> bool:
        """A start is under way; the session is rung when it is decided."""
        return self._starting is not None

    @property
    def has_process(self) -> bool:
        """Something of the agent is there."""
        return self._starting is not None or self._running is not None

    def bring_up(self) -> None:
        """Start the agent, or resume it. Rings when it is up, or `problem` says why not."""
        if not self.has_process:
            self.problem = None
            self._starting = self._seat.tasks.create_task(self._start())

    async def begin_afresh(self) -> None:
        """The agent does not know the conversation it was to resume: the next start begins a new one."""
        await self.stop()
        self._seat.talk.is_stale = False
        self._afresh = True
        text = "The agent no longer knew this conversation. A fresh one was started; it remembers nothing of before."
        self._seat.teller.emit(facts.notice("fresh_conversation", text))
        self._seat.teller.put_batch()

    async def leave(self) -> None:
        """Ask the agent to end by itself; stop it where it does not."""
        await self._cancel_start()
        if (agent := self._seat.talk.agent) is not None:
            await agent.leave(self._seat.world.times.stop_s)
        await self._gone()

    async def stop(self) -> None:
        """End the agent's whole tree: TERM, `stop_s`, KILL."""
        await self._cancel_start()
        if (agent := self._seat.talk.agent) is not None:
            await agent.stop()
        await self._gone()

    async def _cancel_start(self) -> None:
        starting = self._starting
        if starting is not None:
            starting.cancel()
            await asyncio.wait({starting})

    async def _gone(self) -> None:
        if self._running is not None:
            await asyncio.wait({self._running})

    # --- a start ----------------------------------------------------------------------------------------------

    async def _start(self) -> None:
        seat, began_s = self._seat, self._seat.now()
        agent_name = seat.session.spec.agent
        try:
            await self._bring_up()
        except StartFailed as problem:
            if not seat.talk.is_stale:
                self.problem = problem
                metrics.AGENT_STARTS.labels(agent=agent_name, outcome="failed").inc()
                log.warning("agent.start_failed", session=seat.id, agent=agent_name, problem=problem.cause)
        else:
            metrics.AGENT_STARTS.labels(agent=agent_name, outcome="ready").inc()
            metrics.AGENT_START_SECONDS.labels(agent=agent_name).observe(seat.now() - began_s)
        finally:
            self._starting = None
            seat.ring()

    async def _bring_up(self) -> None:
        seat = self._seat
        await self._fetch_transcript()
        await seat.teller.flush()
        if seat.gate is not None:
            # What was said while this host had the session is in there as well.
            seat.gate.recall(await seat.threads.patiently(reading.network_answers, seat.world.database, seat.id))
        started = await start.start(seat.world, seat.threads, await seat.keeper(), self._plan())
        self._clear_leftovers = False
        agent = Agent(started, seat.talk, stop_s=seat.world.times.stop_s)
        seat.talk.attach(agent)
        self._exit = None
        self._running = seat.tasks.create_task(self._attend(agent))
        try:
            async with asyncio.timeout(seat.world.agent_start_s):
                await seat.talk.changed.wait()
        except TimeoutError:
            await agent.stop()
            await self._gone()
            raise StartFailed(f"it was not ready within {seat.world.agent_start_s:g} s.") from None
        if seat.talk.ready is None:
            raise _ended_at_once(self._exit)
        self._afresh = False
        resumed = started.options.agent_session_id is not None
        seat.was_up = True
        seat.teller.tell(facts.agent_is_up(seat.id, seat.session.spec.agent, seat.talk.ready, resumed=resumed))

    async def _fetch_transcript(self) -> None:
        """Before the first turn: find the conversation that was begun outside of Corral, and keep it like others."""
        seat, origin = self._seat, self._seat.session.origin
        if seat.turns_started or origin is None or origin.session is not None or origin.conversation is None:
            return
        if not await seat.threads.patiently(reading.transcript, seat.world.database, seat.id, origin.conversation):
            entries = await seat.threads.disk(attaching.find, seat.world.attach_folders, origin.conversation)
            if not entries:
                raise StartFailed(attaching.NOT_FOUND)
            seat.teller.tell(facts.transcript_grew(seat.id, origin.conversation, entries))

    def _plan(self) -> Plan:
        seat = self._seat
        spec, talk = seat.session.spec, seat.talk
        origin = seat.session.origin
        # Before its first prompt an agent may have kept nothing that could be resumed, but what it began with.
        known = talk.agent_session_id if seat.turns_started else (origin.conversation if origin else None)
        forks = not seat.turns_started and origin is not None and origin.fork
        # Where a human is asked about a limit, that is between two turns: none is cut off by the agent itself.
        limit = None if spec.on_budget is OnBudget.ASK else spec.limits.max_cost_usd
        return Plan(
            session=seat.session,
            mode=talk.mode,
            model=seat.model,
            conversation=None if self._afresh else known,
            fork=forks and not self._afresh,
            mirrored=known,
            cost_left_usd=None if limit is None else max(0.0, limit - to_usd(talk.meter.micro_usd)),
            clear_leftovers=self._clear_leftovers,
            gate=seat.gate,
        )

    # --- its life and end -------------------------------------------------------------------------------------

    async def _attend(self, agent: Agent) -> None:
        try:
            async with agent.started.outlet:
                self._exit = await agent.run()
            self._seat.talk.detach(self._exit)
            await self._keep_transcript(agent.started)
        finally:
            self._running = None
            self._seat.ring()

    async def _keep_transcript(self, started: Started) -> None:
        # Of the launch and not of now: an agent that went on to another conversation has another file for it.
        seat, conversation = self._seat, started.launch.agent_session_id or self._seat.talk.agent_session_id
        if conversation is None or not started.launch.mirrored_paths:
            return
        await seat.teller.flush()
        home = Path(started.options.home)
        files = [home / path for path in started.launch.mirrored_paths]
        known = await seat.threads.patiently(reading.transcript, seat.world.database, seat.id, conversation)
        missing = await seat.threads.disk(reading.unmirrored, files, known)
        if missing:
            seat.teller.tell(facts.transcript_grew(seat.id, conversation, missing))


def _ended_at_once(status: ExitStatus | None) -> StartFailed:
    if status is None:
        return StartFailed("it did not come up.")
    how = f"signal {status.signal}" if status.signal is not None else f"exit code {status.code}"
    return StartFailed(f"it ended at once ({how}).", stderr=status.stderr_tail.strip()[-TELL_CHARACTERS:])


def could_not_start(problem: StartFailed) -> Fact:
    """Told where no turn can carry the bad news."""
    return Fact((Draft(EventType.ERROR, {"message": problem.message, "code": problem.code}),))
