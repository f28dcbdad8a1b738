"""Answers that a worker streams: Flask says who may have what, the shell passes it on and holds no thread."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any, Final

import aiohttp
import structlog
from yarl import URL

from api.exchange import App, Held, Message, Receive, Scope, Send, disconnected, send_problem
from api.problems import from_error
from api.wire import FETCH_HEADER, TRANSPORT
from shared.domain.errors import CorralError, FilesAway
from shared.domain.errors_files import ArchivesFull
from shared.workspaces.remote import problem_of

log = structlog.get_logger(__name__)

AT_ONCE: Final = 32
"""Streams of workers one process passes on at once."""
STALL_S: Final = 60.0
"""A caller that takes nothing for this long is cut off, and so is a worker that gives nothing."""
_PIECE: Final = 64 * 1024
_PROBLEM: Final = 64 * 1024
"""Most bytes read of a worker's refusal."""


class Archives:
    """Passes on what workers stream. `flask` names the worker in the header `FETCH_HEADER`."""

    def __init__(self, flask: App, *, at_once: int = AT_ONCE, stall_s: float = STALL_S) -> None:
        self._flask = flask
        self._at_once = at_once
        self._stall_s = stall_s
        self._open = 0

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask Flask; where it names a worker, its stream is the body, otherwise what it says is the answer."""
        held, fetches = await self._ask(scope, receive)
        if not fetches:
            await held.send(send)
            return
        async with AsyncExitStack() as stack:
            try:
                stack.enter_context(self._room())
                answer = await self._first(fetches, stack)
            except CorralError as problem:
                await send_problem(scope, send, from_error(problem))
                return
            headers = [pair for pair in held.headers if pair[0] != b"content-length"]
            await send({"type": "http.response.start", "status": held.status, "headers": headers})
            await self._pass_on(scope, answer, receive, send)

    @contextmanager
    def _room(self) -> Iterator[None]:
        if self._open >= self._at_once:
            raise ArchivesFull(self._at_once)
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1

    async def _ask(self, scope: Scope, receive: Receive) -> tuple[Held, list[Any]]:
        held = Held()
        found: list[Any] = []

        async def take(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = dict(message["headers"])
                found.extend(json.loads(headers.pop(FETCH_HEADER.lower().encode(), b"[]")))
                message = {**message, "headers": list(headers.items())}
            await held.collect(message)

        await self._flask(scope, receive, take)
        return held, found

    async def _pass_on(self, scope: Scope, answer: aiohttp.ClientResponse, receive: Receive, send: Send) -> None:
        async with asyncio.TaskGroup() as group:
            pump = group.create_task(self._pump(scope, answer, send))
            # To a caller that is gone uvicorn sends without an error, and without end.
            gone = group.create_task(disconnected(receive))
            await asyncio.wait({pump, gone}, return_when=asyncio.FIRST_COMPLETED)
            for task in (pump, gone):
                task.cancel()

    async def _pump(self, scope: Scope, answer: aiohttp.ClientResponse, send: Send) -> None:
        try:
            while piece := await answer.content.read(_PIECE):
                async with asyncio.timeout(self._stall_s):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        except (aiohttp.ClientError, TimeoutError) as trouble:
            # The status is told already: that the last chunk never comes is what the caller can see.
            log.warning("archive.broke_off", problem=type(trouble).__name__)
            if (transport := scope.get(TRANSPORT)) is not None:
                transport.abort()

    async def _first(self, fetches: list[Any], stack: AsyncExitStack) -> aiohttp.ClientResponse:
        """The stream of the first worker that gives one."""
        trouble: CorralError = FilesAway("The worker that holds this workspace is away.")
        for url, headers in fetches:
            try:
                return await stack.enter_async_context(_opened(url, headers, self._stall_s))
            except FilesAway as problem:
                trouble = problem
        raise trouble


@asynccontextmanager
async def _opened(url: str, headers: dict[str, str], stall_s: float) -> AsyncIterator[aiohttp.ClientResponse]:
    # Neither a proxy nor credentials of the environment have a place between our own processes; no time in all,
    # since an archive may be large.
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=5.0, sock_read=stall_s)
    async with aiohttp.ClientSession(timeout=timeout, auto_decompress=False, trust_env=False) as session:
        try:
            answer = await session.get(URL(url, encoded=True), headers=headers, allow_redirects=False)
            refusal = b"" if answer.status == 200 else await answer.content.read(_PROBLEM)
        except (aiohttp.ClientError, TimeoutError, ValueError) as trouble:
            raise FilesAway("The worker that holds this workspace cannot be reached.") from trouble
        if answer.status != 200:
            raise problem_of(answer.status, refusal)
        yield answer
