"""Advances batches on a thread of its own: when the doorbell rings, when a turn is over here, and with each sweep.

Every worker does. All of it is safe to do twice, and by several at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final, Self

import structlog

from shared.channel.publisher import Publisher
from shared.domain.errors import Unavailable
from shared.domain.event import Event, EventType
from shared.operations import batch_steps
from shared.operations.context import Context
from shared.store import batches
from shared.store.database import DatabaseError
from shared.telemetry import metrics

log = structlog.get_logger(__name__)

_AT_ONCE: Final = 20
"""Batches one round advances; the rest waits for the next."""
_OVER: Final = frozenset({EventType.TURN_ENDED.value, EventType.SESSION_ENDED.value})


class HeardPublisher(Publisher):
    """A publisher that also tells `hear` what was committed by this process."""

    hear: Callable[[Sequence[Event]], None] | None = None

    def committed(self, events: Sequence[Event]) -> None:
        """Publish these events soon, in order, and tell of them."""
        super().committed(events)
        if self.hear is not None:
            self.hear(events)


class BatchRunner:
    """Runs while the block does. `look` and `hear` return at once and may be called from any thread, at any time."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._wake = threading.Event()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="batches", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_stopping = True
        self._wake.set()
        self._thread.join(timeout=10.0)

    def look(self) -> None:
        """Something may be due."""
        self._wake.set()

    def hear(self, events: Sequence[Event]) -> None:
        """These were committed: one that ends a turn may make room for the next item."""
        if any(event.type in _OVER for event in events):
            self._wake.set()

    def round(self) -> None:
        """Advance what is due. Raises what the database raises; the next round looks again at everything."""
        with self._context.db.read() as connection:
            due = batches.due(connection, _AT_ONCE)
        trouble: Exception | None = None
        for batch in due:
            try:
                batch_steps.advance(self._context, batch)
            except (Unavailable, DatabaseError) as problem:
                # A row that somebody holds for long: the other batches must not wait for it.
                trouble = problem
        if trouble is not None:
            raise trouble

    def _run(self) -> None:
        while self._wake.wait() and not self._is_stopping:
            # Cleared first: what is told during the round deserves another.
            self._wake.clear()
            try:
                self.round()
            except (Unavailable, DatabaseError) as problem:
                metrics.BATCH_ROUNDS.labels(outcome="failed").inc()
                log.warning("batches.failed", problem=str(problem))
            except Exception:
                metrics.BATCH_ROUNDS.labels(outcome="failed").inc()
                log.exception("batches.failed")
            else:
                metrics.BATCH_ROUNDS.labels(outcome="done").inc()
