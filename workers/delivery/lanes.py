"""One lane: makes, sends and repeats the deliveries of one session to one endpoint, one at a time, in order."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

import structlog

from shared.domain import clock
from shared.domain.errors import Unavailable
from shared.domain.ids import Incarnation
from shared.domain.webhook import Delivery, DeliveryKind, DeliveryStatus
from shared.store import deliveries, endpoints, lanes
from shared.store.database import Connection
from shared.store.deliveries import Result
from shared.store.endpoints import EndpointStore
from shared.store.lanes import LaneMove, LaneRow
from shared.telemetry import metrics
from workers.delivery.beat import Beat
from workers.delivery.cuts import Page, Source, body_of
from workers.delivery.receiver import Receiver
from workers.delivery.schedule import Ladder
from workers.delivery.send import Answer
from workers.delivery.verdict import Try, judge
from workers.delivery.writer import LaneWrite, SqlThread

log = structlog.get_logger(__name__)

Found = TypeVar("Found")

_AGAIN_S = 0.5
"""Between two tries to read from a database that is away."""
_FRESH_S = 0.05


class LaneLost(Exception):
    """The lane is somebody else's, or gone."""


class LaneLetGo(Exception):
    """The lane was given up: nothing to do for long, its endpoint disabled, or this process ends."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What all lanes of a process work with."""

    me: Incarnation
    reader: SqlThread
    writer: SqlThread
    beat: Beat
    store: EndpointStore
    ladder: Ladder
    window_s: float
    idle_s: float
    """A lane with nothing to do for so long is let go; the next event finds it again."""


@dataclass(slots=True)
class Load:
    """A stored delivery in the lane's hands."""

    delivery: Delivery
    body: bytes | None
    """None: to be rendered from the store. A waiting retry holds no bytes: thousands may wait."""
    upto: int
    """How far the lane has got once it is over."""
    failures: int = 0
    first_at: datetime | None = None


