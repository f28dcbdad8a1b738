"""What travels on a session's channel: freshly committed events, or only their numbers when they are large.

A message is a hint. Whoever misses one finds the events in the store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from shared.domain.event import Event
from shared.domain.ids import SessionId
from shared.redis import EVENTS_PREFIX

MAX_BYTES: Final = 256 * 1024
"""Larger messages carry their numbers only; readers fetch the events from the store."""


@dataclass(frozen=True, slots=True)
class News:
    """Events first..last of a session were committed; `envelopes` is empty when only the numbers came."""

    session: SessionId
    first: int
    last: int
    envelopes: Sequence[str]
    types: Sequence[str] = ()


def channel(session: SessionId) -> str:
    """The channel of one session."""
    return f"{EVENTS_PREFIX}{session}"


def pack(events: Sequence[Event]) -> bytes:
    """The message for consecutive events of one session."""
    head = f"{events[0].seq} {events[-1].seq}"
    if sum(len(event.data) for event in events) > MAX_BYTES:
        return head.encode()
    lines = [head, *(f"{event.type} {event.envelope()}" for event in events)]
    return "\n".join(lines).encode()


def unpack(session: SessionId, message: bytes) -> News | None:
    """The news in a message; None when it is none of ours."""
    head, *lines = message.decode(errors="replace").split("\n")
    numbers = head.split(" ")
    if len(numbers) != 2 or not all(number.isdigit() for number in numbers):
        return None
    first, last = int(numbers[0]), int(numbers[1])
    if len(lines) != last - first + 1:
        return News(session, first, last, ())
    parts = [line.partition(" ") for line in lines]
    return News(session, first, last, [part[2] for part in parts], [part[0] for part in parts])
