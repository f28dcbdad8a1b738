"""The gate to one endpoint: so many requests at once, so many a second, and none while its breaker is open."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from workers.delivery.breaker import Breaker, BreakerTimes


@dataclass(slots=True)
class Passage:
    """One request through the gate; whoever made it says what came of it."""

    delivered: bool | None = None
    """None: no request was made."""


class Gate:
    """What all lanes of one endpoint pass, in the order they came."""

    def __init__(self, *, concurrency: int, rate_per_s: float | None, times: BreakerTimes) -> None:
        self.breaker = Breaker(times)
        self._times = times
        self._concurrency = concurrency
        self._slots = asyncio.Semaphore(concurrency)
        self._gap_s = 1 / rate_per_s if rate_per_s else 0.0
        self._next_at = 0.0
        self._changed = asyncio.Event()

    def suits(self, *, concurrency: int, rate_per_s: float | None) -> bool:
        """Whether the gate has these bounds."""
        return concurrency == self._concurrency and self._gap_s == (1 / rate_per_s if rate_per_s else 0.0)

    @asynccontextmanager
    async def passage(self) -> AsyncIterator[Passage]:
        """Wait for a place, then hold it."""
        async with self._slots:
            await self._pace()
            await self._admitted()
            passed = Passage()
            try:
                yield passed
            finally:
                self._leave(passed)

    def _leave(self, passed: Passage) -> None:
        if passed.delivered is None:
            self.breaker.give_up()
        else:
            self.breaker.record(delivered=passed.delivered, now=time.monotonic())
        self._changed.set()
        self._changed = asyncio.Event()

    async def _admitted(self) -> None:
        while not self.breaker.admit(time.monotonic()):
            wait_s = self.breaker.wait_s(time.monotonic())
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()

    async def _pace(self) -> None:
        if not self._gap_s:
            return
        now = time.monotonic()
        turn = max(now, self._next_at)
        self._next_at = turn + self._gap_s
        await asyncio.sleep(turn - now)
