"""A webhook receiver in a thread of its own: keeps everything it gets, verifies it, answers as each path is told."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from standardwebhooks.webhooks import Webhook

from tests.fixtures.waiting import eventually

Reaction = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Post:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float
    """Unix seconds."""

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def content(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.body)
        return parsed

    @property
    def seqs(self) -> list[int]:
        return [event["seq"] for event in self.content.get("events", ())]

    def is_signed_with(self, secret: str) -> bool:
        """Whether another implementation of the standard takes the signature; raises where it does not."""
        Webhook(secret).verify(self.body, self.headers)
        return True


def secret_of(number: int) -> str:
    return "whsec_" + base64.b64encode(number.to_bytes(32, "big")).decode()


def status(code: int, *, headers: dict[str, str] | None = None, text: str = "") -> Reaction:
    async def react(_: web.Request) -> web.StreamResponse:
        return web.Response(status=code, headers=headers, text=text)

    return react


def hang(seconds: float = 3600) -> Reaction:
    async def react(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(seconds)
        return web.Response()

    return react


def reset() -> Reaction:
    async def react(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    return react


def endless(*, pause_s: float, chunk: bytes, code: int = 200) -> Reaction:
    """A body that never ends: a chunk each `pause_s`."""

    async def react(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=code)
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            while True:
                await response.write(chunk)
                await asyncio.sleep(pause_s)
        return response

    return react


@dataclass(slots=True)
class Receiver:
    """Paths may be given reactions, used up one a request (the last one stays); all else is answered 200."""

    port: int = 0
    posts: list[Post] = field(default_factory=list)
    most_at_once: dict[str, int] = field(default_factory=dict)
    _reactions: dict[str, list[Reaction]] = field(default_factory=dict)
    _now: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def react(self, path: str, *reactions: Reaction) -> None:
        with self._lock:
            self._reactions[path] = list(reactions)

    def at(self, path: str) -> list[Post]:
        with self._lock:
            return [post for post in self.posts if post.path == path]

    def seqs(self, path: str) -> list[int]:
        """All events a path was told of, in the order they came, repeats and all."""
        return [seq for post in self.at(path) for seq in post.seqs]

    def wait_for(self, path: str, count: int, *, timeout_s: float = 10.0) -> list[Post]:
        eventually(lambda: len(self.at(path)) >= count, timeout_s=timeout_s, about=f"{count} posts at {path}")
        return self.at(path)

    def wait_for_seqs(self, path: str, wanted: list[int], *, timeout_s: float = 10.0) -> None:
        eventually(
            lambda: sorted(set(self.seqs(path))) == sorted(wanted),
            timeout_s=timeout_s,
            about=f"{len(wanted)} events at {path}",
        )

    async def take(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        with self._lock:
            self.posts.append(Post(request.path, headers, body, time.time()))
            self._now[request.path] = self._now.get(request.path, 0) + 1
            self.most_at_once[request.path] = max(self._now[request.path], self.most_at_once.get(request.path, 0))
            left = self._reactions.get(request.path, [])
            reaction = left.pop(0) if len(left) > 1 else left[0] if left else status(200)
        try:
            return await reaction(request)
        finally:
            with self._lock:
                self._now[request.path] -= 1


@contextlib.contextmanager
def receiving() -> Iterator[Receiver]:
    """A running receiver."""
    receiver = Receiver()
    started, loop = threading.Event(), asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        application = web.Application(client_max_size=8 * 1024 * 1024)
        application.router.add_route("*", "/{path:.*}", receiver.take)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        receiver.port = runner.addresses[0][1]
        started.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), name="receiver", daemon=True)
    thread.start()
    assert started.wait(5)
    try:
        yield receiver
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        if not thread.is_alive():
            loop.close()
