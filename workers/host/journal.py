"""The journal: the one writer of all sessions hosted here. Puts go in on the loop, one thread commits them in groups.

A put is committed at once when the last commit is long enough ago, else after the rest of that time. When the
store is slow, `room` holds up who reads the agents.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import structlog

from shared.domain.event import Draft, Event
from shared.domain.ids import SessionId
from shared.events.owner import Effect
from shared.store.database import Database
from shared.telemetry import metrics
from workers.host.commits import Committer, Fenced, Outcome, Put

log = structlog.get_logger(__name__)

MAX_EVENTS: Final = 500
"""Events that make a batch full: no put is added to it any more."""
MAX_BYTES: Final = 4 * 1024 * 1024
BREATH_S: Final = 0.01
"""Pause after a full batch on SQLite: its busy handler is no queue, and a writer that begins again at once
starves the others (prompts took 231 ms instead of 34)."""
DRAFT_BYTES: Final = 256
"""What a draft is taken to weigh where its giver does not know."""
CLOSE_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much may wait: readers stop above `high`, and go on below `low`."""

    high_events: int
    high_bytes: int
    low_events: int
    low_bytes: int


ALL: Final = Bounds(4000, 16 * 1024 * 1024, 1000, 4 * 1024 * 1024)
EACH: Final = Bounds(2000, 8 * 1024 * 1024, 750, 2 * 1024 * 1024)


@dataclass(slots=True)
class _Load:
    puts: int = 0
    events: int = 0
    size: int = 0

    def add(self, put: Put, sign: int) -> None:
        self.puts += sign
        self.events += sign * put.count
        self.size += sign * put.size

    def is_above(self, bounds: Bounds) -> bool:
        return self.events > bounds.high_events or self.size > bounds.high_bytes

    def is_below(self, bounds: Bounds) -> bool:
        return self.events <= bounds.low_events and self.size <= bounds.low_bytes


