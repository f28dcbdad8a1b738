"""A desk of the internal HTTP: so many requests at once, and what names no session of this disk is not found."""

from __future__ import annotations

import asyncio
import threading

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from shared.domain.errors import NotFound
from shared.domain.ids import mint_session
from shared.workspaces import signed
from workers.host.desk import Busy, Desk, located

KEY = b"a key of this test"


async def statuses(desk, work, count):
    """What `count` requests at once are answered; `work` goes on once one of them was turned away."""
    turned_away = threading.Event()

    async def serve(request):
        try:
            with desk.serving(request):
                await desk.run(work, turned_away)
                return web.Response()
        except Busy as busy:
            turned_away.set()
            return web.json_response({"code": busy.code}, status=503)

    app = web.Application()
    app.router.add_get("/", serve)
    app.cleanup_ctx.append(desk.open)
    async with TestClient(TestServer(app)) as client:
        target = "/?session=x"

        async def ask():
            async with client.get(target, headers=signed.sign(KEY, "GET", target)) as answer:
                return answer.status

        return sorted(await asyncio.gather(*(ask() for _ in range(count)))), await ask()


def test_a_request_beyond_the_bound_is_refused_and_the_next_is_served_when_there_is_room_again():
    async def story():
        desk = Desk(KEY, "test", threads=1, at_once=2)
        return await statuses(desk, lambda turned_away: turned_away.wait(30), 3)

    assert asyncio.run(story()) == ([200, 200, 503], 200)


@pytest.mark.parametrize("query", [{}, {"session": "../x"}, {"session": mint_session()}])
def test_what_is_not_on_this_disk_is_not_found(query):
    with pytest.raises(NotFound):
        located({}.get, query)
