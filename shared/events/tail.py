"""Live readers of the log: from a seq onward, never skipping, whatever happens to the hints.

A reader is woken by pub/sub, takes what arrived if it is the next in line, and goes to the store for
everything else: its beginning, holes, what it was too slow for, and what a lost hint would have told.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from shared.channel.message import News, channel, unpack
from shared.domain.errors import Unavailable
from shared.domain.ids import SessionId
from shared.redis import EVENTS_PREFIX
from shared.store import events, heads
from shared.store.database import Database

log = structlog.get_logger(__name__)

BUFFER_BYTES: Final = 1024 * 1024
"""What may wait in memory for one reader; beyond it the reader catches up from the store."""

PAGE: Final = 500
"""Events a reader gets from the store at once."""

POLL_S: Final = 2.0
"""One query for all readers of the process this often: a lost last hint delays nobody longer."""


@dataclass(frozen=True, slots=True)
class Item:
    """One event for a reader: `envelope` is its JSON text."""

    seq: int
    type: str
    envelope: str


class Listening(Protocol):
    """Where hints come from; `shared.channel.subscriber.Subscriber` is one."""

    async def add(self, channel: str) -> None:
        """Listen to `channel` too."""
        ...

    async def remove(self, channel: str) -> None:
        """Listen to it no longer."""
        ...

    async def run(self) -> None:
        """Listen until cancelled."""
        ...


Listen = Callable[[Callable[[str, bytes], None], Callable[[], None]], Listening]
"""Makes a `Listening` from a handler of messages and a callback for regained connections."""


class Tail:
    """One reader's place in one log. Made by `Feed.follow`."""

    def __init__(self, session: SessionId, after: int, load: Callable[[SessionId, int], Sequence[Item]]) -> None:
        self.session = session
        self.after = after
        self._load = load
        self._news: deque[News] = deque()
        self._bytes = 0
        self._is_behind = True
        self._stir = asyncio.Event()

    async def next(self, timeout_s: float, pool: ThreadPoolExecutor) -> Sequence[Item]:
        """The events after the last ones given; empty when none came within `timeout_s`.

        Raises:
            DatabaseAway: the store could not be read; calling again continues at the same place.
        """
        deadline = asyncio.get_running_loop().time() + timeout_s
        while True:
            items = await self._catch_up(pool) if self._is_behind else self._take_news()
            if items:
                self.after = items[-1].seq
                return items
            if self._is_behind or self._news:
                continue
            remaining = deadline - asyncio.get_running_loop().time()
            if remaining <= 0 or not await self._stirred(remaining):
                return ()

    async def _stirred(self, timeout_s: float) -> bool:
        try:
            await asyncio.wait_for(self._stir.wait(), timeout_s)
        except TimeoutError:
            return False
        self._stir.clear()
        return True

    async def _catch_up(self, pool: ThreadPoolExecutor) -> Sequence[Item]:
        # Lowered before reading: a hint that comes while the page is read raises it again.
        self._is_behind = False
        loop = asyncio.get_running_loop()
        try:
            items = await loop.run_in_executor(pool, self._load, self.session, self.after)
        except Unavailable:
            self._is_behind = True
            raise
        self._is_behind = self._is_behind or len(items) == PAGE
        return items

    def _take_news(self) -> Sequence[Item]:
        while self._news:
            news = self._news.popleft()
            self._bytes -= _size(news)
            if news.last <= self.after:
                continue
            if news.first > self.after + 1 or not news.envelopes:
                self._is_behind = True
                return ()
            skip = self.after + 1 - news.first
            rows = list(zip(news.types, news.envelopes, strict=True))[skip:]
            return [Item(self.after + 1 + place, kind, envelope) for place, (kind, envelope) in enumerate(rows)]
        return ()

    def offer(self, news: News) -> None:
        """A hint arrived. Kept if there is room, else the reader will go to the store."""
        self._bytes += _size(news)
        self._news.append(news)
        if self._bytes > BUFFER_BYTES:
            self._news.clear()
            self._bytes = 0
            self._is_behind = True
        self._stir.set()

    def heard_of(self, last_seq: int) -> None:
        """The log is known to reach `last_seq`, however that was learnt."""
        if last_seq > self.after and not self._news:
            self.look()

    def look(self) -> None:
        """Hints may have been lost: look at the store."""
        self._is_behind = True
        self._stir.set()


def _size(news: News) -> int:
    return sum(len(envelope) for envelope in news.envelopes) + 64


class Feed:
    """All live readers of one process: one subscription, one poll, a few threads for the store."""

    def __init__(self, database: Database, listen: Listen, *, poll_s: float = POLL_S) -> None:
        self._database = database
        self._poll_s = poll_s
        self._listening = listen(self._heard, self._look_all)
        self._tails: dict[SessionId, set[Tail]] = {}
        self.pool = ThreadPoolExecutor(4, thread_name_prefix="feed")

    async def run(self) -> None:
        """Keep readers fed until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listening.run())
            group.create_task(self._poll())

    @asynccontextmanager
    async def follow(self, session: SessionId, after: int) -> AsyncIterator[Tail]:
        """A reader of `session` that begins behind seq `after`."""
        tail = Tail(session, after, self._load)
        readers = self._tails.setdefault(session, set())
        readers.add(tail)
        try:
            # Subscribed before the first look at the store: what is committed in between comes as a hint.
            await self._listening.add(channel(session))
            yield tail
        finally:
            readers.discard(tail)
            if not readers and self._tails.get(session) is readers:
                del self._tails[session]
                await self._listening.remove(channel(session))

    def close(self) -> None:
        """End the threads. Call after `run` was cancelled."""
        self._look_all()
        self.pool.shutdown(wait=False, cancel_futures=True)

    def _load(self, session: SessionId, after: int) -> Sequence[Item]:
        with self._database.read() as connection:
            rows = events.between(connection, session, after, after + PAGE)
        return [Item(event.seq, event.type, event.envelope()) for event in rows]

    def _heard(self, name: str, message: bytes) -> None:
        session = SessionId(name.removeprefix(EVENTS_PREFIX))
        readers = self._tails.get(session)
        if not readers:
            return
        news = unpack(session, message)
        if news is not None:
            for tail in readers:
                tail.offer(news)

    def _look_all(self) -> None:
        for readers in self._tails.values():
            for tail in readers:
                tail.look()

    async def _poll(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._poll_s)
            sessions = list(self._tails)
            if not sessions:
                continue
            try:
                lasts = await loop.run_in_executor(self.pool, self._last_seqs, sessions)
            except Unavailable as problem:
                log.warning("feed.poll_failed", problem=str(problem))
                continue
            for session, last in lasts.items():
                for tail in self._tails.get(session, ()):
                    tail.heard_of(last)

    def _last_seqs(self, sessions: Sequence[SessionId]) -> dict[SessionId, int]:
        with self._database.read() as connection:
            return dict(heads.last_seqs(connection, sessions))