class Journal:
    """Puts are made on the loop that opened it; what is committed is published. An async context manager."""

    def __init__(
        self,
        database: Database,
        committed: Callable[[Sequence[Event]], None],
        *,
        commit_s: float,
        on_fenced: Callable[[SessionId, int], None],
    ) -> None:
        self._stop = threading.Event()
        self._committer = Committer(database, committed, self._stop)
        self._breath_s = BREATH_S if database.is_sqlite else 0.0
        self._commit_s = commit_s
        self._on_fenced = on_fenced
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        # Shared with the thread, under the condition:
        self._change = threading.Condition()
        self._queue: deque[Put] = deque()
        self._queued_events = 0
        self._is_urgent = False
        self._was_urgent = False
        self._is_closing = False
        self._dropped: dict[SessionId, int] = {}
        # The loop's own:
        self._done: dict[Put, asyncio.Future[None]] = {}
        self._load = _Load()
        self._loads: dict[SessionId, _Load] = {}
        self._leaving: dict[SessionId, int] = {}
        self._held: dict[SessionId, asyncio.Future[None]] = {}

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._thread.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._change:
            self._is_closing = True
            self._change.notify()
        await asyncio.to_thread(self._thread.join, CLOSE_S)
        if self._thread.is_alive():
            log.error("journal.abandoned", events=self._load.events)
            self._stop.set()
            await asyncio.to_thread(self._thread.join, CLOSE_S)

    @property
    def waiting_events(self) -> int:
        """Events that are not committed yet."""
        return self._load.events

    def put(
        self,
        session: SessionId,
        epoch: int,
        drafts: Sequence[Draft],
        effects: Sequence[Effect] = (),
        *,
        size: int | None = None,
    ) -> None:
        """Have this committed soon, behind all that was put before for the session. Never blocks."""
        self._add(_put(session, epoch, drafts, effects, size), urgent=False)

    async def commit(
        self, session: SessionId, epoch: int, drafts: Sequence[Draft], effects: Sequence[Effect] = ()
    ) -> None:
        """Have this committed without waiting for company; returns when it is, however long the database is away.

        Raises:
            Fenced: the session is somebody else's; nothing was written.
            Vetoed: an effect found the facts changed; nothing was written.
            NotStored: the journal was closed first.
        """
        put = _put(session, epoch, drafts, effects, None)
        done = asyncio.get_running_loop().create_future()
        self._done[put] = done
        self._add(put, urgent=True)
        await done

    async def flush(self, session: SessionId, epoch: int) -> None:
        """Wait until all that was put for the session is committed.

        Raises:
            Fenced: the session is somebody else's.
        """
        if session in self._loads:
            await self.commit(session, epoch, ())

    async def room(self, session: SessionId) -> None:
        """Wait while too much waits to be committed, of this session or of all together."""
        load = self._loads.get(session)
        if load is None or not (self._load.is_above(ALL) or load.is_above(EACH)):
            return
        metrics.JOURNAL_HOLDS.inc()
        held = asyncio.get_running_loop().create_future()
        self._held[session] = held
        try:
            await held
        finally:
            self._held.pop(session, None)

    def drop(self, session: SessionId, epoch: int) -> None:
        """Write nothing more of the session in this epoch: it is somebody else's."""
        with self._change:
            self._dropped[session] = epoch

    def forget(self, session: SessionId, epoch: int) -> None:
        """The session is no longer hosted here in this epoch. What it put and waits is still taken care of."""
        if session in self._loads:
            self._leaving[session] = epoch
            return
        with self._change:
            if self._dropped.get(session) == epoch:
                del self._dropped[session]
            self._committer.forget(session, epoch)

    # --- the loop's side ------------------------------------------------------------------------------------

    def _add(self, put: Put, *, urgent: bool) -> None:
        self._load.add(put, 1)
        load = self._loads.get(put.session)
        if load is None:
            load = self._loads[put.session] = _Load()
        load.add(put, 1)
        with self._change:
            self._queue.append(put)
            self._queued_events += put.count
            self._is_urgent = self._is_urgent or urgent
            if len(self._queue) == 1 or urgent or self._queued_events >= MAX_EVENTS:
                self._change.notify()

    def _settled(self, settled: Sequence[tuple[Put, Outcome]]) -> None:
        fenced: dict[SessionId, int] = {}
        for put, outcome in settled:
            self._load.add(put, -1)
            self._loads[put.session].add(put, -1)
            if isinstance(outcome, Fenced):
                fenced[put.session] = put.epoch
            self._answer(put, outcome)
            if not self._loads[put.session].puts:
                del self._loads[put.session]
                if (epoch := self._leaving.pop(put.session, None)) is not None:
                    self.forget(put.session, epoch)
        for session, epoch in fenced.items():
            self._on_fenced(session, epoch)
        metrics.JOURNAL_WAITING.set(self._load.events)
        self._let_go()

    def _answer(self, put: Put, outcome: Outcome) -> None:
        done = self._done.pop(put, None)
        if done is None or done.done():
            return
        if outcome is None:
            done.set_result(None)
        else:
            done.set_exception(outcome)

    def _let_go(self) -> None:
        if not self._load.is_below(ALL):
            return
        for session, held in self._held.items():
            load = self._loads.get(session)
            if (load is None or load.is_below(EACH)) and not held.done():
                held.set_result(None)

    # --- the thread's side ----------------------------------------------------------------------------------

    def _run(self) -> None:
        last_s = -self._commit_s
        while (taken := self._take(last_s)) is not None:
            puts, dropped = taken
            settled: list[tuple[Put, Outcome]] = [(put, Fenced(put.session)) for put in dropped]
            if any(put.count or put.effects for put in puts):
                settled += self._committer.store(puts)
                # Urgent commits are few, and mark the beginning of something: what follows one need not linger.
                last_s = -self._commit_s if self._was_urgent else time.monotonic()
            else:
                settled += [(put, None) for put in puts]
            self._mark_fenced(settled)
            self._report(settled)
            if self._breath_s and sum(put.count for put in puts) >= MAX_EVENTS:
                self._stop.wait(self._breath_s)

    def _take(self, last_s: float) -> tuple[list[Put], list[Put]] | None:
        """The next batch, and what is not to be written; None when the journal is closed and empty."""
        with self._change:
            while not self._queue:
                if self._is_closing:
                    return None
                self._change.wait()
            self._linger(last_s + self._commit_s)
            puts: list[Put] = []
            dropped: list[Put] = []
            events, size = 0, 0
            while self._queue and events < MAX_EVENTS and (not puts or size + self._queue[0].size <= MAX_BYTES):
                put = self._queue.popleft()
                self._queued_events -= put.count
                if self._dropped.get(put.session) == put.epoch:
                    dropped.append(put)
                    continue
                puts.append(put)
                events += put.count
                size += put.size
            # What was urgent and did not fit is taken next, since it is at the front.
            self._was_urgent = self._is_urgent
            self._is_urgent = self._is_urgent and bool(self._queue)
        return puts, dropped

    def _linger(self, until_s: float) -> None:
        while not (self._is_urgent or self._is_closing or self._queued_events >= MAX_EVENTS):
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                return
            self._change.wait(left_s)

    def _mark_fenced(self, settled: Sequence[tuple[Put, Outcome]]) -> None:
        with self._change:
            for put, outcome in settled:
                if isinstance(outcome, Fenced):
                    self._dropped[put.session] = put.epoch

    def _report(self, settled: Sequence[tuple[Put, Outcome]]) -> None:
        loop = self._loop
        if loop is None:
            return
        # The loop may be closed already when a session was left behind at the end.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(self._settled, settled)


def _put(session: SessionId, epoch: int, drafts: Sequence[Draft], effects: Sequence[Effect], size: int | None) -> Put:
    return Put(session, epoch, list(drafts), effects, DRAFT_BYTES * len(drafts) if size is None else size)
