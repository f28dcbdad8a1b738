"""What goes in and out of workspaces as a stream, for the internal HTTP: files that are written, archives.

A piece at a time is in memory and in a thread; a peer that stalls is given up.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final

import structlog
from aiohttp import web

from shared.domain.clock import to_text
from shared.domain.errors import InvalidField
from shared.domain.ids import SessionId
from shared.telemetry import metrics
from shared.workspaces import archive, writer
from shared.workspaces.kind import NoWalls, Place, Walls
from shared.workspaces.opener import Entry
from shared.workspaces.room import Bounds
from shared.workspaces.writer import Incoming, Written
from workers.host.desk import Desk, Query, located, number

log = structlog.get_logger(__name__)

THREADS: Final = 4
AT_ONCE: Final = 16
"""Streams one worker serves at once; more are refused."""
STALL_S: Final = 30.0
"""A peer that neither sends nor takes a piece for this long is given up."""
_PIECE: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Rules:
    """What the operator allows of files."""

    bounds: Bounds = field(default_factory=Bounds)
    archive_bytes: int = 4 * 1024**3
    """Bytes of files that one archive may hold."""
    walls: Walls = field(default_factory=NoWalls)
    """What git runs behind."""


class Streams:
    """The routes `/file` (PUT, DELETE) and `/archive` (GET). `locate` blocks and is called in a thread."""

    def __init__(self, key: bytes, locate: Callable[[SessionId], Place | None], rules: Rules) -> None:
        self._desk = Desk(key, "streams", threads=THREADS, at_once=AT_ONCE)
        self.open = self._desk.open
        self._locate = locate
        self._rules = rules

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """One signed request."""
        with self._desk.serving(request) as query:
            place: Place = await self._desk.run(located, self._locate, query)
            match request.method:
                case "PUT":
                    return await self._put(request, place, query)
                case "DELETE":
                    removed = await self._desk.run(_remove, place, query)
                    return web.json_response(shown(removed))
            return await self._pack(request, place, query)

    # --- in ---

    async def _put(self, request: web.Request, place: Place, query: Query) -> web.Response:
        size = number(query, "size", 0)
        incoming = await self._desk.run(self._begin, place, query.get("path", ""), size)
        try:
            digest = hashlib.sha256()
            left = size
            while piece := await self._piece(request):
                left -= len(piece)
                if left < 0:
                    break
                digest.update(piece)
                await self._desk.run(incoming.put, piece)
            # What was signed is what is written: nobody on the way can have cut or changed it.
            if left or digest.hexdigest() != query.get("sha256"):
                raise InvalidField("body", "is not what was announced")
            written: Written = await self._desk.run(_publish, incoming, query.get("create") == "1")
        finally:
            await asyncio.shield(self._desk.run(incoming.close))
        metrics.FILE_BYTES.labels(direction="in").inc(size)
        return web.json_response({**shown(written.entry), "created": written.is_new})

    def _begin(self, place: Place, path: str, size: int) -> Incoming:
        self._rules.bounds.check(place, size)
        return Incoming(place.root, path)

    async def _piece(self, request: web.Request) -> bytes:
        async with asyncio.timeout(STALL_S):
            return await request.content.read(_PIECE)

    # --- out ---

    async def _pack(self, request: web.Request, place: Place, query: Query) -> web.StreamResponse:
        pieces = archive.pack(
            place.root,
            query.get("path", "."),
            most_bytes=self._rules.archive_bytes,
            gzip=query.get("gzip") == "1",
        )
        try:
            await self._desk.run(next, pieces, None)
            response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
            response.enable_chunked_encoding()
            await response.prepare(request)
            await self._send(request, response, pieces)
        finally:
            # Closed in a thread of its own making: a piece may still be on its way there.
            self._desk.threads.submit(_close, pieces)
        return response

    async def _send(self, request: web.Request, response: web.StreamResponse, pieces: Iterator[bytes]) -> None:
        try:
            while (piece := await self._desk.run(next, pieces, None)) is not None:
                async with asyncio.timeout(STALL_S):
                    await response.write(piece)
                metrics.FILE_BYTES.labels(direction="out").inc(len(piece))
            await response.write_eof()
        except Exception as problem:  # noqa: BLE001 - the answer has begun; all that can be told is that it broke off
            log.warning("archive.broke_off", problem=type(problem).__name__)
            if request.transport is not None:
                request.transport.abort()


def _publish(incoming: Incoming, create_only: object) -> Written:
    return incoming.publish(create_only=bool(create_only))


def _remove(place: Place, query: Query) -> Entry:
    return writer.remove(place.root, query.get("path", ""), recursive=query.get("recursive") == "1")


def _close(pieces: Iterator[bytes]) -> None:
    with closing(pieces):  # type: ignore[type-var] # it is a generator
        return


def shown(entry: Entry) -> dict[str, object]:
    """An entry as it goes over the wire."""
    return {
        "path": entry.path,
        "type": entry.type,
        "size_bytes": entry.size_bytes,
        "modified_at": to_text(entry.modified_at),
    }
