"""Lines for people, drawn from the log by one pure fold, numbered from 0 over the whole life of a session.

Line numbers are kept nowhere: every process counts for itself and remembers where it got to. Where retention
removed the beginning of a log, counting begins at the first event still held.
"""

from __future__ import annotations

import json
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from shared.domain.errors import NotFound, OutputBehind
from shared.domain.event import Event, EventType
from shared.domain.ids import SessionId
from shared.domain.json import JsonObject
from shared.domain.session import SessionStatus
from shared.domain.tenant import Caller
from shared.operations.lines import DRAWN, Fold, draw
from shared.store import events, heads
from shared.store.database import Connection, Database

KEPT_LINES: Final = 10_000
"""Older lines are not given out any more."""
SCAN_EVENTS: Final = 20_000
"""Most events one call reads; a longer log takes several calls the first time."""
ANSWER_BYTES: Final = 1024 * 1024
_SESSIONS: Final = 256
"""Sessions whose counts are remembered."""


@dataclass(frozen=True, slots=True)
class Output:
    """Some lines. `dropped` counts those from `since` on that are no longer given out."""

    lines: Sequence[str]
    first: int
    total: int
    dropped: int
    done: bool

    @property
    def next(self) -> int:
        """Number of the line after the last one here."""
        return self.first + len(self.lines)


@dataclass(frozen=True, slots=True)
class Mark:
    """How many lines the events up to `seq` gave, and what the fold remembers of them."""

    seq: int
    lines: int
    fold: Fold = field(default_factory=Fold)


class LineIndex:
    """Where each session's lines were counted up to, every few hundred events; the least lately used are forgotten."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._marks: OrderedDict[SessionId, list[Mark]] = OrderedDict()

    def last(self, session: SessionId) -> Mark | None:
        """The farthest mark of a session."""
        with self._lock:
            marks = self._marks.get(session)
            if not marks:
                return None
            self._marks.move_to_end(session)
            return marks[-1]

    def before(self, session: SessionId, line: int) -> Mark | None:
        """The last mark at which line number `line` had not come yet."""
        with self._lock:
            marks = self._marks.get(session, [])
            place = bisect_right(marks, line, key=lambda mark: mark.lines)
            return marks[place - 1] if place else None

    def add(self, session: SessionId, mark: Mark) -> None:
        """Remember a mark; one that is not beyond the last is known already."""
        with self._lock:
            marks = self._marks.setdefault(session, [])
            if not marks or mark.seq > marks[-1].seq:
                marks.append(mark)
            while len(self._marks) > _SESSIONS:
                self._marks.popitem(last=False)


def read(db: Database, index: LineIndex, caller: Caller, session: SessionId, *, since: int, limit: int) -> Output:
    """Up to `limit` lines (and a mebibyte) from line number `since` on.

    Raises:
        NotFound: missing, or another tenant's.
        OutputBehind: a long log is being counted; the same call gets further each time.
    """
    with db.read() as connection:
        head = heads.get(connection, session)
        if head is None or head.tenant != caller.tenant:
            raise NotFound("session", session)
        counted = _count(connection, index, head)
        first = max(min(since, counted.lines), counted.lines - KEPT_LINES)
        start = index.before(session, first) or Mark(head.first_seq - 1, 0)
        lines = _collect(connection, session, start, counted.seq, range(first, first + limit))
    done = head.status is SessionStatus.ENDED and first + len(lines) == counted.lines
    return Output(lines, first, counted.lines, max(0, first - min(since, first)), done)


def _count(connection: Connection, index: LineIndex, head: heads.Head) -> Mark:
    session = head.session
    mark = index.last(session) or Mark(head.first_seq - 1, 0)
    index.add(session, mark)
    limit = mark.seq + SCAN_EVENTS
    while mark.seq < head.last_seq:
        if mark.seq >= limit:
            raise OutputBehind(mark.seq, head.last_seq)
        upto = min(mark.seq + events.PAGE, head.last_seq)
        lines, fold = mark.lines, mark.fold
        for event in events.between(connection, session, mark.seq, upto):
            fold, drawn = _draw(fold, event)
            lines += len(drawn)
        mark = Mark(upto, lines, fold)
        index.add(session, mark)
    return mark


def _collect(connection: Connection, session: SessionId, start: Mark, upto: int, wanted: range) -> list[str]:
    found: list[str] = []
    number, size, after, fold = start.lines, 0, start.seq, start.fold
    while after < upto and number < wanted.stop and size < ANSWER_BYTES:
        page = events.between(connection, session, after, min(after + events.PAGE, upto))
        for event in page:
            fold, drawn = _draw(fold, event)
            for line in drawn:
                if number in wanted and size < ANSWER_BYTES:
                    found.append(line)
                    size += len(line)
                number += 1
        after = min(after + events.PAGE, upto)
    return found


def _draw(fold: Fold, event: Event) -> tuple[Fold, Sequence[str]]:
    if event.type not in DRAWN:
        return fold, ()
    data: JsonObject = json.loads(event.data)
    return draw(fold, EventType(event.type), data)
