"""Event streams (SSE): the log of one session, live, from any seq onward, with nothing ever skipped."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl

import marshmallow as ma
import structlog

from api.auth import demand, secret_of
from api.exchange import Receive, Scope, Send, disconnected, headers_of, send_problem
from api.problems import Problem, from_error, from_fields
from api.ratelimit import Allowance
from api.routes import Edge
from api.schemas.history import EventsQuery
from api.wire import TRANSPORT
from shared.domain.errors import CorralError, InvalidField, NotFound, StreamsFull, Unauthenticated, Unavailable
from shared.domain.event import EventType
from shared.domain.ids import SessionId, is_id
from shared.domain.tenant import Scope as KeyScope
from shared.events.tail import Feed, Item, Tail
from shared.operations import history
from shared.telemetry import metrics

log = structlog.get_logger(__name__)

Found = TypeVar("Found")

MEDIA_TYPE: Final = "text/event-stream"
STALL_S: Final = 60.0
"""A reader whose connection takes nothing for this long is cut off; it goes on from its last event when it returns."""
_PIECE: Final = 64 * 1024
"""Characters handed to the connection at once; it is asked for room between two pieces."""
_STORE_AWAY_S: Final = 1.0
_TRUSTED_S: Final = 2.0
"""Before a stream sends anything later than this after its key was looked at, the key is looked at again."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What a reader asked for, once it was found in order."""

    session: SessionId
    after: int
    types: Collection[str]
    allowance: Allowance | None
    secret: str = field(repr=False)
    """The reader's key: it may be revoked while the stream is open."""


