"""Pull requests of the workspaces on this disk, for the internal HTTP: the worker has the files and the credentials."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from typing import Final

from aiohttp import web

from shared.domain.errors import InvalidField
from shared.domain.ids import SessionId
from shared.domain.json import JsonObject
from shared.domain.pulls import Proposal, PullRequest
from shared.workspaces import pulls
from shared.workspaces.kind import Place, Volume
from workers.host.desk import Desk, Query, located

THREADS: Final = 2
WAITING_LIMIT: Final = 8

Work = tuple[Place, JsonObject]
"""A session's workspace on this disk, and the spec it was made by."""


class PullDesk:
    """The route `/pull-request`. `locate` blocks and is called in a thread; None: no such workspace here."""

    def __init__(self, key: bytes, locate: Callable[[SessionId], Work | None], volume: Volume) -> None:
        self._desk = Desk(key, "pulls", threads=THREADS, at_once=WAITING_LIMIT)
        self._locate = locate
        self._volume = volume

    def join(self, app: web.Application) -> None:
        """Serve the route as a part of `app`."""
        app.router.add_post("/pull-request", self.serve)
        app.cleanup_ctx.append(self._desk.open)

    async def serve(self, request: web.Request) -> web.Response:
        """One signed request. Its target names the SHA-256 of its body, which the signature so covers."""
        with self._desk.serving(request) as query:
            body = await request.read()
            if hashlib.sha256(body).hexdigest() != query.get("sha256"):
                raise InvalidField("sha256", "is not that of the body")
            made = await self._desk.run(self._propose, query, json.loads(body))
            return web.json_response(dataclasses.asdict(made))

    def _propose(self, query: Query, told: JsonObject) -> PullRequest:
        place, spec = located(self._locate, query)
        return pulls.propose(place, spec, Proposal(**told), self._volume)  # type: ignore[arg-type] # our API's own
