"""What git says of the workspaces on this disk, for the internal HTTP. A few at a time: each is a process."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Final

from aiohttp import web

from shared.domain.errors import InvalidField
from shared.domain.ids import SessionId
from shared.workspaces import gitviews
from shared.workspaces.kind import Place, Walls
from workers.host.desk import Desk, Query, located, number

THREADS: Final = 2
WAITING_LIMIT: Final = 16


class GitDesk:
    """The route `/git`. `locate` blocks and is called in a thread."""

    def __init__(self, key: bytes, locate: Callable[[SessionId], Place | None], walls: Walls) -> None:
        self._desk = Desk(key, "git", threads=THREADS, at_once=WAITING_LIMIT)
        self.open = self._desk.open
        self._locate = locate
        self._walls = walls

    async def serve(self, request: web.Request) -> web.Response:
        """One signed request."""
        with self._desk.serving(request) as query:
            return await self._desk.run(self._answer, query)

    def _answer(self, query: Query) -> web.Response:
        place = located(self._locate, query)
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