class Lane:
    """Runs as one task from claim to release. Every write of it is fenced by its epoch."""

    def __init__(self, row: LaneRow, receiver: Receiver, source: Source, tools: Tools) -> None:
        self.key = row.key
        self.receiver = receiver
        self._epoch = row.epoch
        self._tools = tools
        self._source = source
        self._cursor = row.cursor
        self._sent_seq = row.sent_seq
        self._load: Load | None = None
        """What is in hand: stored, and not over."""
        self._bell = asyncio.Event()
        self._has_queued = False
        self._is_ending = False
        self._stalls = tools.beat.stalls
        self.is_busy = False
        """A request is in flight, or its result being written: not the moment to cancel."""

    def resume(self, pending: Delivery) -> None:
        """Go on with what a former owner was in the middle of. Before `run`."""
        self._source.go_behind(pending)
        self._load = Load(pending, None, max(self._cursor, pending.last_seq or 0), failures=pending.attempts)

    def news(self, last_seq: int) -> None:
        """The session's log has grown."""
        if self._source.news(last_seq, time.monotonic()):
            self._bell.set()

    def ring_queued(self) -> None:
        """Somebody asked to send a delivery of this lane again."""
        self._has_queued = True
        self._bell.set()

    def look_up(self) -> None:
        """The endpoint was changed or disabled."""
        self._bell.set()

    def end(self) -> None:
        """Give the lane up as soon as no request is in flight."""
        self._is_ending = True
        self._bell.set()

    @property
    def is_idle(self) -> bool:
        return self._load is None and not self.has_work

    @property
    def has_work(self) -> bool:
        return self._source.wait_s(time.monotonic()) is not None

    async def run(self) -> None:
        """Deliver until the lane is let go.

        Raises:
            LaneLetGo, LaneLost: in the end, always.
        """
        while True:
            if self._load is None:
                self._load = await self._next()
            await self._carry(self._load)

    # --------------------------------------------------------------------------- finding what comes next

    async def _next(self) -> Load:
        while True:
            self._bell.clear()
            await self._leave_if_ending()
            if self._has_queued and (queued := await self._take_queued()):
                return queued
            wait_s = self._source.wait_s(time.monotonic())
            if wait_s == 0.0:
                cut = await self._look()
                if cut is not None:
                    await self._write(cut=cut.delivery, due_at=cut.delivery.next_attempt_at)
                    return cut
            elif not await self._rest(self._tools.idle_s if wait_s is None else wait_s) and wait_s is None:
                self._is_ending = True

    async def _look(self) -> Load | None:
        page: Page = await self._read(self._source.look(self.receiver.endpoint))
        self._source.found(page, time.monotonic())
        if page.delivery is None:
            return None
        return Load(page.delivery, page.body, page.upto, first_at=page.first_at)

    async def _take_queued(self) -> Load | None:
        queued = await self._read(lambda connection: deliveries.next_queued(connection, self.key))
        if queued is None:
            self._has_queued = False
            return None
        await self._write(taken=queued, due_at=clock.now())
        return Load(queued, None, self._cursor)

    # --------------------------------------------------------------------------- one delivery, to its end

    async def _carry(self, load: Load) -> None:
        while True:
            if load.failures:
                await self._until_due(load)
            if load.body is None:
                load.body = await self._read(body_of(self.receiver.endpoint, load.delivery))
            if load.body is None:
                await self._settle(load, Result(load.delivery.id, DeliveryStatus.DEAD, None, dead_reason="removed"))
                return
            result = await self._attempt(load, load.body)
            self.is_busy = False
            await self._leave_if_ending()
            if result.status is not DeliveryStatus.PENDING:
                return

    async def _attempt(self, load: Load, body: bytes) -> Result:
        at = clock.now()
        answer = await self.receiver.post(load.delivery, body, self._ready)
        now = clock.now()
        tried = Try(load.delivery, answer, load.delivery.attempts + 1, load.failures, at)
        jitter = random.random()  # noqa: S311 - spreads retries, guards nothing
        result = judge(tried, self.receiver.endpoint, self._tools.ladder, jitter=jitter, now=now)
        await self._settle(load, result)
        self._tell(load, answer, result)
        if result.status is DeliveryStatus.PENDING:
            load.body = None
            load.failures += 1
            load.delivery = replace(
                load.delivery, attempts=load.delivery.attempts + 1, next_attempt_at=result.next_attempt_at
            )
        return result

    async def _ready(self) -> None:
        """Right before a POST: this process must be alive in the eyes of its peers, and the lane its own."""
        while not self._tools.beat.is_fresh:  # noqa: ASYNC110 - the beat is a thread's, which wakes no loop
            await asyncio.sleep(_FRESH_S)
        if self._stalls != self._tools.beat.stalls:
            await self._verify()
        if self._is_ending or not self.receiver.is_served:
            await self._let_go()
        self.is_busy = True

    async def _verify(self) -> None:
        stalls = self._tools.beat.stalls
        me, epoch = self._tools.me, self._epoch
        if not await self._read(lambda connection: lanes.is_held(connection, me, self.key, epoch)):
            raise LaneLost
        self._stalls = stalls

    async def _until_due(self, load: Load) -> None:
        """Wait for the retry's time, or for somebody who asks to send this very delivery again."""
        while (wait_s := _seconds_until(load.delivery.next_attempt_at)) > 0:
            self._bell.clear()
            await self._leave_if_ending()
            await self._rest(wait_s)
            if self._has_queued and await self._read(lambda c: deliveries.is_queued(c, load.delivery.id)):
                await self._write(taken=load.delivery, due_at=clock.now())
                load.failures = 0
                break
            self._has_queued = False
        # Hours may have passed: the lane may be lost, the endpoint deleted or changed.
        await self._verify()
        ids = [self.receiver.id]
        for endpoint in await self._read(lambda connection: self._tools.store.named(connection, ids)):
            self.receiver.renew(endpoint)

    async def _settle(self, load: Load, result: Result) -> None:
        """Store a result, and with it the next cut where one is due: one transaction instead of two."""
        if result.status is DeliveryStatus.PENDING:
            await self._write(result=result, due_at=result.next_attempt_at or clock.now())
            return
        self._cursor = max(self._cursor, load.upto)
        if load.delivery.kind is DeliveryKind.EVENTS:
            # Of a resend they are lower than what was sent since.
            self._sent_seq = max(self._sent_seq, load.delivery.last_seq or 0)
        if load.delivery.kind is DeliveryKind.TURN:
            await self._close_callback()
        following = None
        if not self._is_ending and self._source.wait_s(time.monotonic()) == 0.0:
            following = await self._look()
        cut = following.delivery if following else None
        await self._write(result=result, cut=cut, due_at=cut.next_attempt_at if cut else None)
        self._load = following

    async def _close_callback(self) -> None:
        turn = self.receiver.id
        await self._tools.writer.run(lambda connection: endpoints.set_done(connection, turn, clock.now()))
        self._is_ending = True

    def _tell(self, load: Load, answer: Answer, result: Result) -> None:
        delivery = load.delivery
        if result.status is DeliveryStatus.DELIVERED and delivery.first_seq and delivery.last_seq:
            count = len(delivery.seqs) if delivery.seqs else delivery.last_seq - delivery.first_seq + 1
            metrics.DELIVERY_EVENTS.inc(count)
        if result.status is DeliveryStatus.DELIVERED and load.first_at is not None:
            metrics.DELIVERY_LAG_SECONDS.observe(max(0.0, (clock.now() - load.first_at).total_seconds()))
        if result.status is DeliveryStatus.DEAD:
            metrics.DELIVERY_DEAD.labels(result.dead_reason).inc()
        log.info(
            "delivery.attempted",
            delivery=delivery.id,
            endpoint=delivery.endpoint,
            session=delivery.session,
            attempt=delivery.attempts + 1,
            outcome=answer.outcome,
            status_code=answer.status_code,
            duration_s=round(answer.duration_s, 4),
            state=result.status,
        )

    # --------------------------------------------------------------------------- store and rest

    async def _leave_if_ending(self) -> None:
        if self._is_ending or not self.receiver.is_served:
            await self._let_go()

    async def _let_go(self) -> None:
        due_at = None
        if self._load is not None:
            due_at = self._load.delivery.next_attempt_at or clock.now()
        else:
            # What was only filtered out is written down now, if at all; looked through again it does no harm.
            self._cursor = max(self._cursor, self._source.looked_upto)
        await self._write(is_let_go=True, due_at=due_at)
        raise LaneLetGo

    async def _write(
        self,
        *,
        result: Result | None = None,
        cut: Delivery | None = None,
        taken: Delivery | None = None,
        due_at: datetime | None,
        is_let_go: bool = False,
    ) -> None:
        move = LaneMove(self.key, self._epoch, self._cursor, self._sent_seq, due_at, is_let_go)
        write = LaneWrite(move, result, cut, taken.id if taken else None)
        if not await self._tools.writer.write(write):
            raise LaneLost

    async def _read(self, work: Callable[[Connection], Found]) -> Found:
        while True:
            try:
                return await self._tools.reader.run(work)
            except Unavailable:
                await asyncio.sleep(_AGAIN_S)

    async def _rest(self, timeout_s: float) -> bool:
        """Wait for the bell; False: it did not ring in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._bell.wait()
                return True
        return False


def _seconds_until(moment: datetime | None) -> float:
    return 0.0 if moment is None else (moment - clock.now()).total_seconds()
