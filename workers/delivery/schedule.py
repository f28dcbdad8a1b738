"""When: the retry ladder, Retry-After, and the moment a cut is due. Nothing here waits."""

from __future__ import annotations

import email.utils
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from shared.domain.webhook import CUT_EVENTS

RETRY_AFTER_MOST_S = 3600.0
JITTER = 0.2


@dataclass(frozen=True, slots=True)
class Ladder:
    """Seconds before each retry; after the last a delivery is dead."""

    steps_s: tuple[float, ...]

    @classmethod
    def read(cls, steps: Sequence[str], scale: float) -> Self:
        """The ladder in settings, each step times `scale`.

        Raises:
            ValueError: a step is no number of seconds; the message names the setting.
        """
        try:
            seconds = tuple(float(step) for step in steps)
        except ValueError as problem:
            raise ValueError(f"CORRAL_WEBHOOK_RETRY_S: {problem}; write seconds such as 5,30,120") from problem
        if any(not 0 <= step < float("inf") for step in seconds) or not 0 < scale < float("inf"):
            raise ValueError("CORRAL_WEBHOOK_RETRY_S and CORRAL_WEBHOOK_TIME_SCALE: must not be negative or infinite")
        return cls(tuple(step * scale for step in seconds))

    def delay_s(self, failures: int, *, jitter: float, retry_after_s: float | None) -> float | None:
        """Seconds to wait after failure number `failures` (from 1), or None when that was the last try.

        `jitter` is in [0, 1) and moves a step by up to a fifth either way. What the receiver asks for with
        Retry-After can only lengthen it, to an hour at most.
        """
        if failures > len(self.steps_s):
            return None
        step = self.steps_s[failures - 1] * (1 - JITTER + 2 * JITTER * jitter)
        return max(step, min(retry_after_s or 0.0, RETRY_AFTER_MOST_S))


def read_retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds a Retry-After header asks for: a number, or a date. None for anything else."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())


def cut_wait_s(waiting: int, since: float, now: float, window_s: float) -> float:
    """Seconds until `waiting` events, the first of which came at `since`, are to be cut: none once a cut is full."""
    if waiting >= CUT_EVENTS:
        return 0.0
    return max(0.0, since + window_s - now)
