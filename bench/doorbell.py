"""How fast a doorbell is: from a prompt's acceptance to its `turn_started`, with the sweep switched off."""

from __future__ import annotations

import asyncio
from datetime import datetime

import aiohttp

from bench.machine import percentile
from bench.report import Desk
from bench.scenarios import Bench, connected

QUIET = "quiet"
"""A worker without a sweep: what is not rung there is not heard."""


async def doorbell(bench: Bench, desk: Desk) -> None:
    """Prompts to an idle session of a worker that hears of them by its doorbell alone."""
    worker = await asyncio.to_thread(bench.fleet.worker, QUIET, CORRAL_SWEEP_S="3600")
    try:
        async with connected() as http:
            session, others = await _hosted_by(bench, http, QUIET)
            took_s = [await _ring(bench, http, session) for _ in range(max(30, int(200 * bench.scale)))]
            for one in (session, *others):
                await bench.post(http, f"/sessions/{one}/terminate", {})
    finally:
        await asyncio.to_thread(worker.end)
    desk.at_most(
        "prompt accepted to turn_started, sweep off, p50",
        percentile(took_s, 0.5) * 1000,
        "ms",
        20,
        raw=f"p99 {percentile(took_s, 0.99) * 1000:.0f} ms",
    )


async def _hosted_by(bench: Bench, http: aiohttp.ClientSession, worker: str) -> tuple[str, list[str]]:
    """An idle session of that worker, and those that went elsewhere until there was one."""
    others: list[str] = []
    for _ in range(200):
        session = await bench.session(http)
        if bench.client.get(f"/sessions/{session}")["worker"] == worker:
            return session, others
        others.append(session)
    msg = f"{worker} took none of {len(others)} sessions"
    raise TimeoutError(msg)


async def _ring(bench: Bench, http: aiohttp.ClientSession, session: str) -> float:
    before = bench.client.get(f"/sessions/{session}")["last_seq"]
    await bench.post(http, f"/sessions/{session}/prompts?wait_s=30", {"text": "say x"})
    log = bench.client.get(f"/sessions/{session}/events", after=before, limit=200)["data"]
    at = {event["type"]: event["created_at"] for event in log}
    begun, heard = (datetime.fromisoformat(at[kind]) for kind in ("turn_queued", "turn_started"))
    return (heard - begun).total_seconds()
