"""Live readers against a real Redis and a real store: hints may be lost, events may not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager

import pytest

from shared.channel.publisher import Publisher
from shared.channel.subscriber import Subscriber
from shared.domain.event import Draft, Event, EventType
from shared.domain.ids import SessionId
from shared.events import owner
from shared.events.codec import prepare
from shared.events.owner import Entry
from shared.events.tail import Feed, Item, Listen, Tail
from shared.store import ownership
from shared.store.database import Database
from tests.fixtures.seeds import plant

DEADLINE_S = 20.0


class Log:
    """Appends events to one session as its owner."""

    def __init__(self, database: Database) -> None:
        seeds = plant(database)
        self.database = database
        self.session = seeds.session()
        worker = seeds.worker()
        with database.write() as connection:
            head = ownership.claim(connection, worker, "vol")
        assert head is not None
        self.epoch = head.epoch
        self.batch = 0

    def append(self, count: int, *, size: int = 1) -> Sequence[Event]:
        self.batch += 1
        draft = Draft(EventType.TOOL_OUTPUT_CHUNK, {"text": "x" * size})
        prepared = [prepare(self.session, draft)] * count
        return owner.append(self.database, [Entry(self.session, self.epoch, self.batch, prepared)]).events


@pytest.fixture
def log(sqlite_url: str) -> Iterator[Log]:
    database = Database(sqlite_url)
    yield Log(database)
    database.close()


def listening(url: str) -> Listen:
    return lambda handler, on_reconnect: Subscriber(url, handler, on_reconnect)


def dropping(url: str, drops: Callable[[int], bool]) -> Listen:
    """Hints whose number (from 1) `drops` says are lost on the way."""

    def listen(handler: Callable[[str, bytes], None], on_reconnect: Callable[[], None]) -> Subscriber:
        seen = 0

        def sometimes(channel: str, message: bytes) -> None:
            nonlocal seen
            seen += 1
            if not drops(seen):
                handler(channel, message)

        return Subscriber(url, sometimes, on_reconnect)

    return listen


@asynccontextmanager
async def fed(database: Database, listen: Listen, *, poll_s: float = 0.2) -> AsyncIterator[Feed]:
    feed = Feed(database, listen, poll_s=poll_s)
    async with asyncio.TaskGroup() as group:
        runner = group.create_task(feed.run())
        try:
            yield feed
        finally:
            runner.cancel()
        feed.close()


async def read(feed: Feed, tail: Tail, upto: int) -> list[Item]:
    items: list[Item] = []
    async with asyncio.timeout(DEADLINE_S):
        while not items or items[-1].seq < upto:
            items += await tail.next(1.0, feed.pool)
    return items


def seqs(items: Sequence[Item]) -> list[int]:
    return [item.seq for item in items]


@pytest.mark.parametrize("lost", ["none", "every tenth", "the last ones", "all"])
def test_no_event_is_missed_whichever_hints_are_lost(log: Log, valkey_url: str, lost: str) -> None:
    drops = {
        "none": lambda _: False,
        "every tenth": lambda number: number % 10 == 0,
        "the last ones": lambda number: number > 25,
        "all": lambda _: True,
    }[lost]

    async def scenario() -> list[Item]:
        with Publisher(valkey_url) as publisher:
            async with fed(log.database, dropping(valkey_url, drops)) as feed, feed.follow(log.session, 0) as tail:
                publisher.committed(await asyncio.to_thread(log.append, 3))
                items = await read(feed, tail, 3)
                for _ in range(30):
                    publisher.committed(await asyncio.to_thread(log.append, 4))
                return items + await read(feed, tail, 123)

    assert seqs(asyncio.run(scenario())) == list(range(1, 124))


def test_a_reader_resumes_behind_the_seq_it_names(log: Log, valkey_url: str) -> None:
    log.append(1200)

    async def scenario() -> list[Item]:
        async with fed(log.database, listening(valkey_url)) as feed, feed.follow(log.session, 700) as tail:
            return await read(feed, tail, 1200)

    assert seqs(asyncio.run(scenario())) == list(range(701, 1201))


def test_readers_go_on_without_redis(log: Log) -> None:
    nowhere = "redis://127.0.0.1:1/0"

    async def scenario() -> list[Item]:
        async with fed(log.database, listening(nowhere)) as feed, feed.follow(log.session, 0) as tail:
            await asyncio.to_thread(log.append, 5)
            items = await read(feed, tail, 5)
            await asyncio.to_thread(log.append, 5)
            return items + await read(feed, tail, 10)

    assert seqs(asyncio.run(scenario())) == list(range(1, 11))


def test_a_reader_that_lags_keeps_little_in_memory_and_misses_nothing(log: Log, valkey_url: str) -> None:
    async def scenario() -> tuple[int, list[Item]]:
        with Publisher(valkey_url) as publisher:
            async with fed(log.database, listening(valkey_url)) as feed, feed.follow(log.session, 0) as tail:
                publisher.committed(await asyncio.to_thread(log.append, 1))
                items = await read(feed, tail, 1)
                for _ in range(40):
                    publisher.committed(await asyncio.to_thread(log.append, 100, size=1000))
                    await asyncio.sleep(0)
                kept = tail._bytes
                return kept, items + await read(feed, tail, 4001)

    kept, items = asyncio.run(scenario())

    assert kept <= 1024 * 1024
    assert seqs(items) == list(range(1, 4002))


def test_a_reader_of_one_session_never_sees_another(log: Log, valkey_url: str) -> None:
    async def scenario() -> Sequence[Item]:
        with Publisher(valkey_url) as publisher:
            async with (
                fed(log.database, listening(valkey_url)) as feed,
                feed.follow(SessionId("ses_other"), 0) as other,
                feed.follow(log.session, 0) as tail,
            ):
                publisher.committed(await asyncio.to_thread(log.append, 2))
                await read(feed, tail, 2)
                return await other.next(0.05, feed.pool)

    assert asyncio.run(scenario()) == ()
