"""The delivery process: wires reader, writer, beat, lanes, discovery and probe; ends cleanly on SIGTERM."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field

import structlog
from aiohttp.abc import AbstractResolver

from shared.channel.subscriber import Subscriber
from shared.domain import clock
from shared.domain.addresses import AddressRules
from shared.domain.errors import Unavailable
from shared.domain.ids import Incarnation, mint_incarnation
from shared.domain.lapse import LapseObserver
from shared.redis import DELIVERY_CHANNEL
from shared.settings.reading import Settings
from shared.store import lanes, workers
from shared.store.database import Database
from shared.store.endpoints import EndpointStore
from shared.store.sealing import Sealer
from workers.delivery.beat import Beat
from workers.delivery.breaker import BreakerTimes
from workers.delivery.discovery import Discovery
from workers.delivery.lanes import Tools
from workers.delivery.probe import Readiness, probe
from workers.delivery.receiver import FAILING_S, ReceiverRules
from workers.delivery.roster import Roster
from workers.delivery.schedule import Ladder
from workers.delivery.send import Sender, open_session
from workers.delivery.trial import Trials
from workers.delivery.writer import SqlThread

log = structlog.get_logger(__name__)

SQLITE_GAP_S = 0.004
"""Between two commits on SQLite, whose waiting writers sleep 1, 2, 5, 10 ms and starve beside one that never rests."""
RESOLVER_THREADS = 32
"""Names that take long to resolve hold one each; other receivers' names must not wait for them."""
RETRY_S = 1.0


@dataclass(frozen=True, slots=True)
class Times:
    """The clockwork of ownership, seconds."""

    beat_s: float = 2.0
    freeze_s: float = 6.0
    lapse_s: float = 8.0
    sweep_s: float = 1.0


@dataclass(frozen=True, slots=True)
class DeliveryConfig:
    """All this process needs to know."""

    database_url: str
    redis_url: str
    secret_key: str = field(repr=False)
    rules: AddressRules
    ladder: Ladder
    timeout_s: float = 15.0
    window_s: float = 0.2
    idle_s: float = 60.0
    concurrency: int = 10
    lane_limit: int = 5000
    host: str = "127.0.0.1"
    port: int = 0
    scale: float = 1.0
    """Multiplies the breaker's periods and the days until a failing endpoint is disabled, as the ladder was."""
    times: Times = field(default_factory=Times)


def configure(settings: Settings) -> DeliveryConfig:
    """What the settings say."""
    delivery, times = settings.delivery, settings.times
    return DeliveryConfig(
        database_url=settings.core.database_url,
        redis_url=settings.core.redis_url,
        secret_key=settings.core.secret_key,
        rules=AddressRules.read(delivery.allow, delivery.ports),
        ladder=Ladder.read(delivery.ladder_s, delivery.scale),
        timeout_s=delivery.timeout_s,
        window_s=delivery.window_s,
        concurrency=delivery.concurrency,
        lane_limit=delivery.lane_limit,
        host=delivery.host,
        port=delivery.port,
        scale=delivery.scale,
        times=Times(times.beat_s, times.freeze_s, times.lapse_s, times.sweep_s),
    )


def run(config: DeliveryConfig) -> int:
    """Deliver until SIGTERM or SIGINT; the exit status."""

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, stop.set)
        await DeliveryProcess(config).run(stop)

    asyncio.run(main())
    return 0


