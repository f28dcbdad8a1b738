"""Notices every driver tells alike: what it does not understand, and no more of it than says something new."""

from __future__ import annotations

from collections import Counter

from shared.agents import jsonlines
from shared.agents.driver import Emit
from shared.domain.event import EventType
from shared.domain.json import JsonValue

EXCERPT_CHARS = 200
MAX_PER_KIND = 3
"""A release that invents a frame and sends it a thousand times tells us nothing new after the third."""
MAX_KINDS = 64
MAX_BAD_LINES = 20


def notice(kind: str, **fields: JsonValue) -> Emit:
    """A `notice` event; fields that say nothing are left out."""
    return Emit(EventType.NOTICE, {"kind": kind, **jsonlines.present(**fields)})


class Notices:
    """Turns what is not understood into a bounded number of notices."""

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()

    def unknown(self, kind: str, line: str) -> list[Emit]:
        """A frame of a kind this driver does not know."""
        kind = jsonlines.cut(kind, 80)
        if not self.is_new(kind, MAX_PER_KIND):
            return []
        return [notice("unknown_frame", frame=kind or "untyped", excerpt=jsonlines.cut(line, EXCERPT_CHARS))]

    def bad_line(self, line: str) -> list[Emit]:
        """A line that holds no frame at all."""
        if not line.strip() or not self.is_new("\n", MAX_BAD_LINES):
            return []
        return [notice("unreadable_line", excerpt=jsonlines.cut(line, EXCERPT_CHARS))]

    def is_new(self, kind: str, limit: int) -> bool:
        """Whether `kind` was seen at most `limit` times, this one counted; kinds beyond 64 never are."""
        if kind not in self._seen and len(self._seen) >= MAX_KINDS:
            return False
        self._seen[kind] += 1
        return self._seen[kind] <= limit
