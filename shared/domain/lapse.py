"""When a peer counts as lost: by what one observer saw with its own clock, never by timestamps.

Judged by timestamps, a database that was away for a minute would let the first worker back take
everybody's sessions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shared.domain.ids import Incarnation


@dataclass(slots=True)
class _Seen:
    beat: int
    since_s: float


class LapseObserver:
    """Watches the beat counters of peers.

    A peer has lapsed when this observer saw its counter unchanged for `lapse_s` seconds of its own
    monotonic clock while its healthy looks at the database never lay more than `gap_s` apart.
    """

    def __init__(self, *, lapse_s: float, gap_s: float) -> None:
        self._lapse_s = lapse_s
        self._gap_s = gap_s
        self._seen: dict[Incarnation, _Seen] = {}
        self._healthy_s: float | None = None
        self._own: int | None = None

    def look(self, beats: Mapping[Incarnation, int], now_s: float, *, own: int | None = None) -> list[Incarnation]:
        """What a successful look at the database showed at monotonic time `now_s`: the peers that have lapsed.

        `own` is the observer's own counter in the same look. While it stands still the look is not healthy:
        a database that can be read but takes no writes (SQLite under a lock) keeps everybody from beating.
        None: each look counts. A peer is named at every look until it is no longer among `beats`.
        """
        if self._healthy_s is None or now_s - self._healthy_s > self._gap_s:
            # We, or the database, were away: what we saw before proves nothing about the time between.
            self._seen.clear()
        if own is None or own != self._own:
            self._healthy_s, self._own = now_s, own
        self._seen = {peer: seen for peer, seen in self._seen.items() if peer in beats}
        lapsed = []
        for peer, beat in beats.items():
            seen = self._seen.get(peer)
            if seen is None or seen.beat != beat:
                self._seen[peer] = _Seen(beat, now_s)
            elif now_s - seen.since_s >= self._lapse_s:
                lapsed.append(peer)
        return lapsed
