"""How many requests a key may make: shared through Redis, and by each process alone while Redis is away."""

from __future__ import annotations

import pytest

from api.ratelimit import Limiter
from shared.domain.errors import RateLimited


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def passed(limiter: Limiter, count: int, key: str = "k") -> int:
    done = 0
    for _ in range(count):
        try:
            limiter.take(key)
        except RateLimited:
            return done
        done += 1
    return done


def test_a_minutes_requests_may_come_at_once_and_then_as_they_accrue(clock):
    limiter = Limiter("", 60, monotonic=clock)

    assert passed(limiter, 100) == 60
    clock.now += 10
    assert passed(limiter, 100) == 10
    clock.now += 3600
    assert passed(limiter, 100) == 60, "idle time is not saved up"


def test_a_refusal_says_when_the_next_request_passes(clock):
    limiter = Limiter("", 6, monotonic=clock)
    passed(limiter, 6)

    with pytest.raises(RateLimited) as refusal:
        limiter.take("k")

    wait_s = refusal.value.facts["retry_after_s"]
    assert wait_s == pytest.approx(10)
    clock.now += 10
    assert limiter.take("k") is not None


def test_keys_do_not_take_from_each_other(clock):
    limiter = Limiter("", 5, monotonic=clock)

    assert passed(limiter, 9, "a") == 5
    assert passed(limiter, 9, "b") == 5


def test_zero_switches_the_limit_off(clock):
    assert Limiter("", 0, monotonic=clock).take("k") is None


def test_the_headers_count_down(clock):
    limiter = Limiter("", 10, monotonic=clock)
    first = limiter.take("k")
    second = limiter.take("k")

    assert first is not None
    assert second is not None
    assert first.headers() == {"RateLimit-Policy": '"key";q=10;w=60', "RateLimit": '"key";r=9;t=6'}
    assert second.headers()["RateLimit"] == '"key";r=8;t=12'


def test_two_processes_share_one_limit(valkey_url):
    one, two = Limiter(valkey_url, 50), Limiter(valkey_url, 50)
    try:
        total = sum(passed(limiter, 40) for limiter in (one, two))
    finally:
        one.close()
        two.close()

    # A request may accrue while they are counted.
    assert 50 <= total <= 52


def test_while_redis_is_away_each_process_counts_alone():
    limiter = Limiter("redis://127.0.0.1:1/0", 20)
    try:
        assert passed(limiter, 50) == 20
    finally:
        limiter.close()
