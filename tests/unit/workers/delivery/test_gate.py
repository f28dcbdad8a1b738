"""The gate: so many at once, so many a second, one probe while the breaker is open."""

from __future__ import annotations

import asyncio
import time

from workers.delivery.breaker import BreakerTimes
from workers.delivery.gate import Gate

QUICK = BreakerTimes(open_s=0.05, longest_s=0.05)


def gate(*, concurrency: int = 2, rate_per_s: float | None = None) -> Gate:
    return Gate(concurrency=concurrency, rate_per_s=rate_per_s, times=QUICK)


async def pass_once(through: Gate, *, delivered: bool | None = True, hold: asyncio.Event | None = None) -> float:
    async with through.passage() as passed:
        if hold:
            await hold.wait()
        passed.delivered = delivered
        return time.monotonic()


def test_no_more_pass_at_once_than_may():
    async def scenario() -> tuple[int, int]:
        through, hold = gate(concurrency=2), asyncio.Event()
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            tasks = [group.create_task(pass_once(through, hold=hold)) for _ in range(5)]
            await asyncio.sleep(0.05)
            inside = 2 - through._slots._value
            hold.set()
        return inside, sum(task.done() for task in tasks)

    assert asyncio.run(scenario()) == (2, 5)


def test_requests_keep_the_rate():
    async def scenario() -> list[float]:
        through = gate(concurrency=10, rate_per_s=50)
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            tasks = [group.create_task(pass_once(through)) for _ in range(6)]
        return sorted(task.result() for task in tasks)

    times = asyncio.run(scenario())

    assert times[-1] - times[0] >= 5 / 50 - 0.005


def test_an_open_breaker_lets_one_probe_out_and_its_success_all_others():
    async def scenario() -> tuple[int, int]:
        through, hold = gate(concurrency=10), asyncio.Event()
        for _ in range(5):
            await pass_once(through, delivered=False)
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            tasks = [group.create_task(pass_once(through, hold=hold)) for _ in range(8)]
            await asyncio.sleep(0.2)
            probing = through.breaker.wait_s(time.monotonic())
            hold.set()
        assert probing is None
        return sum(task.done() for task in tasks), int(through.breaker.is_closed)

    assert asyncio.run(scenario()) == (8, 1)


def test_a_cancelled_probe_makes_room_for_another():
    async def scenario() -> bool:
        through = gate(concurrency=3)
        for _ in range(5):
            await pass_once(through, delivered=False)
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            probe = group.create_task(pass_once(through, hold=asyncio.Event()))
            await asyncio.sleep(0.1)
            probe.cancel()
            await pass_once(through)
        return through.breaker.is_closed

    assert asyncio.run(scenario())
