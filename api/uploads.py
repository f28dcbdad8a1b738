"""Bodies that are files: gathered in a temporary file, within bounds, by no thread, before Flask is asked."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator
from contextlib import ExitStack
from typing import IO, Final, cast

from api.auth import demand, secret_of
from api.exchange import (
    App,
    BodyTooLarge,
    Disconnected,
    Receive,
    Scope,
    Send,
    headers_of,
    replay,
    send_problem,
    too_large,
    too_slow,
    with_body,
)
from api.problems import from_error
from api.routes import Edge
from api.wire import UPLOAD, Upload
from shared.domain.errors import CorralError
from shared.domain.errors_files import UploadsFull
from shared.domain.tenant import Scope as KeyScope

AT_ONCE: Final = 16
"""Uploads one process takes at once: each may fill a temporary file."""
STALL_S: Final = 30.0
TOTAL_S: Final = 900.0
"""However steadily it trickles, an upload ends after this long."""
_MEMORY: Final = 256 * 1024
"""Bytes of an upload that are kept in memory, and written to disk together when there are more."""


class Uploads:
    """Takes files in and hands them to `flask` in the scope's `UPLOAD`. `limit` is the largest, bytes."""

    def __init__(self, edge: Edge, flask: App, *, limit: int, stall_s: float = STALL_S, at_once: int = AT_ONCE) -> None:
        self._edge = edge
        self._flask = flask
        self._limit = limit
        self._stall_s = stall_s
        self._at_once = at_once
        self._open = 0

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Who may not write is refused before a byte is taken; the rest Flask decides."""
        try:
            await asyncio.to_thread(self._let_in, scope)
            self._check_room()
        except CorralError as problem:
            await send_problem(scope, send, from_error(problem))
            return
        self._open += 1
        try:
            await self._take(scope, receive, send)
        except BodyTooLarge:
            await send_problem(scope, send, too_large(self._limit))
        except TimeoutError:
            await send_problem(scope, send, too_slow(self._stall_s))
        except Disconnected:
            return
        finally:
            self._open -= 1

    def _let_in(self, scope: Scope) -> None:
        demand(self._edge.keyring.caller(secret_of(headers_of(scope))), KeyScope.WRITE)

    def _check_room(self) -> None:
        if self._open >= self._at_once:
            raise UploadsFull(self._at_once)

    async def _take(self, scope: Scope, receive: Receive, send: Send) -> None:
        announced = headers_of(scope).get("content-length", "0")
        if not announced.isdigit() or int(announced) > self._limit:
            raise BodyTooLarge
        with ExitStack() as stack:
            file = cast("IO[bytes]", stack.enter_context(tempfile.SpooledTemporaryFile(max_size=_MEMORY)))
            async with asyncio.timeout(TOTAL_S):
                upload = await self._gather(receive, file)
            await self._flask({**with_body(scope, b""), UPLOAD: upload}, replay(b"", receive), send)

    async def _gather(self, receive: Receive, file: IO[bytes]) -> Upload:
        digest, size, waiting = hashlib.sha256(), 0, bytearray()
        async for piece in self._pieces(receive):
            size += len(piece)
            if size > self._limit:
                raise BodyTooLarge
            digest.update(piece)
            waiting += piece
            if len(waiting) >= _MEMORY:
                # In a thread: a slow disk must not hold up everybody's streams.
                await asyncio.to_thread(file.write, bytes(waiting))
                waiting.clear()
        await asyncio.to_thread(file.write, bytes(waiting))
        return Upload(file, size, digest.hexdigest())

    async def _pieces(self, receive: Receive) -> AsyncIterator[bytes]:
        more = True
        while more:
            async with asyncio.timeout(self._stall_s):
                message = await receive()
            if message["type"] == "http.disconnect":
                raise Disconnected
            more = message.get("more_body", False)
            yield message.get("body", b"")
