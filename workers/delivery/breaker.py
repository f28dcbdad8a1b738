"""A breaker per endpoint: once most attempts fail, one probe per period goes out instead of everybody's retries."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

WINDOW_S = 60.0
LEAST_ATTEMPTS = 10
FAILED_SHARE = 0.5
IN_A_ROW = 5


@dataclass(frozen=True, slots=True)
class BreakerTimes:
    """How long it stays open: `open_s` first, twice as long after each failed probe, at most `longest_s`."""

    open_s: float = 30.0
    longest_s: float = 300.0


class Breaker:
    """Closed, open, or half open with one probe out. All times are of one monotonic clock, handed in."""

    def __init__(self, times: BreakerTimes) -> None:
        self._times = times
        self._seconds: deque[list[int]] = deque()
        """[second, delivered, failed] of the last minute."""
        self._in_a_row = 0
        self._reopened = 0
        self._open_until: float | None = None
        self._is_probing = False

    @property
    def is_closed(self) -> bool:
        return self._open_until is None

    def wait_s(self, now: float) -> float | None:
        """Seconds until a request may be tried: 0 now; None: not before the probe that is out has ended."""
        if self._open_until is None:
            return 0.0
        if self._is_probing:
            return None
        return max(0.0, self._open_until - now)

    def admit(self, now: float) -> bool:
        """Let one request out, if it may. What it brought must be told: `record`, or `give_up`."""
        if self.wait_s(now) != 0.0:
            return False
        self._is_probing = self._open_until is not None
        return True

    def give_up(self) -> None:
        """An admitted request was not made after all."""
        self._is_probing = False

    def record(self, *, delivered: bool, now: float) -> None:
        """Take an admitted request's result into account."""
        if self._open_until is not None:
            # Requests that were in flight when it opened tell nothing new; only the probe does.
            if self._is_probing:
                self._end_probe(delivered=delivered, now=now)
            return
        self._count(delivered=delivered, now=now)
        if self._is_failing():
            self._reopened = 0
            self._open(now)

    def _end_probe(self, *, delivered: bool, now: float) -> None:
        self._is_probing = False
        if delivered:
            self._open_until = None
            self._in_a_row = 0
            self._seconds.clear()
        else:
            self._reopened += 1
            self._open(now)

    def _open(self, now: float) -> None:
        # The exponent is bounded before the period is: 2.0 ** 1100 would overflow.
        period = self._times.open_s * 2.0 ** min(self._reopened, 30)
        self._open_until = now + min(period, self._times.longest_s)

    def _count(self, *, delivered: bool, now: float) -> None:
        self._in_a_row = 0 if delivered else self._in_a_row + 1
        while self._seconds and self._seconds[0][0] <= now - WINDOW_S:
            self._seconds.popleft()
        if not self._seconds or self._seconds[-1][0] != int(now):
            self._seconds.append([int(now), 0, 0])
        self._seconds[-1][1 if delivered else 2] += 1

    def _is_failing(self) -> bool:
        failed = sum(second[2] for second in self._seconds)
        attempts = failed + sum(second[1] for second in self._seconds)
        return self._in_a_row >= IN_A_ROW or (attempts >= LEAST_ATTEMPTS and failed >= attempts * FAILED_SHARE)
