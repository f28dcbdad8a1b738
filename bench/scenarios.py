"""What is measured. Each scenario gets a running fleet of real processes and takes down its figures."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from bench.machine import Used, percentile, used
from bench.readers import Receiver, Seen, read_sse, receiving
from bench.report import Desk
from tests.fixtures.fleet import Client, Fleet, Process


@dataclass(frozen=True, slots=True)
class Bench:
    """A fleet with one of each process, and a client."""

    fleet: Fleet
    client: Client
    api: Process
    worker: Process
    delivery: Process
    scale: float
    """1 for the whole measurement, less for a slice."""

    def use(self) -> dict[str, Used]:
        """What each process has used so far."""
        return {name: used(process.popen.pid) for name, process in self._named().items()}

    def _named(self) -> dict[str, Process]:
        return {"api": self.api, "worker": self.worker, "delivery": self.delivery}

    async def post(self, http: aiohttp.ClientSession, path: str, body: object) -> Any:
        """One POST that must succeed."""
        headers = {"Authorization": f"Bearer {self.client.key}"}
        async with http.post(f"{self.client.url}/v1{path}", json=body, headers=headers) as answer:
            assert answer.status < 300, (answer.status, await answer.text())
            return await answer.json()

    async def session(self, http: aiohttp.ClientSession, **wishes: Any) -> str:
        """An idle demo session."""
        made = await self.post(http, "/sessions", {"agent": "demo", "mode": "accept_edits", **wishes})
        deadline = time.monotonic() + 60
        headers = {"Authorization": f"Bearer {self.client.key}"}
        while time.monotonic() < deadline:
            url = f"{self.client.url}/v1/sessions/{made['id']}"
            async with http.get(url, headers=headers) as answer:
                if (await answer.json())["status"] == "idle":
                    return str(made["id"])
            await asyncio.sleep(0.05)
        raise TimeoutError(made["id"])


@asynccontextmanager
async def connected() -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP client without limits of its own."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=120)) as http:
        yield http


async def start(bench: Bench, desk: Desk) -> None:
    """From the start call to the agent's first event, and the agent's own first byte beside it."""
    bare_s = [await _bare_start() for _ in range(5)]
    took_s: list[float] = []
    async with connected() as http:
        for _ in range(max(5, int(20 * bench.scale))):
            began = time.monotonic()
            made = await bench.post(http, "/sessions", {"agent": "demo", "mode": "accept_edits", "prompt": "say hello"})
            first = await _first(http, bench, made["id"])
            took_s.append(first - began)
    bare, whole = percentile(bare_s, 0.5) * 1000, percentile(took_s, 0.5) * 1000
    desk.at_most(
        "start call to first agent event over the agent's own first byte, p50",
        whole - bare,
        "ms",
        40,
        raw=f"agent alone {bare:.0f} ms, whole {whole:.0f} ms",
    )


async def _bare_start() -> float:
    import sys  # noqa: PLC0415

    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "cli.demo_agent",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b'{"type":"control_request","request_id":"r","request":{"subtype":"initialize"}}\n')
    await process.stdout.readline()
    took = time.monotonic() - began
    process.kill()
    await process.wait()
    return took


async def _first(http: aiohttp.ClientSession, bench: Bench, session: str) -> float:
    headers = {"Authorization": f"Bearer {bench.client.key}", "Accept": "text/event-stream"}
    async with http.get(f"{bench.client.url}/v1/sessions/{session}/events", headers=headers) as answer:
        async for line in answer.content:
            if line.startswith(b"event:") and line.split()[1] in {b"message_chunk", b"message"}:
                return time.monotonic()
    raise AssertionError(session)


async def flood(bench: Bench, desk: Desk) -> None:
    """One agent prints as fast as it can: to the SSE reader and through one webhook lane."""
    count = int(10_000 * max(bench.scale, 0.3))
    async with connected() as http, receiving() as receiver:
        session = await bench.session(http, webhook={"url": f"{receiver.url}/a"})
        seen, hooked = Seen(), receiver.of(session)
        async with asyncio.TaskGroup() as group:
            group.create_task(read_sse(http, bench.client.url, bench.client.key, session, seen))
            await asyncio.sleep(0.2)
            began = time.monotonic()
            await bench.post(http, f"/sessions/{session}/prompts", {"text": f"flood {count} 64"})
            async with asyncio.timeout(120):
                await seen.ended.wait()
                await hooked.ended.wait()
    raw = await _raw_flood(count)
    desk.at_least("flood: durable and at the SSE reader", count / (seen.ended_at - began), "events/s", 10_000, raw=raw)
    desk.at_least("flood: through one webhook lane", count / (hooked.ended_at - began), "events/s", 5_000, raw=raw)
    desk.at_most("flood: events out of order or missed", seen.breaks + hooked.breaks, "events", 0)


async def _raw_flood(count: int) -> str:
    """How fast the agent alone prints into a pipe that somebody empties."""
    line = b'{"type":"tool_output","text":"%s"}\n' % (b"x" * 64)
    process = await asyncio.create_subprocess_exec(
        "head", "-c", str(len(line) * count), "/dev/zero", stdout=asyncio.subprocess.PIPE
    )
    began = time.monotonic()
    assert process.stdout is not None
    await process.stdout.read(-1)
    await process.wait()
    return f"a pipe alone {count / max(time.monotonic() - began, 1e-6):,.0f} lines/s"


async def stalled(bench: Bench, desk: Desk) -> None:
    """A reader that takes nothing while 60,000 events pass: nothing is lost, the API stays small."""
    count = int(60_000 * max(bench.scale, 0.2))
    async with connected() as http:
        session = await bench.session(http)
        before = used(bench.api.popen.pid).rss
        host, port = bench.client.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=2**16)
        writer.write(
            f"GET /v1/sessions/{session}/events HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\n"
            f"Authorization: Bearer {bench.client.key}\r\n\r\n".encode()
        )
        await reader.readuntil(b"\r\n\r\n")
        turn = await bench.post(http, f"/sessions/{session}/prompts", {"text": f"flood {count} 64"})
        peak = before
        over = {"completed", "failed", "cancelled", "interrupted"}
        headers = {"Authorization": f"Bearer {bench.client.key}"}
        async with asyncio.timeout(120):
            while True:
                async with http.get(f"{bench.client.url}/v1/turns/{turn['id']}", headers=headers) as answer:
                    if (await answer.json())["status"] in over:
                        break
                peak = max(peak, used(bench.api.popen.pid).rss)
                await asyncio.sleep(0.1)
        last, lost = 0, 0
        async with asyncio.timeout(60):
            while True:
                line = await reader.readline()
                if line.startswith(b"id:"):
                    seq = int(line[3:])
                    lost += seq - last - 1
                    last = seq
                if line.startswith(b"event:") and line.split()[1] == b"turn_ended":
                    break
        peak = max(peak, used(bench.api.popen.pid).rss)
        writer.close()
    desk.at_most(f"stalled reader, {count:,} events: lost", lost, "events", 0)
    desk.at_most("stalled reader: API memory more than before", (peak - before) / 2**20, "MB", 16)


async def prompts(bench: Bench, desk: Desk) -> None:
    """How long a prompt takes to be accepted while others stream."""
    seconds = max(4.0, 12 * bench.scale)
    async with connected() as http:
        target = await bench.session(http)
        streaming = [await bench.session(http) for _ in range(5)]
        for session in streaming:
            await bench.post(http, f"/sessions/{session}/prompts", {"text": f"rate 1000 {seconds + 3:g}"})
        await asyncio.sleep(1.0)
        steady = await _accept(bench, http, target, seconds)
        for session in streaming:
            await bench.post(http, f"/sessions/{session}/cancel", {})
        loud = await bench.session(http)
        await bench.post(http, f"/sessions/{loud}/prompts", {"text": "flood 400000 64"})
        flat_out = await _accept(bench, http, target, min(seconds, 5.0))
        await bench.post(http, f"/sessions/{loud}/terminate", {})
    desk.at_most(
        "prompt accepted while 5,000 events/s stream, p99",
        percentile(steady, 0.99) * 1000,
        "ms",
        20,
        raw=f"p50 {percentile(steady, 0.5) * 1000:.1f} ms",
    )
    desk.at_most(
        "prompt accepted while an agent prints flat out, p99",
        percentile(flat_out, 0.99) * 1000,
        "ms",
        50,
        raw=f"p50 {percentile(flat_out, 0.5) * 1000:.1f} ms",
    )


async def _accept(bench: Bench, http: aiohttp.ClientSession, session: str, seconds: float) -> list[float]:
    took: list[float] = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        began = time.monotonic()
        turn = await bench.post(http, f"/sessions/{session}/prompts", {"text": "say x"})
        took.append(time.monotonic() - began)
        if len(took) % 20 == 0:
            # The line of one session is bounded: let it empty.
            await bench.post(http, f"/turns/{turn['id']}/cancel", {})
        await asyncio.sleep(0.05)
    return took


async def steady(bench: Bench, desk: Desk) -> None:
    """100 sessions at 10 events a second: delays, and what each process costs."""
    sessions, seconds = int(100 * max(bench.scale, 0.2)), max(10.0, 60 * bench.scale)
    async with connected() as http, receiving() as receiver:
        idle = bench.use()
        made = [await bench.session(http, webhook={"url": f"{receiver.url}/a"}) for _ in range(sessions)]
        seen = [Seen() for _ in made]
        async with asyncio.TaskGroup() as group:
            for session, one in zip(made, seen, strict=True):
                group.create_task(read_sse(http, bench.client.url, bench.client.key, session, one))
            await asyncio.sleep(1.0)
            before = bench.use()
            for session in made:
                await bench.post(http, f"/sessions/{session}/prompts", {"text": f"rate 10 {seconds:g}"})
            async with asyncio.timeout(seconds + 60):
                for one in seen:
                    await one.ended.wait()
            after = bench.use()
            await asyncio.sleep(1.0)
        _tell_steady(desk, seen, receiver)
        _tell_costs(desk, before, after, sum(one.count for one in seen))
        _tell_memory(desk, idle, after, sessions)
        for session in made:
            await bench.post(http, f"/sessions/{session}/terminate", {})


def _tell_steady(desk: Desk, seen: Sequence[Seen], receiver: Receiver) -> None:
    delays = [delay for one in seen for delay in one.delays_s]
    desk.at_most(
        "agent's write to SSE reader, p99",
        percentile(delays, 0.99) * 1000,
        "ms",
        60,
        raw=f"p50 {percentile(delays, 0.5) * 1000:.1f} ms",
    )
    desk.at_most("commit to webhook, p50", percentile(receiver.delays_s, 0.5) * 1000, "ms", 150)
    desk.at_most("commit to webhook, p99", percentile(receiver.delays_s, 0.99) * 1000, "ms", 300)
    breaks = sum(one.breaks for one in seen) + sum(one.breaks for one in receiver.sessions.values())
    desk.at_most("events out of order or missed", breaks, "events", 0)


def _tell_costs(desk: Desk, before: dict[str, Used], after: dict[str, Used], events: int) -> None:
    for name, end in after.items():
        cost = (end.cpu_s - before[name].cpu_s) / events * 1e6
        if name == "worker":
            desk.at_most("CPU per event, worker", cost, "µs", 250)
        else:
            desk.tell(f"CPU per event, {name}", cost, "µs")


def _tell_memory(desk: Desk, idle: dict[str, Used], after: dict[str, Used], sessions: int) -> None:
    desk.at_most("resident, api", after["api"].rss / 2**20, "MB", 150)
    desk.at_most("resident, delivery", after["delivery"].rss / 2**20, "MB", 100)
    desk.at_most(
        f"resident, worker with {sessions} sessions",
        after["worker"].rss / 2**20,
        "MB",
        120 + 0.3 * sessions,
        raw=f"idle {idle['worker'].rss / 2**20:.0f} MB",
    )


async def lanes(bench: Bench, desk: Desk) -> None:
    """50 lanes over 23 endpoints at 1,500 events a second, then with 3 endpoints that never answer."""
    seconds = max(8.0, 15 * bench.scale)
    names = [f"e{number}" for number in range(23)]
    base = await _lanes(bench, names, frozenset(), seconds)
    hung = frozenset(f"/{name}" for name in names[:3])
    with_hung = await _lanes(bench, names, hung, seconds)
    desk.at_least("50 lanes: delivered", base.rate, "events/s", 1000)
    desk.at_least("3 of 23 endpoints hang: the healthy ones' share", with_hung.share * 100, "%", 100)
    desk.at_most(
        "3 of 23 endpoints hang: healthy p99",
        with_hung.p99_s * 1000,
        "ms",
        base.p99_s * 1500,
        raw=f"without {base.p99_s * 1000:.0f} ms",
    )


@dataclass(frozen=True, slots=True)
class _Lanes:
    rate: float
    share: float
    p99_s: float


async def _lanes(bench: Bench, names: list[str], hung: frozenset[str], seconds: float) -> _Lanes:
    async with connected() as http, receiving(hung) as receiver:
        made: dict[str, str] = {}
        for number in range(50):
            name = names[number % len(names)]
            made[await bench.session(http, webhook={"url": f"{receiver.url}/{name}"})] = f"/{name}"
        began = time.monotonic()
        for session in made:
            await bench.post(http, f"/sessions/{session}/prompts", {"text": f"rate 30 {seconds:g}"})
        healthy = [session for session, path in made.items() if path not in hung]
        async with asyncio.TaskGroup() as group:
            for session in healthy:
                group.create_task(_ended(receiver.of(session), seconds + 30))
        took = max(receiver.of(session).ended_at for session in healthy) - began
        got = sum(receiver.of(session).count for session in healthy)
        whole = sum(1 for session in healthy if receiver.of(session).ended.is_set()) / len(healthy)
        for session in made:
            await bench.post(http, f"/sessions/{session}/terminate", {})
        return _Lanes(got / took, whole, percentile(receiver.delays_s, 0.99))


async def _ended(seen: Seen, timeout_s: float) -> None:
    try:
        await asyncio.wait_for(seen.ended.wait(), timeout_s)
    except TimeoutError:
        return


async def loss(bench: Bench, desk: Desk) -> None:
    """Kill -9 of a worker with 50 sessions, a second one beside it: how long until each turn has its terminal event."""
    count = int(50 * max(bench.scale, 0.2))
    async with connected() as http:
        made = [await bench.session(http) for _ in range(count)]
        seen = [Seen() for _ in made]
        second = await asyncio.to_thread(bench.fleet.worker, "second", CORRAL_WORKER_CAPACITY="200")
        async with asyncio.TaskGroup() as group:
            for session, one in zip(made, seen, strict=True):
                group.create_task(read_sse(http, bench.client.url, bench.client.key, session, one))
            for session in made:
                await bench.post(http, f"/sessions/{session}/prompts", {"text": "rate 10 120"})
            await asyncio.sleep(2.0)
            killed = time.monotonic()
            bench.worker.popen.kill()
            async with asyncio.timeout(60):
                for one in seen:
                    await one.ended.wait()
        took = [one.ended_at - killed for one in seen]
        _ = second
    desk.at_most(f"kill -9 of a worker with {count} sessions: terminal event, p95", percentile(took, 0.95), "s", 10)
    desk.at_most("… the last one", max(took), "s", 15)


ALL = (start, flood, stalled, prompts, steady, lanes, loss)
"""In this order: the last one ends with a worker killed."""

RESULTS = Path(__file__).with_name("results.md")
