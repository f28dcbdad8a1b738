"""The breaker: when it opens, what it lets out, when it closes."""

from __future__ import annotations

from workers.delivery.breaker import Breaker, BreakerTimes

TIMES = BreakerTimes(open_s=30.0, longest_s=100.0)


def fed(*results: bool, at: float = 1000.0) -> Breaker:
    breaker = Breaker(TIMES)
    for number, delivered in enumerate(results):
        assert breaker.admit(at + number / 10)
        breaker.record(delivered=delivered, now=at + number / 10)
    return breaker


def test_five_failures_in_a_row_open_it_and_four_do_not():
    assert fed(*[False] * 4).is_closed
    assert not fed(*[False] * 5).is_closed


def test_a_success_between_begins_the_row_anew():
    assert fed(False, False, False, False, True, False, False, False, False).is_closed


def test_half_of_ten_failing_opens_it():
    assert fed(*[True, False] * 4, True).is_closed
    assert not fed(*[True, False] * 5).is_closed


def test_failures_of_more_than_a_minute_ago_do_not_count():
    breaker = fed(True, False, True, False, True, False, True, False, True)

    breaker.record(delivered=False, now=1070.0)

    assert breaker.is_closed


def test_open_it_lets_one_probe_out_per_period():
    breaker = fed(*[False] * 5, at=1000.0)

    assert not breaker.admit(1001.0)
    assert breaker.wait_s(1001.0) == 1000.4 + 30.0 - 1001.0
    assert breaker.admit(1031.0)
    assert not breaker.admit(1031.0)
    assert breaker.wait_s(1031.0) is None


def test_a_probe_that_succeeds_closes_it():
    breaker = fed(*[False] * 5)
    assert breaker.admit(1031.0)

    breaker.record(delivered=True, now=1032.0)

    assert breaker.is_closed
    assert breaker.admit(1032.0)


def test_each_failed_probe_doubles_the_period_up_to_the_longest():
    breaker, now, waits = fed(*[False] * 5), 1000.4, []
    for _ in range(4):
        wait = breaker.wait_s(now)
        assert wait is not None
        waits.append(round(wait, 1))
        now += wait
        assert breaker.admit(now)
        breaker.record(delivered=False, now=now)

    assert waits == [30.0, 60.0, 100.0, 100.0]


def test_a_probe_that_was_not_made_lets_the_next_one_out():
    breaker = fed(*[False] * 5)
    assert breaker.admit(1031.0)

    breaker.give_up()

    assert breaker.admit(1031.0)


def test_what_was_in_flight_when_it_opened_changes_nothing():
    breaker = fed(*[False] * 5)
    wait = breaker.wait_s(1001.0)

    breaker.record(delivered=False, now=1001.0)
    breaker.record(delivered=True, now=1001.0)

    assert breaker.wait_s(1001.0) == wait


def test_a_thousand_failed_probes_do_not_overflow():
    breaker, now = fed(*[False] * 5), 2000.0
    for _ in range(1200):
        now += 101.0
        assert breaker.admit(now)
        breaker.record(delivered=False, now=now)

    assert breaker.wait_s(now) == 100.0
