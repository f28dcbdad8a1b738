"""What MCP costs beside REST: the same operation both ways, calls a second of one process, memory of open streams."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

from bench.machine import percentile, used
from bench.report import Desk
from bench.scenarios import Bench, connected
from tests.fixtures.mcp_clients import modern_request

CALLERS = 32
STREAMS = 200
MIB = 2**20

Ask = Callable[[], Awaitable[object]]


async def mcp(bench: Bench, desk: Desk) -> None:
    """`session_get` beside `GET /v1/sessions/{id}`, by one caller and by many; then streams of the older transport."""
    pid = bench.api.popen.pid
    before = used(pid).rss
    async with connected() as http:
        session = await bench.session(http)
        rest, tool = _asks(bench, http, session)
        await tool()
        loaded = used(pid).rss
        await _compare(desk, bench, rest, tool)
        await _flood(desk, bench, rest, tool)
        await bench.post(http, f"/sessions/{session}/terminate", {})
    desk.at_most(
        "resident API with MCP loaded", loaded / MIB, "MiB", 150, raw=f"{before / MIB:.0f} MiB before the first call"
    )
    await _hold_streams(desk, bench)


def _asks(bench: Bench, http: aiohttp.ClientSession, session: str) -> tuple[Ask, Ask]:
    headers = {"Authorization": f"Bearer {bench.client.key}"}
    call = {"name": "session_get", "arguments": {"sessionId": session}}
    named, body = modern_request("tools/call", call)

    async def rest() -> object:
        async with http.get(f"{bench.client.url}/v1/sessions/{session}", headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def tool() -> object:
        async with http.post(f"{bench.client.url}/mcp", json=body, headers={**headers, **named}) as answer:
            told: Any = await answer.json()
            assert told["result"]["structuredContent"]["sessionId"] == session, told
            return told

    return rest, tool


async def _compare(desk: Desk, bench: Bench, rest: Ask, tool: Ask) -> None:
    """One caller, turn and turn about, so that a busy moment of the machine hits both."""
    rest_s: list[float] = []
    tool_s: list[float] = []
    for _ in range(max(50, int(500 * bench.scale))):
        rest_s.append(await _timed(rest))
        tool_s.append(await _timed(tool))
    over_ms = (percentile(tool_s, 0.5) - percentile(rest_s, 0.5)) * 1000
    raw = f"REST p50 {percentile(rest_s, 0.5) * 1000:.1f} ms, tool p50 {percentile(tool_s, 0.5) * 1000:.1f} ms"
    desk.at_most("tools/call over the REST operation, p50", over_ms, "ms", 5, raw=raw)


async def _timed(ask: Ask) -> float:
    began = time.perf_counter()
    await ask()
    return time.perf_counter() - began


async def _flood(desk: Desk, bench: Bench, rest: Ask, tool: Ask) -> None:
    seconds = max(2.0, 10 * bench.scale)
    pid = bench.api.popen.pid
    calls, call_ms = await _per_second(tool, seconds, pid)
    requests, request_ms = await _per_second(rest, seconds, pid)
    raw = f"{call_ms:.1f} ms CPU a call; REST {requests:.0f} /s, {request_ms:.1f} ms CPU a request"
    desk.at_least("tools/call of one API process, 32 callers", calls, "/s", 500, raw=raw)


async def _per_second(ask: Ask, seconds: float, pid: int) -> tuple[float, float]:
    """How many were answered a second, and the milliseconds of CPU each cost the process."""
    count, before_s = 0, used(pid).cpu_s
    until = time.monotonic() + seconds

    async def caller() -> None:
        nonlocal count
        while time.monotonic() < until:
            await ask()
            count += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(CALLERS):
            group.create_task(caller())
    return count / seconds, (used(pid).cpu_s - before_s) / count * 1000


async def _hold_streams(desk: Desk, bench: Bench) -> None:
    pid = bench.api.popen.pid
    before = used(pid).rss
    headers = {"Authorization": f"Bearer {bench.client.key}"}
    async with connected() as http:
        streams = []
        for _ in range(STREAMS):
            answer = await http.get(f"{bench.client.url}/sse", headers=headers, timeout=None)
            assert answer.status == 200, await answer.text()
            await answer.content.readline()
            streams.append(answer)
        grown = used(pid).rss - before
        for answer in streams:
            answer.close()
    desk.tell(
        "memory of 200 streams of the older transport", grown / MIB, "MiB", raw=f"{grown / STREAMS / 1024:.0f} KiB each"
    )
