"""The two threads that speak SQL: one writer, which commits what many lanes have to say at once, and one reader."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, Self, TypeVar

import structlog

from shared.domain.errors import Unavailable
from shared.domain.ids import DeliveryId, Incarnation
from shared.domain.webhook import Delivery
from shared.store import deliveries, lanes
from shared.store.database import Connection, Database
from shared.store.deliveries import Result
from shared.store.lanes import LaneMove

log = structlog.get_logger(__name__)

Answer = TypeVar("Answer")

BATCH = 200
_RETRY_S = (0.1, 0.25, 0.5, 1.0)


@dataclass(frozen=True, slots=True)
class LaneWrite:
    """What a lane has to say in one transaction."""

    move: LaneMove
    result: Result | None = None
    cut: Delivery | None = None
    taken: DeliveryId | None = None


def write_lanes(connection: Connection, me: Incarnation, writes: Sequence[LaneWrite]) -> list[bool]:
    """Write for each lane that is still mine; whether it was. Safe to repeat."""
    if not writes:
        return []
    mine = lanes.still_held(connection, me, {one.move.key: one.move.epoch for one in writes})
    kept = [one for one in writes if one.move.key in mine]
    deliveries.finish(connection, [one.result for one in kept if one.result])
    deliveries.store(connection, [one.cut for one in kept if one.cut])
    for one in kept:
        if one.taken:
            deliveries.take(connection, one.taken)
    lanes.move(connection, [one.move for one in kept])
    return [one.move.key in mine for one in writes]


@dataclass(slots=True)
class _Job(Generic[Answer]):
    work: LaneWrite | Callable[[Connection], Answer]
    future: asyncio.Future[Answer]


class SqlThread:
    """Runs jobs in the order they came, as many as wait in one transaction, at most one transaction per `gap_s`.

    A lone job runs at once. While the database is away a writer goes on trying, since what it holds has happened
    already; a reader tells, and is asked again.
    """

    def __init__(self, database: Database, me: Incarnation, *, writes: bool, gap_s: float = 0.0) -> None:
        self._database = database
        self._me = me
        self._writes = writes
        self._gap_s = gap_s
        self._jobs: deque[_Job[object]] = deque()
        self._some = threading.Condition()
        self._is_closing = False
        self._hurries = threading.Event()
        self._thread = threading.Thread(target=self._run, name="writer" if writes else "reader", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        """What was handed in is still tried once."""
        with self._some:
            self._is_closing = True
            self._hurries.set()
            self._some.notify()
        self._thread.join(timeout=15.0)

    async def run(self, work: Callable[[Connection], Answer]) -> Answer:
        """Run `work` in a transaction, with others' work before and after it.

        Raises:
            DatabaseAway: of a reader, and of a writer that is closing.
        """
        return await self._put(_Job(work, asyncio.get_running_loop().create_future()))

    async def write(self, one: LaneWrite) -> bool:
        """Write what a lane has to say; False: the lane is not mine any more, and nothing was written."""
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        return await self._put(_Job(one, future))

    async def _put(self, job: _Job[Answer]) -> Answer:
        with self._some:
            self._jobs.append(job)  # type: ignore[arg-type] # the deque holds jobs of all answers
            self._some.notify()
        return await job.future

    def _run(self) -> None:
        ended_at = 0.0
        while batch := self._take(ended_at + self._gap_s):
            self._settle(batch)
            ended_at = time.monotonic()

    def _take(self, not_before: float) -> list[_Job[object]]:
        with self._some:
            while not self._jobs and not self._is_closing:
                self._some.wait()
        self._hurries.wait(max(0.0, not_before - time.monotonic()))
        with self._some:
            return [self._jobs.popleft() for _ in range(min(BATCH, len(self._jobs)))]

    def _settle(self, batch: Sequence[_Job[object]]) -> None:
        try:
            _tell(batch, self._answers(batch))
        except Unavailable as problem:
            _tell_all(batch, problem)
        except Exception as problem:
            # One bad job must not take the others with it: each alone.
            if len(batch) == 1:
                log.exception("delivery.sql_failed")
                _tell_all(batch, problem)
                return
            for job in batch:
                self._settle([job])

    def _answers(self, batch: Sequence[_Job[object]]) -> list[object]:
        tries = 0
        while True:
            try:
                with self._database.write() if self._writes else self._database.read() as connection:
                    return self._transact(connection, batch)
            except Unavailable:
                if not self._writes or self._is_closing:
                    raise
                log.warning("delivery.database_away", waiting=len(batch))
                self._hurries.wait(_RETRY_S[min(tries, len(_RETRY_S) - 1)])
                tries += 1

    def _transact(self, connection: Connection, batch: Sequence[_Job[object]]) -> list[object]:
        writes = [job.work for job in batch if isinstance(job.work, LaneWrite)]
        written = iter(write_lanes(connection, self._me, writes))
        return [next(written) if isinstance(job.work, LaneWrite) else job.work(connection) for job in batch]


def _tell(batch: Sequence[_Job[object]], answers: Sequence[object]) -> None:
    def settle() -> None:
        for job, answer in zip(batch, answers, strict=True):
            if not job.future.done():
                job.future.set_result(answer)

    _soon(batch, settle)


def _tell_all(batch: Sequence[_Job[object]], problem: Exception) -> None:
    def settle() -> None:
        for job in batch:
            if not job.future.done():
                job.future.set_exception(problem)

    _soon(batch, settle)


def _soon(batch: Sequence[_Job[object]], settle: Callable[[], None]) -> None:
    try:
        batch[0].future.get_loop().call_soon_threadsafe(settle)
    except RuntimeError:
        log.debug("delivery.loop_closed")
