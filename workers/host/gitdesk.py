"""What git says of the workspaces on this disk, for the internal HTTP. A few at a time: each is a process."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final
from urllib.parse import parse_qsl

from aiohttp import web

from shared.domain.errors import InvalidField, NotFound
from shared.domain.ids import SessionId, is_id
from shared.workspaces import gitviews, signed
from shared.workspaces.kind import Place, Walls
from workers.host.streams import StreamsBusy, number

THREADS: Final = 2
WAITING_LIMIT: Final = 16


class GitDesk:
    """The route `/git`. `locate` blocks and is called in a thread."""

    def __init__(self, key: bytes, locate: Callable[[SessionId], Place | None], walls: Walls) -> None:
        self._key = key
        self._locate = locate
        self._walls = walls
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="git")
        self._waiting = 0

    async def open(self, _: web.Application) -> AsyncIterator[None]:
        """For `cleanup_ctx`."""
        yield
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def serve(self, request: web.Request) -> web.Response:
        """One signed request."""
        signed.verify(self._key, request.method, request.raw_path, request.headers)
        query = dict(parse_qsl(request.rel_url.raw_query_string, keep_blank_values=True, errors="surrogateescape"))
        if self._waiting >= WAITING_LIMIT:
            raise StreamsBusy
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._answer, query)
        finally:
            self._waiting -= 1

    def _answer(self, query: dict[str, str]) -> web.Response:
        session = query.get("session", "")
        place = self._locate(SessionId(session)) if is_id(session, "ses") else None
        if place is None:
            raise NotFound("workspace", session[:80])
        match query.get("op"):
            case "diff":
                found = gitviews.diff(place, self._walls, base=query.get("base", "HEAD"))
                return web.json_response(dataclasses.asdict(found))
            case "status":
                return web.json_response(dataclasses.asdict(gitviews.status(place, self._walls)))
            case "log":
                limit, skip = min(number(query, "limit", 50), gitviews.MAX_LOG), number(query, "skip", 0)
                commits = gitviews.log(place, self._walls, limit=limit, skip=skip)
                return web.json_response({"commits": [dataclasses.asdict(one) for one in commits]})
        raise InvalidField("op", "must be diff, status or log")
