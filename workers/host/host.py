"""The host: the loop that owns this worker's slice of sessions. Claims, wakes, hands over; each session has a task.

`run` is the one coroutine; `look`, `offer`, `surrender`, `beat` and `thaw` may be called from any thread.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Coroutine, Mapping
from functools import partial
from typing import Any, Final

import structlog

from shared.domain.errors import WardenLost
from shared.domain.ids import SessionId
from shared.domain.session import SessionStatus
from shared.store import heads, ownership
from shared.store.database import DatabaseAway
from shared.store.heads import Head
from shared.telemetry import metrics
from workers.host.hosting import Hosted
from workers.host.journal import Journal
from workers.host.world import Keeper, Threads, World

log = structlog.get_logger(__name__)

KEEPER_S: Final = 20.0
"""How long a start waits for a warden that is being started anew."""
KEEPER_RETRY_S: Final = 1.0
LAST_S: Final = 5.0
"""Beyond all grace: sessions that are still here then are left to a rescuer."""


class Host:
    """One worker's host. `on_room` hears, on the loop, whether another session could be taken in."""

    def __init__(self, world: World, *, on_room: Callable[[bool], object] = lambda _: None) -> None:
        self._world = world
        self._on_room = on_room
        self._loop: asyncio.AbstractEventLoop | None = None
        self._group: asyncio.TaskGroup | None = None
        self._threads = Threads()
        self._journal = Journal(
            world.database, world.publisher.committed, commit_s=world.times.commit_s, on_fenced=self._hear_fence
        )
        self._tasks: dict[Hosted, asyncio.Task[None]] = {}
        # Read by other threads: replaced, never changed.
        self._by_session: dict[SessionId, Hosted] = {}
        self._offered = asyncio.Event()
        self._strays: set[SessionId] = set()
        self._parking: Hosted | None = None
        self._parking_until = 0.0
        self._drained = asyncio.Event()
        self._is_draining = False
        self._keeper: Keeper | None = None
        self._has_keeper = asyncio.Event()
        self._is_frozen = False

    # --- from any thread --------------------------------------------------------------------------------------

    @property
    def hosted(self) -> frozenset[SessionId]:
        """The sessions hosted here."""
        return frozenset(self._by_session)

    @property
    def epochs(self) -> Mapping[SessionId, int]:
        """The sessions hosted here, each with the epoch in which it was claimed."""
        return {session: hosted.epoch for session, hosted in self._by_session.items()}

    @property
    def has_room(self) -> bool:
        """Whether another session could be taken in: a slot is free, or a session idle for a while could be parked."""
        if self._is_draining:
            return False
        return len(self._by_session) < self._world.capacity or self._longest_idle() is not None

    @property
    def waiting_events(self) -> int:
        """Events of hosted sessions that are not committed yet."""
        return self._journal.waiting_events

    def look(self, session: SessionId) -> None:
        """Inputs of a session this worker owns may have come. Unheard when it is somebody else's."""
        self._soon(lambda: self._look(session))

    def offer(self) -> None:
        """Something may wait to be claimed: claim until this worker is full or nothing waits."""
        self._soon(self._offered.set)

    def surrender(self, sessions: Collection[SessionId]) -> None:
        """These are not ours any more: kill their agents, write nothing. Unheard for those not hosted here."""
        gone = frozenset(sessions)
        self._soon(lambda: self._surrender(gone))

    def let_go(self, gone: Mapping[SessionId, int]) -> None:
        """The same, for those still hosted in the epoch given: one claimed anew in the meantime is ours."""
        for session, epoch in gone.items():
            self._soon(partial(self._hear_fence, session, epoch))

    def beat(self, age_s: float = 0.0) -> None:
        """The store took this worker's beat, begun age_s seconds ago: its agents may go on."""
        if (keeper := self._keeper) is not None:
            keeper.beat(age_s)
        if self._is_frozen:
            # The warden froze them at the very end of a pause that was too short to be told of in `thaw`.
            self._soon(lambda: self._begin(self._thaw_ours()))

    def thaw(self, ours: Collection[SessionId]) -> None:
        """The store took a beat after a long pause, and `ours` are still ours: they go on, the others are killed."""
        kept = frozenset(ours)
        self._soon(lambda: self._begin(self._thaw(kept)))

    def _soon(self, act: Callable[[], object]) -> None:
        # Before the start and after the end there is nobody to hear it.
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(act)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        if self._group is None:
            work.close()
        else:
            self._group.create_task(_walled(work))

    # --- its life ---------------------------------------------------------------------------------------------

    async def run(self, started: Callable[[], None]) -> None:
        """Host sessions until `drain` is through. `started` is called when sessions can be claimed.

        Cancelled, it kills all agents and leaves their sessions to a rescuer.

        Raises:
            WardenLost: the first warden did not come up.
        """
        self._loop = asyncio.get_running_loop()
        try:
            async with self._journal, asyncio.TaskGroup() as group:
                await self._start_keeper()
                self._group = group
                claiming = group.create_task(self._claim_when_offered())
                try:
                    self._offered.set()
                    started()
                    await self._drained.wait()
                finally:
                    self._group = None
                    claiming.cancel()
                    await self._abandon()
                    await self._close_keeper()
        finally:
            self._threads.close()

    async def drain(self, grace_s: float) -> None:
        """Take in nothing more; let running turns end for up to grace_s, then interrupt them; hand all over.

        Returns when nothing is hosted here any more; `run` ends then.
        """
        self._is_draining = True
        self._on_room(False)
        leaving = list(self._tasks)
        for hosted in leaving:
            hosted.drain(grace_s)
        times = self._world.times
        try:
            async with asyncio.timeout(grace_s + times.interrupt_s + 2 * times.stop_s + LAST_S):
                for hosted in leaving:
                    await hosted.over.wait()
        except TimeoutError:
            log.warning("host.left_behind", sessions=sorted(self._by_session))
        self._drained.set()

    async def _abandon(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # --- the warden -------------------------------------------------------------------------------------------

    async def _start_keeper(self) -> None:
        self._keeper = await self._world.start_warden(self._hear_frozen, self._hear_lost)
        self._has_keeper.set()

    async def _close_keeper(self) -> None:
        self._has_keeper.clear()
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            await keeper.close()

    def _hear_frozen(self, sessions: frozenset[SessionId]) -> None:
        self._is_frozen = True
        log.warning("warden.froze", sessions=sorted(sessions))

    def _hear_lost(self) -> None:
        log.error("warden.lost")
        self._keeper = None
        self._has_keeper.clear()
        self._begin(self._start_keeper_again())

    async def _start_keeper_again(self) -> None:
        while self._keeper is None and not self._drained.is_set():
            try:
                await self._start_keeper()
            except (WardenLost, OSError) as problem:
                log.warning("warden.not_started", problem=str(problem))
                await asyncio.sleep(KEEPER_RETRY_S)

    async def _keeper_when_there(self) -> Keeper:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(KEEPER_S):
                await self._has_keeper.wait()
        if self._keeper is None:
            raise WardenLost
        return self._keeper

    async def _thaw_ours(self) -> None:
        with contextlib.suppress(DatabaseAway):
            ours = await self._threads.sql(_owned, self._world)
            await self._thaw(ours)

    async def _thaw(self, ours: frozenset[SessionId]) -> None:
        self._is_frozen = False
        self._surrender(self.hosted - ours)
        if self._keeper is not None:
            await self._keeper.thaw(ours)

    # --- claiming ---------------------------------------------------------------------------------------------

    async def _claim_when_offered(self) -> None:
        while True:
            await self._offered.wait()
            self._offered.clear()
            try:
                await self._adopt_strays()
                await self._claim_all()
            except DatabaseAway:
                log.warning("claim.database_away")
            except Exception:
                # The next offer tries again; what is hosted goes on.
                log.exception("claim.failed")

    async def _claim_all(self) -> None:
        while not self._is_draining:
            if len(self._by_session) >= self._world.capacity:
                await self._make_room()
                return
            head = await self._threads.sql(_claim, self._world)
            if head is None:
                return
            self._adopt(head)

    async def _make_room(self) -> None:
        """Have the longest-idle session parked when another one waits; one at a time."""
        now = asyncio.get_running_loop().time()
        if self._parking is not None and not self._parking.over.is_set() and now < self._parking_until:
            return
        if self._longest_idle() is None or not await self._threads.sql(_something_waits, self._world):
            return
        self._parking = self._longest_idle()
        if self._parking is not None:
            self._parking_until = now + 2 * self._world.times.stop_s + 1.0
            self._parking.park("capacity")

    def _longest_idle(self) -> Hosted | None:
        if self._loop is None:
            return None
        # A session that was busy a moment ago is likely to be so again.
        before = self._loop.time() - self._world.times.beat_s
        idle = [(since, id(one), one) for one in self._by_session.values() if (since := one.idle_since) is not None]
        first = min(idle, default=None)
        return first[2] if first is not None and first[0] <= before else None

    async def _adopt_strays(self) -> None:
        """Host what is ours and not hosted: a claim whose COMMIT had an unknown outcome."""
        while self._strays and not self._is_draining:
            session = self._strays.pop()
            if session not in self._by_session:
                head = await self._threads.sql(_head_if_owned, self._world, session)
                if head is not None and session not in self._by_session:
                    self._adopt(head)

    def _adopt(self, head: Head) -> None:
        if self._group is None:
            return
        before = self._by_session.get(head.session)
        hosted = Hosted(self._world, self._threads, self._journal, self._keeper_when_there, head)
        self._by_session = {**self._by_session, head.session: hosted}
        self._tasks[hosted] = self._group.create_task(self._host(hosted, before))
        log.info("session.claimed", session=head.session, epoch=head.epoch)
        if self._is_draining:
            hosted.drain(0)
        self._tell_room()

    async def _host(self, hosted: Hosted, before: Hosted | None) -> None:
        try:
            if before is not None:
                # It was given up here a moment ago, and comes back before its last task has put things away.
                await before.over.wait()
            await hosted.run()
        except asyncio.CancelledError:
            # Its agent may have been spawned in the very moment it was cancelled.
            if self._keeper is not None:
                await self._keeper.kill(hosted.session)
            raise
        except Exception:
            # The last wall: whatever one session does, the others go on. A rescuer finds it when this worker ends.
            log.exception("session.left_behind", session=hosted.session)
        finally:
            hosted.over.set()
            del self._tasks[hosted]
            if self._by_session.get(hosted.session) is hosted:
                self._by_session = {ref: one for ref, one in self._by_session.items() if one is not hosted}
                self._journal.forget(hosted.session, hosted.epoch)
            self._offered.set()
            self._tell_room()

    def _tell_room(self) -> None:
        metrics.SESSIONS_HOSTED.set(len(self._by_session))
        self._on_room(self.has_room)

    # --- waking and letting go --------------------------------------------------------------------------------

    def _look(self, session: SessionId) -> None:
        hosted = self._by_session.get(session)
        if hosted is not None:
            hosted.ring()
        else:
            self._strays.add(session)
            self._offered.set()

    def _surrender(self, sessions: frozenset[SessionId]) -> None:
        for session in sessions:
            hosted = self._by_session.get(session)
            if hosted is not None and hosted in self._tasks:
                metrics.SESSIONS_SURRENDERED.inc()
                log.warning("session.surrendered", session=session, epoch=hosted.epoch)
                self._journal.drop(session, hosted.epoch)
                self._tasks[hosted].cancel()

    def _hear_fence(self, session: SessionId, epoch: int) -> None:
        hosted = self._by_session.get(session)
        if hosted is not None and hosted.epoch == epoch:
            self._surrender(frozenset({session}))


async def _walled(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except Exception:
        log.exception("host.task_failed")


def _claim(world: World) -> Head | None:
    with world.database.write() as connection:
        return ownership.claim(connection, world.incarnation, world.volume.id)


def _something_waits(world: World) -> bool:
    with world.database.read() as connection:
        return bool(ownership.waiting(connection, world.incarnation, world.volume.id, 1))


def _owned(world: World) -> frozenset[SessionId]:
    with world.database.read() as connection:
        return frozenset(head.session for head in ownership.owned_by(connection, world.incarnation))


def _head_if_owned(world: World, session: SessionId) -> Head | None:
    with world.database.read() as connection:
        head = heads.get(connection, session)
    is_ours = head is not None and head.owner == world.incarnation and head.status is not SessionStatus.ENDED
    return head if is_ours else None
