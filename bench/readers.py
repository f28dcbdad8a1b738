"""The other ends: an SSE reader that keeps when each event came, and a webhook receiver that does the same."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web


@dataclass(slots=True)
class Seen:
    """What one reader got: seqs in order, and for events that carry their agent's time the delay in seconds."""

    last: int = 0
    count: int = 0
    breaks: int = 0
    """Events that were not the next in line: must stay 0."""
    delays_s: list[float] = field(default_factory=list)
    ended_at: float = 0.0
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, event: dict[str, object], now_ns: int) -> None:
        """One event came."""
        seq = int(str(event["seq"]))
        self.breaks += seq != self.last + 1
        self.last = seq
        self.count += 1
        data = event["data"]
        if isinstance(data, dict) and "at_ns" in data:
            self.delays_s.append((now_ns - int(data["at_ns"])) / 1e9)
        if event["type"] == "turn_ended":
            self.ended_at = time.monotonic()
            self.ended.set()


async def read_sse(http: aiohttp.ClientSession, url: str, key: str, session: str, seen: Seen) -> None:
    """Read a session's events until its turn ends."""
    headers = {"Authorization": f"Bearer {key}", "Accept": "text/event-stream"}
    async with http.get(f"{url}/v1/sessions/{session}/events", headers=headers, timeout=None) as answer:
        answer.raise_for_status()
        tail = b""
        async for chunk in answer.content.iter_any():
            now_ns = time.time_ns()
            *lines, tail = (tail + chunk).split(b"\n")
            for line in lines:
                if line.startswith(b"data:"):
                    seen.take(json.loads(line[5:]), now_ns)
            if seen.ended.is_set():
                return


@dataclass(slots=True)
class Receiver:
    """A webhook receiver. Keeps one `Seen` a session; `hangs` names paths that never answer."""

    url: str = ""
    sessions: dict[str, Seen] = field(default_factory=dict)
    requests: int = 0
    delays_s: list[float] = field(default_factory=list)
    """Seconds from the commit of each event to its arrival."""

    def of(self, session: str) -> Seen:
        """What came of one session."""
        return self.sessions.setdefault(session, Seen())


@asynccontextmanager
async def receiving(hang: frozenset[str] = frozenset()) -> AsyncIterator[Receiver]:
    """A receiver on a port of its own."""
    made = Receiver()
    forever = asyncio.Event()

    async def take(request: web.Request) -> web.Response:
        if request.path in hang:
            await forever.wait()
        body = await request.read()
        now_ns = time.time_ns()
        made.requests += 1
        told = json.loads(body)
        seen = made.of(told["session_id"])
        for event in told["events"]:
            seen.take(event, now_ns)
            made.delays_s.append(now_ns / 1e9 - _epoch(event["created_at"]))
        return web.Response(status=204)

    app = web.Application(client_max_size=16 * 2**20)
    app.router.add_post("/{name}", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield made
    finally:
        forever.set()
        await runner.cleanup()


def _epoch(text: str) -> float:
    from datetime import datetime  # noqa: PLC0415

    return datetime.fromisoformat(text).timestamp()
