"""Joins neighbouring chunks of text into fewer events: the first goes out at once, what follows it soon is joined.

Pure: the caller brings the time and flushes when told to. Order is kept whatever comes between.
"""

from __future__ import annotations

from typing import Final

from shared.domain.event import COALESCED, Draft

MAX_CHARACTERS: Final = 16 * 1024
"""A joined chunk is sent on when it has grown to this."""


class Coalescer:
    """The chunks of one session that wait to be joined: never more than one event's worth."""

    def __init__(self, chunk_s: float) -> None:
        self._chunk_s = chunk_s
        self._waiting: Draft | None = None
        self._texts: list[str] = []
        self._size = 0
        self._sent_at = -chunk_s
        self._flush_at: float | None = None

    @property
    def flush_at(self) -> float | None:
        """When `flush` must be called, in the caller's clock; None while nothing waits."""
        return self._flush_at

    def add(self, draft: Draft, now: float) -> list[Draft]:
        """Take the session's next event: what may go out now, in order, `draft` included or kept for later."""
        if draft.type not in COALESCED or not isinstance(draft.data.get("text"), str):
            return [*self.flush(now), draft]
        before = [] if self._waiting is None or _joins(self._waiting, draft) else self.flush(now)
        if self._waiting is None and now - self._sent_at >= self._chunk_s:
            self._sent_at = now
            return [*before, draft]
        self._keep(draft)
        return [*before, *self.flush(now)] if self._size >= MAX_CHARACTERS else before

    def flush(self, now: float) -> list[Draft]:
        """What waits, joined."""
        if self._waiting is None:
            return []
        whole = Draft(self._waiting.type, {**self._waiting.data, "text": "".join(self._texts)}, self._waiting.turn)
        self._waiting, self._texts, self._size, self._flush_at = None, [], 0, None
        self._sent_at = now
        return [whole]

    def _keep(self, draft: Draft) -> None:
        if self._waiting is None:
            self._waiting = draft
            self._flush_at = self._sent_at + self._chunk_s
        text = str(draft.data["text"])
        self._texts.append(text)
        self._size += len(text)


def _joins(first: Draft, second: Draft) -> bool:
    return (
        first.type is second.type
        and first.turn == second.turn
        and first.data.keys() == second.data.keys()
        and first.data.get("message_id") == second.data.get("message_id")
    )
