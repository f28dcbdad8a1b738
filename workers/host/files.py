"""A worker's internal HTTP: files of the workspaces on its disk (signed), its probes and its metrics.

`shared/workspaces/opener.py` decides what may be read, `writer.py` beside it what may be written, `remote.py` is the
API's side. What is larger than one answer goes through `streams.py`.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus

import structlog
from aiohttp import web

from shared.domain.clock import to_text
from shared.domain.errors import Conflict, CorralError, InvalidField, NotFound, Refused, Unauthenticated
from shared.domain.ids import SessionId
from shared.telemetry.metrics import FILE_REFUSALS
from shared.workspaces import opener
from shared.workspaces.kind import Place
from shared.workspaces.opener import MAX_ENTRIES, MAX_READ_BYTES
from shared.workspaces.remote import MODIFIED_HEADER, SIZE_HEADER
from workers.host.desk import Desk, Query, located, number, session_of
from workers.host.gitdesk import GitDesk
from workers.host.streams import Rules, Streams, shown

THREADS = 4
WAITING_LIMIT = 64
"""Requests that may wait for a thread; more are refused, so that a slow disk costs no memory."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether this worker can work: `missing` says what it cannot work without, `warnings` what it can."""

    missing: Sequence[str] = ()
    warnings: Sequence[str] = ()


Locate = Callable[[SessionId], Place | None]
"""Where a session's workspace is on this worker's disk, in whatever state the session is; None where it is not.
Called in a thread; may block."""


Remove = Callable[[SessionId], None]
"""Removes the workspace of an ended session from this worker's disk; raises Conflict for one that lives. Called in a
thread; idempotent."""


def make_app(
    *,
    key: bytes,
    locate: Locate,
    remove: Remove,
    readiness: Callable[[], Readiness],
    metrics: Callable[[], bytes],
    rules: Rules | None = None,
) -> web.Application:
    """The application. `key` is `signed.key_of(CORRAL_SECRET_KEY)`; `readiness` and `metrics` (Prometheus text)
    are called on the loop and must not block.
    """
    desk = _FileDesk(key, locate, remove)
    rules = rules or Rules()
    streams, git = Streams(key, locate, rules), GitDesk(key, locate, rules.walls)

    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def readyz(_: web.Request) -> web.Response:
        now = readiness()
        status = HTTPStatus.SERVICE_UNAVAILABLE if now.missing else HTTPStatus.OK
        return web.json_response({"missing": list(now.missing), "warnings": list(now.warnings)}, status=status)

    async def metricsz(_: web.Request) -> web.Response:
        return web.Response(body=metrics(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    app = web.Application(middlewares=[_tell_problems], client_max_size=64 * 1024)
    app.router.add_get("/files", desk.serve)
    app.router.add_delete("/files", desk.serve)
    app.router.add_put("/file", streams.serve)
    app.router.add_delete("/file", streams.serve)
    app.router.add_get("/archive", streams.serve)
    app.router.add_get("/git", git.serve)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metricsz)
    for opened in (desk.open, streams.open, git.open):
        app.cleanup_ctx.append(opened)
    return app


@asynccontextmanager
async def serving(app: web.Application, *, host: str, port: int) -> AsyncIterator[int]:
    """Serve `app` on the running loop; gives the port, which the kernel chooses where `port` is 0.

    Raises:
        OSError: the address cannot be listened on.
    """
    runner = web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=2.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


def reachable(host: str) -> str:
    """Where peers find who listens on `host`."""
    return socket.getfqdn() if host in {"0.0.0.0", "::"} else host  # noqa: S104 - compared, not bound


class _FileDesk:
    def __init__(self, key: bytes, locate: Locate, remove: Remove) -> None:
        self._desk = Desk(key, "files", threads=THREADS, at_once=WAITING_LIMIT)
        self.open = self._desk.open
        self._locate = locate
        self._remove = remove

    async def serve(self, request: web.Request) -> web.Response:
        with self._desk.serving(request) as query:
            return await self._desk.run(self._removed if request.method == "DELETE" else self._answer, query)

    def _removed(self, query: Query) -> web.Response:
        self._remove(session_of(query))
        return web.json_response({})

    def _answer(self, query: Query) -> web.Response:
        place = located(self._locate, query)
        path = query.get("path", "")
        match query.get("op"):
            case "list":
                depth, limit = number(query, "depth", 1), number(query, "limit", MAX_ENTRIES)
                found = opener.listing(place.root, path, depth=depth, limit=limit)
                entries = [shown(entry) for entry in found.entries]
                return web.json_response({"entries": entries, "truncated": found.truncated})
            case "info":
                return web.json_response(shown(opener.info(place.root, path)))
            case "read":
                offset, limit = number(query, "offset", 0), number(query, "limit", MAX_READ_BYTES)
                chunk = opener.read(place.root, path, offset=offset, limit=limit)
                headers = {SIZE_HEADER: str(chunk.size_bytes), MODIFIED_HEADER: to_text(chunk.modified_at)}
                return web.Response(body=chunk.data, headers=headers)
        raise InvalidField("op", "must be list, info or read")


@web.middleware
async def _tell_problems(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except CorralError as problem:
        FILE_REFUSALS.labels(code=problem.code).inc()
        return _told(problem.code, problem.message, _status(problem), facts=problem.facts)
    except web.HTTPException:
        raise
    except Exception:  # noqa: BLE001 - the edge: logged whole, told without a path or a stack
        _log.exception("files.failed", path=request.path)
        return _told("error", "The worker failed to answer.", HTTPStatus.INTERNAL_SERVER_ERROR)


def _status(problem: CorralError) -> HTTPStatus:
    match problem:
        case Unauthenticated():
            return HTTPStatus.UNAUTHORIZED
        case NotFound():
            return HTTPStatus.NOT_FOUND
        case Conflict():
            return HTTPStatus.CONFLICT
        case Refused():
            return HTTPStatus.UNPROCESSABLE_ENTITY
    return HTTPStatus.SERVICE_UNAVAILABLE


def _told(code: str, message: str, status: HTTPStatus, *, facts: object = None) -> web.Response:
    return web.json_response({"code": code, "message": message, "facts": facts or {}}, status=status)