class Streams:
    """All event streams of this process. `limit` bounds them; a quiet one gets a comment each `heartbeat_s`."""

    def __init__(
        self,
        edge: Edge,
        feed: Feed,
        closing: asyncio.Event,
        *,
        limit: int,
        heartbeat_s: float,
        stall_s: float = STALL_S,
    ) -> None:
        self._edge = edge
        self._feed = feed
        self._closing = closing
        self._limit = limit
        self._heartbeat_s = heartbeat_s
        self._stall_s = stall_s
        self._open = 0

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request for a stream: a problem, or events until the session has ended or the reader is gone."""
        try:
            opening = await asyncio.to_thread(self._opening, scope)
            self._check_room()
        except CorralError as problem:
            await send_problem(scope, send, from_error(problem))
            return
        except ma.ValidationError as problem:
            await send_problem(scope, send, _invalid(problem))
            return
        self._open += 1
        try:
            with metrics.STREAMS_OPEN.track_inprogress():
                await self._run(scope, opening, receive, send)
        finally:
            self._open -= 1

    def _check_room(self) -> None:
        if self._open >= self._limit or self._closing.is_set():
            metrics.STREAMS_CUT.labels(reason="full").inc()
            raise StreamsFull(self._limit)

    def _opening(self, scope: Scope) -> Opening:
        headers = headers_of(scope)
        secret = secret_of(headers)
        caller = self._edge.keyring.caller(secret)
        allowance = self._edge.limiter.take(caller.key)
        demand(caller, KeyScope.READ)
        session = scope["path_params"]["session_id"]
        if not is_id(session, "ses"):
            raise NotFound("session", session[:80])
        query = _query(scope)
        after = _last_event_id(headers)
        if after is None:
            after = query["after"] if query["cursor"] is None else query["cursor"]
        begin = history.begin(self._edge.context, caller, SessionId(session), after)
        return Opening(SessionId(session), begin, frozenset(query["types"]), allowance, secret)

    async def _run(self, scope: Scope, opening: Opening, receive: Receive, send: Send) -> None:
        headers = {"content-type": f"{MEDIA_TYPE}; charset=utf-8", "x-accel-buffering": "no"}
        headers |= opening.allowance.headers() if opening.allowance else {}
        pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": pairs})
        async with asyncio.TaskGroup() as group:
            pump = group.create_task(self._pump(scope, opening, send))
            gone = group.create_task(disconnected(receive))
            closing = group.create_task(self._closing.wait())
            await asyncio.wait({pump, gone, closing}, return_when=asyncio.FIRST_COMPLETED)
            for task in (pump, gone, closing):
                task.cancel()
        if pump.cancelled() and self._closing.is_set():
            await send({"type": "http.response.body", "body": b""})

    async def _pump(self, scope: Scope, opening: Opening, send: Send) -> None:
        try:
            # Readers that a restart threw out must not all come back in the same moment.
            await self._put(send, f"retry: {1000 + secrets.randbelow(2000)}\n\n")
            async with self._feed.follow(opening.session, opening.after) as tail:
                await self._follow(opening, tail, send)
            await send({"type": "http.response.body", "body": b""})
        except TimeoutError:
            metrics.STREAMS_CUT.labels(reason="stalled").inc()
            log.info("stream.stalled", session=opening.session)
            _abort(scope)
        except Unauthenticated:
            # Back with the same key, the reader is told so in words.
            metrics.STREAMS_CUT.labels(reason="revoked").inc()
            await send({"type": "http.response.body", "body": b""})

    async def _follow(self, opening: Opening, tail: Tail, send: Send) -> None:
        """Send what there is until the session has ended.

        Raises:
            Unauthenticated: the reader's key was revoked, or has expired.
        """
        trusted_until = time.monotonic() + _TRUSTED_S
        is_over = False
        while not is_over:
            items = await self._patiently(send, lambda: tail.next(self._heartbeat_s, self._feed.pool))
            if time.monotonic() >= trusted_until:
                await self._patiently(send, lambda: asyncio.to_thread(self._edge.keyring.caller, opening.secret))
                trusted_until = time.monotonic() + _TRUSTED_S
            is_over = await self._tell(items, opening.types, send)

    async def _patiently(self, send: Send, look: Callable[[], Awaitable[Found]]) -> Found:
        """What `look` finds; while the store is away the reader keeps its place and is told nothing but that."""
        while True:
            try:
                return await look()
            except Unavailable:
                await self._put(send, ": the store is away\n\n")
                await asyncio.sleep(_STORE_AWAY_S)

    async def _tell(self, items: Sequence[Item], types: Collection[str], send: Send) -> bool:
        """Send these, or a heartbeat; True when the session has ended."""
        if not items:
            await self._put(send, ": ping\n\n")
        for piece in _pieces(item for item in items if not types or item.type in types):
            await self._put(send, piece)
        return any(item.type == EventType.SESSION_ENDED for item in items)

    async def _put(self, send: Send, text: str) -> None:
        async with asyncio.timeout(self._stall_s):
            await send({"type": "http.response.body", "body": text.encode(), "more_body": True})


def _pieces(items: Iterable[Item]) -> Iterable[str]:
    frames: list[str] = []
    size = 0
    for item in items:
        frame = f"id: {item.seq}\nevent: {item.type}\ndata: {item.envelope}\n\n"
        frames.append(frame)
        size += len(frame)
        if size >= _PIECE:
            yield "".join(frames)
            frames, size = [], 0
    if frames:
        yield "".join(frames)


def _query(scope: Scope) -> Mapping[str, Any]:
    given = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
    loaded: Mapping[str, Any] = EventsQuery().load(given)
    return loaded


def _last_event_id(headers: Mapping[str, str]) -> int | None:
    text = headers.get("last-event-id", "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 16):
        raise InvalidField("Last-Event-ID", "must be the seq of an event")
    return int(text)


def _invalid(problem: ma.ValidationError) -> Problem:
    return from_fields({"query": problem.messages})


def _abort(scope: Scope) -> None:
    # Ending the answer in order would wait for the reader to take what is buffered, which it does not.
    transport = scope.get(TRANSPORT)
    if transport is not None:
        transport.abort()
