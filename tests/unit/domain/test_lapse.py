"""When a peer counts as lost."""

from __future__ import annotations

from shared.domain.ids import Incarnation
from shared.domain.lapse import LapseObserver

PEER = Incarnation("wkr_peer")


def observer() -> LapseObserver:
    return LapseObserver(lapse_s=8.0, gap_s=3.0)


def test_a_peer_whose_beat_stands_still_lapses_after_eight_seconds_of_looking() -> None:
    looks = observer()

    lapsed = [looks.look({PEER: 5}, float(second)) for second in range(10)]

    assert lapsed == [[]] * 8 + [[PEER]] * 2


def test_a_peer_that_beats_never_lapses() -> None:
    looks = observer()

    assert not any(looks.look({PEER: second // 2}, float(second)) for second in range(60))


def test_time_in_which_the_database_was_away_does_not_count() -> None:
    looks = observer()
    looks.look({PEER: 5}, 0.0)
    looks.look({PEER: 5}, 1.0)

    # A minute without a look: nobody could have beaten either.
    assert looks.look({PEER: 5}, 61.0) == []
    assert looks.look({PEER: 6}, 62.0) == []


def test_a_peer_seen_for_the_first_time_gets_its_full_time() -> None:
    looks = observer()
    for second in range(20):
        looks.look({}, float(second))

    assert looks.look({PEER: 1}, 20.0) == []


def test_a_database_that_takes_no_writes_lapses_nobody() -> None:
    looks = observer()
    looks.look({PEER: 5}, 0.0, own=7)

    # It can be read all the time, but the observer's own beat stands still as well.
    assert not any(looks.look({PEER: 5}, float(second), own=7) for second in range(1, 60))
    # Writes are taken again; the observer's own came first.
    assert looks.look({PEER: 5}, 60.0, own=8) == []
    assert looks.look({PEER: 6}, 61.0, own=9) == []


def test_a_peer_lapses_while_the_observers_own_beat_goes_on() -> None:
    looks = observer()

    lapsed = [looks.look({PEER: 5}, float(second), own=second // 2) for second in range(10)]

    assert lapsed == [[]] * 8 + [[PEER]] * 2
