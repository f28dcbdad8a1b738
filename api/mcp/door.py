"""Where MCP comes in over HTTP: host, origin, key and rate limit are seen to here, before the SDK hears of a request.

The SDK behind it is loaded with the first request that passes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

import structlog

from api.auth import secret_of
from api.exchange import Receive, Scope, Send, headers_of, send_problem
from api.mcp.calls import Calls
from api.mcp.options import DoorOptions
from api.mcp.tool import Guest
from api.problems import from_error, from_status
from api.routes import Edge
from api.wire import GUEST
from shared.domain.errors import CorralError
from shared.domain.errors_mcp import ForeignHost, ForeignOrigin
from shared.events.tail import Feed

if TYPE_CHECKING:
    from api.mcp.transports import Transports

log = structlog.get_logger(__name__)

_LOCAL: Final = ("127.0.0.1", "localhost", "[::1]")


class Door:
    """MCP over HTTP. `run` for as long as requests come; `closing` ends streams and waits."""

    def __init__(self, edge: Edge, feed: Feed, closing: asyncio.Event, options: DoorOptions) -> None:
        self._edge = edge
        self._closing = closing
        self._options = options
        self._calls = Calls(edge, feed, closing, threads=options.threads, agent=options.agent)
        self._wanted = asyncio.Event()
        self._loaded: asyncio.Future[Transports] | None = None

    async def run(self) -> None:
        """Load the SDK when it is first wanted, and keep its tasks until cancelled."""
        await self._wanted.wait()
        async with AsyncExitStack() as stack:
            try:
                transports = await self._calls.in_thread(self._load)
                await stack.enter_async_context(transports.running())
            except Exception as problem:
                # Whoever asks for MCP is told; the rest of the API goes on.
                log.exception("mcp.not_loaded")
                self._future().set_exception(problem)
                return
            self._future().set_result(transports)
            await asyncio.Event().wait()

    def close(self) -> None:
        """End the threads. After `run` was cancelled."""
        self._calls.close()

    async def streamable(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`/mcp`: Streamable HTTP; any process answers any request, so there is no stream to GET and none to DELETE."""
        if scope["method"] != "POST":
            refusal = from_status(405, "MCP is served here without sessions: POST only.", {"Allow": "POST"})
            await send_problem(scope, send, refusal)
            return
        if (transports := await self._let_in(scope, send)) is not None:
            await transports.streamable(scope, receive, send)

    async def stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`/sse`: the stream of the older transport."""
        if (transports := await self._let_in(scope, send)) is not None:
            await transports.stream(scope, receive, send)

    async def message(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`/messages`: what a client of the older transport sends."""
        if (transports := await self._let_in(scope, send)) is not None:
            await transports.message(scope, receive, send)

    async def _let_in(self, scope: Scope, send: Send) -> Transports | None:
        headers = headers_of(scope)
        try:
            self._check_source(headers)
            guest = await self._calls.in_thread(self._admit, headers)
        except CorralError as problem:
            await send_problem(scope, send, from_error(problem))
            return None
        scope[GUEST] = guest
        self._wanted.set()
        return await asyncio.shield(self._future())

    def _admit(self, headers: Mapping[str, str]) -> Guest:
        secret = secret_of(headers)
        caller = self._edge.keyring.caller(secret)
        self._edge.limiter.take(caller.key)
        return Guest(caller, secret)

    def _check_source(self, headers: Mapping[str, str]) -> None:
        host, origin = headers.get("host", ""), headers.get("origin")
        if not _is_allowed(host, _LOCAL, self._options.hosts):
            raise ForeignHost(host[:200])
        local = [f"{scheme}://{name}" for scheme in ("http", "https") for name in _LOCAL]
        if origin is not None and not _is_allowed(origin, local, self._options.origins):
            raise ForeignOrigin(origin[:200])

    def _future(self) -> asyncio.Future[Transports]:
        if self._loaded is None:
            self._loaded = asyncio.get_running_loop().create_future()
        return self._loaded

    def _load(self) -> Transports:
        from api.mcp.transports import Transports  # noqa: PLC0415 - see the top of server.py

        return Transports(self._calls, self._closing, self._options)


def _is_allowed(name: str, local: tuple[str, ...] | list[str], more: tuple[str, ...]) -> bool:
    """Whether a host (or origin) is a local one with whatever port, or one the operator named."""
    without_port = name.rsplit(":", 1)[0] if name.rpartition(":")[2].isdigit() else name
    return without_port in local or "*" in more or name in more or f"{without_port}:*" in more
