"""The two transports of MCP as ASGI functions, by the SDK: Streamable HTTP without state, and the older HTTP+SSE."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.sse import SseServerTransport
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

from api.exchange import Message, Receive, Scope, Send, send_problem
from api.mcp.calls import Calls
from api.mcp.options import DoorOptions
from api.mcp.server import make_server
from api.mcp.tool import Guest
from api.problems import from_error
from api.wire import GUEST
from shared.domain.errors import StreamsFull
from shared.domain.errors_mcp import StreamElsewhere
from shared.telemetry import metrics

log = structlog.get_logger(__name__)

MESSAGES = "/messages"


class Transports:
    """Both transports in front of one server."""

    def __init__(self, calls: Calls, closing: asyncio.Event, options: DoorOptions) -> None:
        self._server = make_server(options.tools, calls)
        self._closing = closing
        self._limit = options.streams
        self._open = 0
        # Host and origin were seen to at the door.
        self._manager = StreamableHTTPSessionManager(
            self._server, stateless=True, max_request_body_size=options.body_limit
        )
        self._sse = SseServerTransport(MESSAGES, max_request_body_size=options.body_limit)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Requests may come while this is entered."""
        async with self._manager.run():
            yield

    async def streamable(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request to `/mcp`."""
        await self._manager.handle_request(scope, receive, send)

    async def stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One stream, until its reader is gone or this process stops."""
        if self._open >= self._limit or self._closing.is_set():
            await send_problem(scope, send, from_error(StreamsFull(self._limit)))
            return
        self._open += 1
        try:
            with metrics.MCP_STREAMS_OPEN.track_inprogress():
                await self._serve(_owned(scope), receive, send)
        finally:
            self._open -= 1

    async def message(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One message of a client whose stream this process serves."""
        elsewhere = False

        async def answer(message: Message) -> None:
            nonlocal elsewhere
            elsewhere = elsewhere or message.get("status") == 404
            if not elsewhere:
                await send(message)

        await self._sse.handle_post_message(_owned(scope), receive, answer)
        if elsewhere:
            await send_problem(scope, send, from_error(StreamElsewhere()))

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with asyncio.TaskGroup() as group:
            talk = group.create_task(self._talk(scope, receive, send))
            closing = group.create_task(self._closing.wait())
            await asyncio.wait({talk, closing}, return_when=asyncio.FIRST_COMPLETED)
            for task in (talk, closing):
                task.cancel()
        if talk.cancelled() and self._closing.is_set():
            await send({"type": "http.response.body", "body": b""})

    async def _talk(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._sse.connect_sse(scope, receive, send) as (read, write):
            await self._server.run(read, write, self._server.create_initialization_options())


def _owned(scope: Scope) -> Scope:
    """`scope` with its key told to the SDK: messages of another key find no stream."""
    guest: Guest = scope[GUEST]
    caller = guest.caller
    token = AccessToken(token="", client_id=caller.key, scopes=sorted(caller.scopes))
    return {**scope, "user": AuthenticatedUser(token)}
