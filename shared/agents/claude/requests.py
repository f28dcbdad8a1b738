"""Corral's own control requests to Claude Code, until they are answered."""

from __future__ import annotations

from typing import Final

from shared.agents.claude import frames
from shared.agents.driver import Send
from shared.domain.json import JsonObject

MAX_PENDING: Final = 256
"""Requests without an answer; the oldest is forgotten beyond."""


class Requests:
    """Which were sent, and what for."""

    def __init__(self) -> None:
        self._made = 0
        self._pending: dict[str, str] = {}

    def make(self, subtype: str, *, purpose: str | None = None, **fields: str | bool | None) -> Send:
        """One more; `purpose` is what `answered` gives back for it, where that is not its subtype."""
        self._made += 1
        request_id = f"corral_{self._made}"
        if len(self._pending) >= MAX_PENDING:
            del self._pending[next(iter(self._pending))]
        self._pending[request_id] = purpose or subtype
        return frames.request(request_id, {"subtype": subtype, **fields})

    def answered(self, response: JsonObject) -> str:
        """What the request was for that `response` answers; empty where it is none of ours."""
        return self._pending.pop(frames.text(response, "request_id"), "")

    def are_waiting_for(self, purpose: str) -> bool:
        """Whether such a request has no answer yet."""
        return purpose in self._pending.values()
