"""One pub/sub connection for all readers of a process; reconnects for as long as it takes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import redis
import redis.asyncio.client
import structlog

from shared.redis import connect_async

log = structlog.get_logger(__name__)

Handler = Callable[[str, bytes], None]
"""Called on the event loop with channel and message; must not block or raise."""

_RETRY_S = 0.5
_ALWAYS = "corral"


class Subscriber:
    """Listens to a changing set of channels and hands each message to one handler.

    Messages published while the connection is away are lost; `on_reconnect` tells readers to look at the store.
    """

    def __init__(self, redis_url: str, handler: Handler, on_reconnect: Callable[[], None]) -> None:
        self._url = redis_url
        self._handler = handler
        self._on_reconnect = on_reconnect
        self._wanted: set[str] = set()
        self._pubsub: redis.asyncio.client.PubSub | None = None
        self._is_away = False

    @property
    def is_connected(self) -> bool:
        """Whether hints arrive at present."""
        return self._pubsub is not None

    async def add(self, channel: str) -> None:
        """Listen to `channel` too. When this returns, messages published from now on arrive (if Redis is there)."""
        self._wanted.add(channel)
        if self._pubsub is not None:
            with suppress(redis.RedisError, OSError):
                await self._pubsub.subscribe(channel)

    async def remove(self, channel: str) -> None:
        """Listen to `channel` no longer."""
        self._wanted.discard(channel)
        if self._pubsub is not None:
            with suppress(redis.RedisError, OSError):
                await self._pubsub.unsubscribe(channel)

    async def run(self) -> None:
        """Listen until cancelled."""
        while True:
            client = connect_async(self._url)
            try:
                async with client.pubsub() as pubsub:
                    # The constant channel keeps the connection subscribed while no reader is there.
                    await pubsub.subscribe(_ALWAYS, *self._wanted)
                    self._pubsub = pubsub
                    self._is_away = False
                    self._on_reconnect()
                    await self._listen(pubsub)
            except (redis.RedisError, OSError) as problem:
                if not self._is_away:
                    log.warning("redis.away", problem=str(problem))
                self._is_away = True
            finally:
                self._pubsub = None
                with suppress(redis.RedisError, OSError):
                    await client.aclose()
            await asyncio.sleep(_RETRY_S)

    async def _listen(self, pubsub: redis.asyncio.client.PubSub) -> None:
        while True:
            # The time-out makes redis-py send its health check on a quiet connection.
            message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=5.0)
            if message is not None and message["type"] == "message":
                self._handler(message["channel"].decode(), message["data"])
