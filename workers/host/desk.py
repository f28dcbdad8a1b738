"""Where the internal HTTP takes requests that block: signed, so many at once, on threads of their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar
from urllib.parse import parse_qsl

from aiohttp import web

from shared.domain.errors import InvalidField, NotFound, Unavailable
from shared.domain.ids import SessionId, is_id
from shared.workspaces import signed

Made = TypeVar("Made")
Found = TypeVar("Found")

Query = dict[str, str]


class Busy(Unavailable):
    """As many requests are served or wait as may, so that a slow disk costs no memory."""

    code = "busy"

    def __init__(self) -> None:
        super().__init__("Too many requests wait for this worker's disk.")


class Desk:
    """One kind of request: `at_once` of them at most, served by `threads` threads. For one loop."""

    def __init__(self, key: bytes, name: str, *, threads: int, at_once: int) -> None:
        self._key = key
        self._at_once = at_once
        self._open = 0
        self.threads = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def open(self, _: web.Application) -> AsyncIterator[None]:
        """For `cleanup_ctx`."""
        yield
        self.threads.shutdown(wait=False, cancel_futures=True)

    @contextmanager
    def serving(self, request: web.Request) -> Iterator[Query]:
        """The query of a signed request, which counts until the block ends.

        Raises:
            Unauthenticated: it is not signed.
            Busy: there are as many as may be.
        """
        signed.verify(self._key, request.method, request.raw_path, request.headers)
        query = dict(parse_qsl(request.rel_url.raw_query_string, keep_blank_values=True, errors="surrogateescape"))
        if self._open >= self._at_once:
            raise Busy
        self._open += 1
        try:
            yield query
        finally:
            self._open -= 1

    async def run(self, work: Callable[..., Made], *given: object) -> Made:
        """Do what blocks in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, work, *given)


def session_of(query: Query) -> SessionId:
    """The session a request is about.

    Raises:
        NotFound: it names none.
    """
    session = query.get("session", "")
    if not is_id(session, "ses"):
        raise NotFound("workspace", session[:80])
    return SessionId(session)


def located(locate: Callable[[SessionId], Found | None], query: Query) -> Found:
    """What `locate` has of the session a request is about. Blocks as `locate` does.

    Raises:
        NotFound: it names none, or nothing of it is here.
    """
    session = session_of(query)
    found = locate(session)
    if found is None:
        raise NotFound("workspace", session)
    return found


def number(query: Query, name: str, default: int) -> int:
    """A whole number of the query.

    Raises:
        InvalidField: it is none.
    """
    value = query.get(name, str(default))
    if not (value.isascii() and value.isdigit() and len(value) <= 18):
        raise InvalidField(name, "must be a whole number, 0 or more")
    return int(value)
