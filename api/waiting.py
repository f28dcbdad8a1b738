"""`wait_s`: a caller waits for a change without holding a thread; Flask is asked again when something happened."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final
from urllib.parse import parse_qs

from api.exchange import App, Held, Message, Receive, Scope, Send, disconnected
from api.wire import AGAIN, NO_NEWS, UNTIL_DONE, WAIT_HEADER, Waiting, read_waiting
from shared.domain.errors import Unavailable
from shared.domain.ids import SessionId
from shared.events.tail import Feed, Item, Tail
from shared.telemetry import metrics

MAX_WAIT_S: Final = 120.0
_LOOK_S: Final = 5.0
"""However quiet the log, Flask is asked again after this long: not every change of state is an event."""
_PAUSE_S: Final = 0.1
"""Least time between two repetitions: a flood of events must not become a flood of requests."""


def wait_s_of(scope: Scope) -> float:
    """How long the caller wants to wait. Flask refuses what is no number or too much before anybody waits."""
    words = parse_qs(scope["query_string"].decode("latin-1")).get("wait_s", [])
    try:
        return min(float(words[0]), MAX_WAIT_S) if words else 0.0
    except ValueError:
        return 0.0


class Waiter:
    """Answers requests that wait. `last_seq` gives the number of a session's last event, from the store."""

    def __init__(self, flask: App, feed: Feed, last_seq: Callable[[SessionId], int], closing: asyncio.Event) -> None:
        self._flask = flask
        self._feed = feed
        self._last_seq = last_seq
        self._closing = closing

    async def answer(self, scope: Scope, receive: Receive, send: Send, wait_s: float) -> None:
        """Ask Flask; while its answer says that there is something to wait for, wait and ask again.

        After `wait_s` seconds the caller gets the last answer. A caller that went away is forgotten.
        """
        held, waiting = await self._ask(scope, receive)
        if waiting is not None:
            async with asyncio.TaskGroup() as group:
                change = group.create_task(self._wait(scope, waiting, held, wait_s))
                gone = group.create_task(disconnected(receive))
                closing = group.create_task(self._closing.wait())
                await asyncio.wait({change, gone, closing}, return_when=asyncio.FIRST_COMPLETED)
                for task in (change, gone, closing):
                    task.cancel()
            if gone.done() and not gone.cancelled():
                return
        await held.send(send)

    async def _wait(self, scope: Scope, waiting: Waiting, held: Held, wait_s: float) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_s
        session = SessionId(waiting.session)
        again = _repetition(scope, waiting)
        with metrics.WAITS_OPEN.track_inprogress():
            try:
                after = await loop.run_in_executor(self._feed.pool, self._last_seq, session)
                async with self._feed.follow(session, after) as tail:
                    while await self._is_same(again, waiting, held):
                        if not await self._news(tail, waiting, deadline):
                            return
            except Unavailable:
                # The database is away: the caller has its first answer, which was true when it was given.
                return

    async def _is_same(self, again: Scope, waiting: Waiting, held: Held) -> bool:
        latest, onward = await self._ask(again, _nothing_more)
        if latest.status >= 400:
            return False
        held.overlay(latest)
        if onward is not None and waiting.state in {UNTIL_DONE, onward.state}:
            return True
        # Accepted has become done; what was created stays created.
        held.status = 200 if held.status == 202 and onward is None else held.status
        return False

    async def _news(self, tail: Tail, waiting: Waiting, deadline: float) -> bool:
        """True when it is time to ask again, False when the time is over."""
        loop = asyncio.get_running_loop()
        look_at = loop.time() + _LOOK_S
        while loop.time() < deadline:
            until = min(deadline, look_at)
            items = await tail.next(max(0.0, until - loop.time()), self._feed.pool)
            if loop.time() >= look_at or any(_matters(item, waiting) for item in items):
                await asyncio.sleep(min(_PAUSE_S if waiting.state.startswith("line") else 0.0, deadline - loop.time()))
                return True
        return False

    async def _ask(self, scope: Scope, receive: Receive) -> tuple[Held, Waiting | None]:
        held = Held()
        marker = b""

        async def send(message: Message) -> None:
            nonlocal marker
            if message["type"] == "http.response.start":
                marker = dict(message["headers"]).get(WAIT_HEADER.lower().encode(), b"")
            await held.collect(message)

        await self._flask(scope, receive, send)
        return held, read_waiting(marker.decode("latin-1")) if marker else None


def _matters(item: Item, waiting: Waiting) -> bool:
    return item.type not in NO_NEWS or waiting.state.startswith("line")


def _repetition(scope: Scope, waiting: Waiting) -> Scope:
    path, _, query = waiting.path.partition("?")
    drop = {b"content-length", b"content-type", b"idempotency-key", b"transfer-encoding"}
    return {
        **scope,
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(name, value) for name, value in scope["headers"] if name not in drop],
        AGAIN: True,
    }


async def _nothing_more() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}
