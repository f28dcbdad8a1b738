"""The beat: says every two seconds that this incarnation lives, to its peers and to its own warden.

A thread and a connection of its own, so that neither a busy loop nor a slow commit can fake its death.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import structlog

from shared.domain import clock
from shared.domain.errors import Unavailable
from shared.domain.ids import Incarnation, SessionId
from shared.store import ownership, workers
from shared.store.database import Database

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Ears:
    """Who hears of the beat. All are called on the beat's thread and must return at once."""

    on_beat: Callable[[float], None]
    """The store took the beat that was begun so many seconds ago."""
    on_return: Callable[[Collection[SessionId]], None]
    """The store took a beat after a pause long enough to freeze the agents; these sessions are still ours."""
    on_lost: Callable[[], None]
    """A peer judged us lost: nothing is ours any more."""


class Beat:
    """Beats while the block runs; its database gives up after two seconds."""

    def __init__(self, database: Database, me: Incarnation, ears: Ears, *, beat_s: float, freeze_s: float) -> None:
        self._database = database
        self._me = me
        self._ears = ears
        self._beat_s = beat_s
        self._freeze_s = freeze_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="beat", daemon=True)
        self._beaten_s = time.monotonic()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(timeout=5.0)

    @property
    def age_s(self) -> float:
        """Seconds since the last beat that the store took was begun."""
        return time.monotonic() - self._beaten_s

    def _run(self) -> None:
        while not self._stop.wait(self._beat_s):
            try:
                goes_on = self._once()
            except Exception:
                # A thread that ends here would look like a dead worker, with its agents frozen for ever.
                log.exception("beat.failed", age_s=round(self.age_s, 1))
                goes_on = True
            if not goes_on:
                return

    def _once(self) -> bool:
        # A beat is as old as the moment it was begun: its COMMIT may be long past when its answer comes.
        began_s = time.monotonic()
        try:
            with self._database.write() as connection:
                is_ours = workers.beat(connection, self._me, clock.now())
        except Unavailable as problem:
            log.warning("beat.missed", age_s=round(self.age_s, 1), problem=str(problem))
            return True
        if not is_ours:
            log.error("beat.lost", incarnation=self._me)
            self._ears.on_lost()
            return False
        return self._told(began_s)

    def _told(self, began_s: float) -> bool:
        if self.age_s >= self._freeze_s:
            try:
                with self._database.read() as connection:
                    ours = [head.session for head in ownership.owned_by(connection, self._me)]
            except Unavailable:
                return True
            if time.monotonic() - began_s > self._beat_s:
                # Peers count from the COMMIT, and it may be long ago: the next beat lets the agents go on.
                return True
            log.warning("beat.returned", age_s=round(self.age_s, 1), sessions=len(ours))
            self._ears.on_return(ours)
        self._beaten_s = began_s
        self._ears.on_beat(self.age_s)
        return True
