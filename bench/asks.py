"""How long an ask takes to reach a human, and the answer to reach the agent, by the clocks of both ends."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import aiohttp

from bench.machine import percentile
from bench.report import Desk
from bench.scenarios import Bench, connected

SCRIPT = "clock; permission Bash ls; clock"
"""The agent says its time, asks in the same moment, and says its time when it has read the answer."""


async def asks(bench: Bench, desk: Desk) -> None:
    """Asks answered one after the other, then turns cancelled while they ask."""
    rounds = max(10, int(40 * bench.scale))
    async with connected() as http:
        session = await bench.session(http, mode="interactive", limits={"turn_s": 60})
        async with aclosing(_events(http, bench, session)) as events, asyncio.timeout(110):
            answered = [await _answered(bench, http, session, events) for _ in range(rounds)]
            cancelled = [await _cancelled(bench, http, session, events) for _ in range(rounds)]
        await bench.post(http, f"/sessions/{session}/terminate", {})
    _tell(desk, "ask: agent's frame to its event at an SSE reader", [one for one, _ in answered], 100)
    _tell(desk, "ask: answer's POST to the agent's stdin", [one for _, one in answered], 50)
    _tell(desk, "cancel of a turn that asks: receipt", [one for one, _ in cancelled], 200)
    _tell(desk, "cancel of a turn that asks: its end at an SSE reader", [one for _, one in cancelled], None)


async def _answered(
    bench: Bench, http: aiohttp.ClientSession, session: str, events: AsyncIterator[tuple[int, Any]]
) -> tuple[float, float]:
    """Seconds from the agent's frame to the reader, and from the POST to the agent's stdin."""
    await bench.post(http, f"/sessions/{session}/prompts", {"text": SCRIPT})
    asked_ns = await _clock(events)
    seen_ns, ask = await _next(events, "permission_request")
    posted_ns = time.time_ns()
    await bench.post(http, f"/asks/{ask['data']['ask_id']}/answer", {"decision": "allow"})
    read_ns = await _clock(events)
    await _next(events, "turn_ended")
    return (seen_ns - asked_ns) / 1e9, (read_ns - posted_ns) / 1e9


async def _cancelled(
    bench: Bench, http: aiohttp.ClientSession, session: str, events: AsyncIterator[tuple[int, Any]]
) -> tuple[float, float]:
    """Seconds from the POST to its answer, and to the turn's end at the reader."""
    await bench.post(http, f"/sessions/{session}/prompts", {"text": SCRIPT})
    await _next(events, "permission_request")
    posted_ns = time.time_ns()
    await bench.post(http, f"/sessions/{session}/cancel", {})
    receipt_ns = time.time_ns()
    ended_ns, _ = await _next(events, "turn_ended")
    return (receipt_ns - posted_ns) / 1e9, (ended_ns - posted_ns) / 1e9


async def _events(http: aiohttp.ClientSession, bench: Bench, session: str) -> AsyncIterator[tuple[int, Any]]:
    """Each event of a session, with the moment it came."""
    headers = {"Authorization": f"Bearer {bench.client.key}", "Accept": "text/event-stream"}
    url = f"{bench.client.url}/v1/sessions/{session}/events"
    async with http.get(url, headers=headers, timeout=aiohttp.ClientTimeout()) as answer:
        answer.raise_for_status()
        async for line in answer.content:
            if line.startswith(b"data:"):
                yield time.time_ns(), json.loads(line[5:])


async def _next(events: AsyncIterator[tuple[int, Any]], kind: str) -> tuple[int, Any]:
    async for at_ns, event in events:
        if event["type"] == kind:
            return at_ns, event
    raise AssertionError(kind)


async def _clock(events: AsyncIterator[tuple[int, Any]]) -> int:
    """The time the agent says next."""
    while True:
        _, event = await _next(events, "message")
        if event["data"]["text"].isdecimal():
            return int(event["data"]["text"])


def _tell(desk: Desk, what: str, took_s: list[float], goal_ms: float | None) -> None:
    p99 = percentile(took_s, 0.99) * 1000
    raw = f"p50 {percentile(took_s, 0.5) * 1000:.1f} ms"
    if goal_ms is None:
        desk.tell(f"{what}, p99", p99, "ms", raw=raw)
    else:
        desk.at_most(f"{what}, p99", p99, "ms", goal_ms, raw=raw)
