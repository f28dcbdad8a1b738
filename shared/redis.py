"""Connections to Redis, and the list of every key and channel of ours.

Redis holds hints and what may be forgotten. Write to the common subset of Redis 7.0 and Valkey 7.2.
"""

from __future__ import annotations

from typing import Final

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry

# | name | kind | life | writer | reader |
# |---|---|---|---|---|
# | `ev:<session>` | pub/sub channel | - | worker, API | API, chat |
# | `dlv` | pub/sub channel | - | worker, API | delivery |
# | `rl:<key id>`, `rl:link:<hash>`, `rl:address:<ip>` | string (GCRA time) | two periods | API | API |
# | `start`, `wk.<worker>` | lists (Celery queues) | until taken | API, worker | worker |
EVENTS_PREFIX: Final = "ev:"
DELIVERY_CHANNEL: Final = "dlv"
RATE_PREFIX: Final = "rl:"


def connect(url: str, *, timeout_s: float = 1.0) -> redis.Redis:
    """A client for short commands that must never hold anybody up: no silent retries, a deadline each.

    redis-py 8 retries ten times by itself; a command that is not idempotent would run twice.
    """
    return redis.Redis.from_url(
        url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=Retry(NoBackoff(), 0)
    )


def connect_async(url: str) -> redis.asyncio.Redis:
    """A client for subscriptions: reads wait as long as nothing comes, half-open connections are noticed."""
    return redis.asyncio.Redis.from_url(
        url,
        socket_timeout=None,
        socket_connect_timeout=2.0,
        health_check_interval=10,
        retry=redis.asyncio.retry.Retry(NoBackoff(), 0),
    )
