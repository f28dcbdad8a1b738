"""Deadlines of one session by name, and a countdown that can be held. Pure: the caller brings the time."""

from __future__ import annotations

from enum import StrEnum


class Alarm(StrEnum):
    """What may fall due in a hosted session."""

    IDLE = "idle"
    LIFETIME = "lifetime"
    TURN = "turn"
    INTERRUPT = "interrupt"
    ASK = "ask"
    DRAIN = "drain"
    BUDGET = "budget"


class Clocks:
    """At most one deadline per alarm, in seconds of one monotonic clock."""

    def __init__(self) -> None:
        self._at: dict[Alarm, float] = {}

    def set(self, alarm: Alarm, at: float | None) -> None:
        """Let `alarm` fall due at `at`, in place of an earlier wish; None forgets it."""
        if at is None:
            self._at.pop(alarm, None)
        else:
            self._at[alarm] = at

    def at(self, alarm: Alarm) -> float | None:
        """When `alarm` falls due."""
        return self._at.get(alarm)

    def next(self) -> float | None:
        """The earliest deadline."""
        return min(self._at.values(), default=None)

    def take_due(self, now: float) -> list[Alarm]:
        """The alarms that are due, earliest first; they are forgotten."""
        due = sorted((at, alarm) for alarm, at in self._at.items() if at <= now)
        for _, alarm in due:
            del self._at[alarm]
        return [alarm for _, alarm in due]


class Countdown:
    """Time that is left of a bound, counted only while it runs."""

    def __init__(self, left_s: float) -> None:
        self._left_s = left_s
        self._since: float | None = None

    def run(self, now: float) -> float:
        """Go on counting; the moment at which nothing is left."""
        if self._since is None:
            self._since = now
        return self._since + self._left_s

    def hold(self, now: float) -> None:
        """Stop counting until `run`. Idempotent."""
        if self._since is not None:
            self._left_s -= now - self._since
            self._since = None
