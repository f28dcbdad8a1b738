"""How many requests a key may make: GCRA in Redis, shared by all API processes; each on its own while Redis is away."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import redis
import structlog

from shared.domain.errors import RateLimited
from shared.redis import RATE_PREFIX, connect

log = structlog.get_logger(__name__)

_PERIOD_S = 60.0
_AWAY_S = 5.0
"""How long Redis is left alone after it failed to answer."""
_TIMEOUT_S = 0.1
_LOCAL_KEYS = 10_000

# The stored number is the moment at which the key's allowance is whole again. Redis' own clock is used, so
# that the clocks of API processes need not agree.
_SCRIPT = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local whole_at = math.max(now, tonumber(redis.call('GET', KEYS[1]) or '0'))
local after = whole_at + tonumber(ARGV[1]) - now
if after > tonumber(ARGV[2]) + 0.000001 then
  return {0, string.format('%.6f', whole_at - now)}
end
redis.call('SET', KEYS[1], string.format('%.6f', now + after), 'EX', 120)
return {1, string.format('%.6f', after)}
"""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left of a key's minute after this request."""

    limit: int
    taken_s: float
    """Seconds until the allowance is whole again."""

    def headers(self) -> Mapping[str, str]:
        """`RateLimit` and `RateLimit-Policy` as the IETF's draft has them."""
        remaining = max(0, math.floor(self.limit * (1 - self.taken_s / _PERIOD_S) + 1e-6))
        return {
            "RateLimit-Policy": f'"key";q={self.limit};w={_PERIOD_S:.0f}',
            "RateLimit": f'"key";r={remaining};t={math.ceil(self.taken_s)}',
        }


class Limiter:
    """Counts requests per key. With `per_minute` 0 everything passes."""

    def __init__(self, redis_url: str, per_minute: int, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._monotonic = monotonic
        self._client = connect(redis_url, timeout_s=_TIMEOUT_S) if redis_url else None
        self._away_until = 0.0
        self._lock = threading.Lock()
        self._local: dict[str, float] = {}

    def take(self, key: str) -> Allowance | None:
        """Count one request of `key`; None where no limit is set. At most a tenth of a second when Redis is slow.

        Raises:
            RateLimited: the minute's allowance is used up; says when the next request passes.
        """
        if self._per_minute <= 0:
            return None
        passed, taken_s = self._ask(key)
        if not passed:
            raise RateLimited(self._per_minute, taken_s + _PERIOD_S / self._per_minute - _PERIOD_S)
        return Allowance(self._per_minute, taken_s)

    def close(self) -> None:
        """Close the connections to Redis."""
        if self._client is not None:
            self._client.close()

    def _ask(self, key: str) -> tuple[bool, float]:
        if self._client is not None and self._monotonic() >= self._away_until:
            try:
                return self._ask_redis(self._client, key)
            except redis.RedisError as problem:
                log.warning("ratelimit.redis_away", problem=str(problem))
                self._away_until = self._monotonic() + _AWAY_S
        return self._ask_here(key)

    def _ask_redis(self, client: redis.Redis, key: str) -> tuple[bool, float]:
        step = _PERIOD_S / self._per_minute
        reply = client.eval(_SCRIPT, 1, f"{RATE_PREFIX}{key}", repr(step), repr(_PERIOD_S))
        passed, taken = reply
        return bool(passed), float(taken)

    def _ask_here(self, key: str) -> tuple[bool, float]:
        moment = self._monotonic()
        with self._lock:
            if len(self._local) > _LOCAL_KEYS:
                self._local = {name: at for name, at in self._local.items() if at > moment}
            whole_at = max(moment, self._local.get(key, 0.0))
            after = whole_at + _PERIOD_S / self._per_minute - moment
            if after > _PERIOD_S + 1e-6:
                return False, whole_at - moment
            self._local[key] = moment + after
            return True, after
