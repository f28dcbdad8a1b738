"""The asynchronous shell in front of Flask: streams, waiting callers, the bound on bodies; the rest it hands on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, cast

import structlog
from a2wsgi import WSGIMiddleware
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from api.app import make_app
from api.archives import Archives
from api.exchange import (
    App,
    BodyTooLarge,
    Disconnected,
    Receive,
    Scope,
    Send,
    completed,
    headers_of,
    read_body,
    replay,
    send_problem,
    too_large,
    too_slow,
    with_body,
)
from api.mcp.door import Door
from api.mcp.options import DoorOptions
from api.problems import from_status
from api.routes import Edge
from api.stream import MEDIA_TYPE, Streams
from api.uploads import Uploads
from api.waiting import Waiter, wait_s_of
from api.wire import REQUEST_ID, REQUEST_ID_HEADER, TRANSPORT, request_id
from shared.domain.external import TOKEN_PREFIX
from shared.events.tail import Feed, Listen
from shared.operations import history

log = structlog.get_logger(__name__)

_RESTART_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class ShellOptions:
    """Bounds of one API process."""

    threads: int = 16
    body_limit: int = 1024 * 1024
    hook_body_limit: int = 10 * 1024 * 1024
    """The same for reports of external agents, which carry whole results of tools."""
    file_limit: int = 100 * 1024 * 1024
    """The same for files that are written."""
    body_s: float = 60.0
    sse_limit: int = 1000
    sse_heartbeat_s: float = 15.0
    proxy_hops: int = 0
    poll_s: float = 2.0
    stall_s: float = 60.0
    mcp: DoorOptions | None = None
    """None: MCP is switched off."""


class Shell:
    """The ASGI application of the API process; `listen` makes what hears of committed events."""

    def __init__(self, edge: Edge, listen: Listen, options: ShellOptions) -> None:
        self._options = options
        self._closing = asyncio.Event()
        self._feed = Feed(edge.context.db, listen, poll_s=options.poll_s)
        largest = max(options.body_limit, options.hook_body_limit)
        app: Any = make_app(edge, body_limit=largest, proxy_hops=options.proxy_hops)
        self._flask = cast("App", WSGIMiddleware(app, workers=options.threads))
        last_seq = partial(history.last_seq, edge.context)
        self._waiter = Waiter(self._flask, self._feed, last_seq, self._closing)
        self._streams = Streams(
            edge,
            self._feed,
            self._closing,
            limit=options.sse_limit,
            heartbeat_s=options.sse_heartbeat_s,
            stall_s=options.stall_s,
        )
        self._uploads = Uploads(edge, self._flask, limit=options.file_limit)
        self._mcp = None if options.mcp is None else Door(edge, self._feed, self._closing, options.mcp)
        self._starlette = Starlette(
            routes=[
                # Answered on the loop: liveness must not depend on a free thread.
                Route("/healthz", _healthz, methods=["GET"]),
                Route("/v1/sessions/{session_id}/events", _Endpoint(self._events)),
                Route("/v1/sessions/{session_id}/files/{path:path}", _Endpoint(self._file)),
                Route("/v1/sessions/{session_id}/archive", _Endpoint(Archives(self._flask).serve), methods=["GET"]),
                *_mcp_routes(self._mcp),
                Mount("/", _Endpoint(self._hand_on)),
            ],
            lifespan=self._lifespan,
        )
        self._starlette.router.redirect_slashes = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection's request, or the process's life."""
        if scope["type"] != "http":
            await self._starlette(scope, receive, send)
            return
        scope[REQUEST_ID] = request_id(headers_of(scope).get(REQUEST_ID_HEADER.lower(), ""))
        # uvicorn's `send` is a method of its request cycle, which holds the transport.
        scope[TRANSPORT] = getattr(getattr(send, "__self__", None), "transport", None)
        with structlog.contextvars.bound_contextvars(request_id=scope[REQUEST_ID]):
            await self._starlette(scope, receive, completed(scope, send))

    def close(self) -> None:
        """End streams and waits in good order; their callers come back to whoever serves then. On the loop's thread."""
        self._closing.set()

    async def _events(self, scope: Scope, receive: Receive, send: Send) -> None:
        wants_stream = MEDIA_TYPE in headers_of(scope).get("accept", "")
        if scope["method"] == "GET" and wants_stream:
            await self._streams.serve(scope, receive, send)
        else:
            await self._hand_on(scope, receive, send)

    async def _file(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self._uploads.serve if scope["method"] == "PUT" else self._hand_on)(scope, receive, send)

    async def _hand_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        limit = self._body_limit(scope)
        try:
            body = await read_body(scope, receive, limit, self._options.body_s)
        except BodyTooLarge:
            await send_problem(scope, send, too_large(limit))
            return
        except TimeoutError:
            await send_problem(scope, send, too_slow(self._options.body_s))
            return
        except Disconnected:
            return
        inner, again = with_body(scope, body), replay(body, receive)
        wait_s = wait_s_of(scope)
        try:
            if wait_s > 0:
                await self._waiter.answer(inner, again, send, wait_s)
            else:
                await self._flask(inner, again, send)
        except UnicodeError:
            # Bytes in the query that are no ASCII: only a client that does not escape sends them.
            await send_problem(scope, send, from_status(400, "The request line must be ASCII; percent-encode it."))

    def _body_limit(self, scope: Scope) -> int:
        # Only who shows something like a hook token may make this process hold ten times as much.
        shows_token = f" {TOKEN_PREFIX}_" in headers_of(scope).get("authorization", "")
        is_report = shows_token and scope["path"].startswith("/v1/hooks/")
        return self._options.hook_body_limit if is_report else self._options.body_limit

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            feeding = group.create_task(self._keep_feeding())
            serving = None if self._mcp is None else group.create_task(self._mcp.run())
            yield
            self.close()
            if serving is not None:
                serving.cancel()
            feeding.cancel()
        if self._mcp is not None:
            self._mcp.close()
        self._feed.close()

    async def _keep_feeding(self) -> None:
        while True:
            try:
                await self._feed.run()
            except Exception:
                log.exception("feed.failed")
                await asyncio.sleep(_RESTART_S)


class _Endpoint:
    """An ASGI function that Starlette takes for an application rather than for a handler of requests."""

    def __init__(self, serve: Callable[[Scope, Receive, Send], Any]) -> None:
        self._serve = serve

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._serve(scope, receive, send)


def _mcp_routes(door: Door | None) -> list[Route]:
    if door is None:
        return []
    return [
        Route("/mcp", _Endpoint(door.streamable)),
        Route("/sse", _Endpoint(door.stream), methods=["GET"]),
        Route("/messages", _Endpoint(door.message)),
    ]


async def _healthz(_: Request) -> JSONResponse:
    return JSONResponse({"status": "ok"})
