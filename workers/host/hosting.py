"""One session at this host, from its claim until it is given up: its task, and the walls around it."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from shared.agents.driver import Driver
from shared.domain.errors import CorralError
from shared.domain.session import Session, SessionStatus
from shared.store.heads import Head
from shared.telemetry import metrics
from workers.host import reading
from workers.host.clocks import Clocks
from workers.host.commits import Fenced
from workers.host.conversation import Conversation
from workers.host.egress.gate import Gate
from workers.host.journal import Journal
from workers.host.leaving import give_up
from workers.host.life import Life, Orders
from workers.host.meter import Meter
from workers.host.reading import Known
from workers.host.seat import GetKeeper, Seat
from workers.host.teller import Teller
from workers.host.world import Threads, World

log = structlog.get_logger(__name__)

CRASH_PAUSE_S: Final = 1.0
"""Before a session that failed us is given up: whoever takes it next must not spin."""


class Hosted:
    """A hosted session as its host sees it. `run` once; the rest wakes it. For the loop."""

    def __init__(self, world: World, threads: Threads, journal: Journal, keeper: GetKeeper, head: Head) -> None:
        self.session = head.session
        self.epoch = head.epoch
        self.over = asyncio.Event()
        self._world = world
        self._threads = threads
        self._keeper = keeper
        self._teller = Teller(journal, head.session, head.epoch, chunk_s=world.times.chunk_s)
        self._orders = Orders()
        self._life: Life | None = None

    def ring(self) -> None:
        """Inputs may have come: look."""
        self._orders.ring()

    def park(self, reason: str) -> None:
        """Give the slot up when nothing is to be done; forgotten when something is."""
        self._orders.park = reason
        self._orders.bell.set()

    def drain(self, grace_s: float) -> None:
        """Leave this host: now when idle, else when the running turn ended or grace_s is over."""
        self._orders.drain_at = asyncio.get_running_loop().time() + grace_s
        self._orders.bell.set()

    @property
    def idle_since(self) -> float | None:
        """Since when (loop time) it has had nothing to do; None while it has, or is being parked."""
        if self._life is None or self._orders.has_news or self._orders.park is not None:
            return None
        return self._life.idle_since

    async def run(self) -> None:
        """Host the session until it is given up, by whichever way. Raises only when it is cancelled.

        Cancelled, it kills its agent and writes nothing.
        """
        problem: BaseExceptionGroup[BaseException] | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                await self._live(tasks)
        except BaseExceptionGroup as several:
            problem = several
        finally:
            self._teller.close()
            try:
                if problem is not None:
                    await self._contain(problem)
            finally:
                self.over.set()

    async def _live(self, tasks: asyncio.TaskGroup) -> None:
        known = await self._threads.patiently(reading.known, self._world.database, self._world.sealer, self.session)
        if known is None:
            log.warning("session.gone", session=self.session)
            return
        self._life = Life(self._seat(known, tasks), self._orders, known)
        await self._life.run()

    def _seat(self, known: Known, tasks: asyncio.TaskGroup) -> Seat:
        session, clocks = known.session, Clocks()
        meter = Meter(self._world.prices, model=session.spec.model, cost_usd=session.cost_usd, spent=known.spent)
        driver = self._world.drivers.get(session.spec.agent)
        talk = Conversation(session, driver, self._teller, clocks, self._orders.ring, meter)
        return Seat(
            world=self._world,
            threads=self._threads,
            keeper=self._keeper,
            tasks=tasks,
            session=session,
            epoch=self.epoch,
            status=known.head.status,
            model=session.spec.model,
            turns_started=session.turns_started,
            clocks=clocks,
            teller=self._teller,
            talk=talk,
            ring=self._orders.ring,
            was_up=known.head.status is not SessionStatus.STARTING,
            gate=self._gate(session, driver, talk),
        )

    def _gate(self, session: Session, driver: Driver | None, talk: Conversation) -> Gate | None:
        policy, kind = self._world.egress, self._world.kinds.get(session.spec.workspace_kind)
        # A portable place is not on this machine, and has a network of its own.
        if policy is None or driver is None or kind is None or kind.portable:
            return None
        return Gate(policy, session, driver.abilities.profile.hosts, talk, self._teller.tell)

    async def _contain(self, problem: BaseExceptionGroup[BaseException]) -> None:
        """One session's fault harms no other: it is given up, and what runs in it ends failed."""
        if problem.subgroup(Fenced) is not None:
            metrics.SESSIONS_SURRENDERED.inc()
            log.warning("session.fenced", session=self.session, epoch=self.epoch)
            return
        metrics.SESSIONS_CRASHED.inc()
        log.error("session.crashed", session=self.session, exc_info=problem)
        try:
            await (await self._keeper()).kill(self.session)
            await asyncio.sleep(CRASH_PAUSE_S)
            await give_up(self._world, self._threads, self._teller, self.session, self.epoch)
        except CorralError as again:
            log.warning("session.left_behind", session=self.session, problem=again.message)
