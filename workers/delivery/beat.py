"""This process's own beat, from a thread and connection of its own, and whether it may still act on its lanes."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Self

import structlog

from shared.domain import clock
from shared.domain.errors import Unavailable
from shared.domain.ids import Incarnation
from shared.store import workers
from shared.store.database import Database
from shared.telemetry import metrics

log = structlog.get_logger(__name__)


class Beat:
    """Counts the beat up every `beat_s`. Peers take the lanes of a process whose beat stands still.

    So without a written beat for `freeze_s`, well before they do, nothing may be posted (`is_fresh`); and after such
    a stall each lane looks whether it still is ours (`stalls` tells).
    """

    def __init__(self, database: Database, me: Incarnation, *, beat_s: float, freeze_s: float) -> None:
        self._database = database
        self._me = me
        self._beat_s = beat_s
        self._freeze_s = freeze_s
        self._last = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="beat", daemon=True)
        self.stalls = 0
        self.is_displaced = False
        """A peer declared this process lost: all its lanes are gone."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(timeout=10.0)

    @property
    def age_s(self) -> float:
        """Seconds since the last beat that was written was begun."""
        return time.monotonic() - self._last

    @property
    def is_fresh(self) -> bool:
        return self.age_s < self._freeze_s and not self.is_displaced

    def _run(self) -> None:
        while not self._ended.wait(self._beat_s):
            began = time.monotonic()
            try:
                with self._database.write() as connection:
                    is_mine = workers.beat(connection, self._me, clock.now())
            except Unavailable:
                log.warning("delivery.beat_missed", age_s=round(self.age_s, 1))
                continue
            except Exception:
                log.exception("delivery.beat_failed")
                continue
            if not is_mine:
                self.is_displaced = True
                return
            self._written(began)

    def _written(self, began: float) -> None:
        # Counted before the time is set: whoever sees the process fresh again sees the stall too.
        if time.monotonic() - self._last >= self._freeze_s:
            self.stalls += 1
        self._last = began
        metrics.DELIVERY_BEAT.set_to_current_time()
