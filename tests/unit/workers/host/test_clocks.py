"""Deadlines by name, and a countdown that can be held."""

from __future__ import annotations

from workers.host.clocks import Alarm, Clocks, Countdown


def test_what_is_due_is_given_once_earliest_first():
    clocks = Clocks()
    clocks.set(Alarm.IDLE, 5.0)
    clocks.set(Alarm.TURN, 3.0)
    clocks.set(Alarm.LIFETIME, 9.0)

    assert clocks.next() == 3.0
    assert clocks.take_due(6.0) == [Alarm.TURN, Alarm.IDLE]
    assert clocks.take_due(6.0) == []
    assert clocks.next() == 9.0


def test_a_later_wish_replaces_the_earlier_and_none_forgets_it():
    clocks = Clocks()
    clocks.set(Alarm.IDLE, 5.0)
    clocks.set(Alarm.IDLE, 7.0)

    assert clocks.take_due(6.0) == []
    clocks.set(Alarm.IDLE, None)
    assert clocks.next() is None


def test_time_that_is_held_does_not_count():
    countdown = Countdown(10.0)
    assert countdown.run(100.0) == 110.0

    countdown.hold(104.0)
    countdown.hold(150.0)

    assert countdown.run(200.0) == 206.0
    assert countdown.run(203.0) == 206.0
