"""Pull requests of the workspaces on this disk, for the internal HTTP: the worker has the files and the credentials."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from aiohttp import web

from shared.domain.errors import InvalidField, NotFound
from shared.domain.ids import SessionId, is_id
from shared.domain.json import JsonObject
from shared.domain.pulls import Proposal, PullRequest
from shared.workspaces import pulls, signed
from shared.workspaces.kind import Place, Volume
from workers.host.streams import StreamsBusy

THREADS: Final = 2
WAITING_LIMIT: Final = 8

Work = tuple[Place, JsonObject]
"""A session's workspace on this disk, and the spec it was made by."""


class PullDesk:
    """The route `/pull-request`. `locate` blocks and is called in a thread; None: no such workspace here."""

    def __init__(self, key: bytes, locate: Callable[[SessionId], Work | None], volume: Volume) -> None:
        self._key = key
        self._locate = locate
        self._volume = volume
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="pulls")
        self._waiting = 0

    def join(self, app: web.Application) -> None:
        """Serve the route as a part of `app`."""
        app.router.add_post("/pull-request", self.serve)
        app.cleanup_ctx.append(self.open)

    async def open(self, _: web.Application) -> AsyncIterator[None]:
        """For `cleanup_ctx`."""
        yield
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def serve(self, request: web.Request) -> web.Response:
        """One signed request. Its target names the SHA-256 of its body, which the signature so covers."""
        signed.verify(self._key, request.method, request.raw_path, request.headers)
        body = await request.read()
        if hashlib.sha256(body).hexdigest() != request.query.get("sha256"):
            raise InvalidField("sha256", "is not that of the body")
        if self._waiting >= WAITING_LIMIT:
            raise StreamsBusy
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            session = request.query.get("session", "")
            made = await loop.run_in_executor(self._threads, self._propose, session, json.loads(body))
            return web.json_response(dataclasses.asdict(made))
        finally:
            self._waiting -= 1

    def _propose(self, session: str, told: JsonObject) -> PullRequest:
        found = self._locate(SessionId(session)) if is_id(session, "ses") else None
        if found is None:
            raise NotFound("workspace", session[:80])
        place, spec = found
        return pulls.propose(place, spec, Proposal(**told), self._volume)  # type: ignore[arg-type] # our API's own