class DeliveryProcess:
    """One process's life; displaced by its peers it begins another, under a new incarnation."""

    def __init__(self, config: DeliveryConfig, *, resolver: AbstractResolver | None = None) -> None:
        self._config = config
        self._resolver = resolver
        self._life: Life | None = None
        self.port = 0
        """Where the probe listens, once it does."""
        self.me: Incarnation | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until `stop` is set; requests in flight may end first.

        Raises:
            OSError: the probe's address is taken.
        """
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(RESOLVER_THREADS, "resolver"))
        config = self._config
        async with probe(config.host, config.port, self._readiness) as self.port:
            log.info("delivery.listening", host=config.host, port=self.port)
            while not stop.is_set():
                try:
                    await self._live(stop)
                except Unavailable:
                    log.warning("delivery.database_away")
                    await _either(stop, timeout_s=RETRY_S)

    def _readiness(self) -> Readiness:
        if self._life is None or not self._life.beat.is_fresh or self._life.discovery.swept_at is None:
            return Readiness(missing=("database",))
        return Readiness(warnings=() if self._life.subscriber.is_connected else ("redis",))

    async def _live(self, stop: asyncio.Event) -> None:
        try:
            async with _living(self._config, self._resolver) as self._life:
                self.me = self._life.me
                await self._life.run(stop, self._config.timeout_s + 2.0)
        finally:
            self._life = None


@dataclass(slots=True)
class Life:
    """The parts of one incarnation."""

    me: Incarnation
    beat: Beat
    tools: Tools
    sender: Sender
    rules: ReceiverRules
    config: DeliveryConfig
    subscriber: Subscriber = field(init=False)
    discovery: Discovery = field(init=False)

    async def run(self, stop: asyncio.Event, grace_s: float) -> None:
        """Until `stop` is set, or peers took this process for lost."""
        async with asyncio.TaskGroup() as group:
            roster = Roster(self.tools, self.rules, self.sender, group, lane_limit=self.config.lane_limit)
            times = self.config.times
            self.discovery = Discovery(
                roster,
                self.tools,
                peers=LapseObserver(lapse_s=times.lapse_s, gap_s=max(times.lapse_s / 2, 2 * times.sweep_s)),
                sweep_s=times.sweep_s,
                send_test=Trials(roster, self.tools, group).send,
            )
            self.subscriber = Subscriber(
                self.config.redis_url, lambda _, message: self.discovery.hint(message), self.discovery.hurry
            )
            await self.subscriber.add(DELIVERY_CHANNEL)
            running = [group.create_task(self.discovery.run()), group.create_task(self.subscriber.run())]
            await self._until_over(stop)
            for task in running:
                task.cancel()
            await roster.end(0.0 if self.beat.is_displaced else grace_s)

    async def _until_over(self, stop: asyncio.Event) -> None:
        while not stop.is_set() and not self.beat.is_displaced:
            await _either(stop, timeout_s=0.2)
        log.info("delivery.ending", incarnation=self.me, displaced=self.beat.is_displaced)


@asynccontextmanager
async def _living(config: DeliveryConfig, resolver: AbstractResolver | None) -> AsyncIterator[Life]:
    """Opened in this order, closed in the reverse: lanes are released by a writer that still runs, the beat last."""
    me = mint_incarnation()
    times = config.times
    database = Database(config.database_url, pool_size=3)
    beating = Database(config.database_url, pool_size=1, timeout_s=2.0)
    async with AsyncExitStack() as stack:
        stack.callback(database.close)
        stack.callback(beating.close)
        await asyncio.to_thread(_register, database, me)
        stack.push_async_callback(asyncio.to_thread, _leave, database, me)
        beat = stack.enter_context(Beat(beating, me, beat_s=times.beat_s, freeze_s=times.freeze_s))
        gap_s = SQLITE_GAP_S if database.is_sqlite else 0.0
        writer = stack.enter_context(SqlThread(database, me, writes=True, gap_s=gap_s))
        reader = stack.enter_context(SqlThread(database, me, writes=False))
        session = await stack.enter_async_context(open_session(config.rules, resolver))
        tools = Tools(
            me=me,
            reader=reader,
            writer=writer,
            beat=beat,
            store=EndpointStore(Sealer(config.secret_key)),
            ladder=config.ladder,
            window_s=config.window_s,
            idle_s=config.idle_s,
        )
        breaker = BreakerTimes(BreakerTimes().open_s * config.scale, BreakerTimes().longest_s * config.scale)
        rules = ReceiverRules(config.concurrency, breaker, FAILING_S * config.scale)
        yield Life(me, beat, tools, Sender(session, timeout_s=config.timeout_s), rules, config)


def _register(database: Database, me: Incarnation) -> None:
    with database.write() as connection:
        workers.register(
            connection,
            incarnation=me,
            # A name is its bearer's alone: two delivery processes of one machine must not displace each other.
            name=f"delivery-{socket.gethostname()}-{os.getpid()}",
            role="delivery",
            volume_id=None,
            address=None,
            capacity=0,
            agents={},
            at=clock.now(),
        )


def _leave(database: Database, me: Incarnation) -> None:
    with suppress(Unavailable), database.write() as connection:
        lanes.let_go_all(connection, me)
        workers.remove(connection, me)


async def _either(stop: asyncio.Event, *, timeout_s: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await stop.wait()
