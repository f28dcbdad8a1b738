"""The sweep: finds each fact whose hint was lost, each peer that is lost, and each session nobody can host.

Every worker sweeps. All of it is safe to do twice, and by several at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

import structlog

from shared.domain import clock
from shared.domain.errors import Unavailable
from shared.domain.ids import Incarnation, SessionId
from shared.domain.lapse import LapseObserver
from shared.domain.session import EndReason
from shared.domain.worker import WorkerRow
from shared.operations import endings, external
from shared.store import ownership, workers
from shared.store.database import Database, DatabaseError
from shared.telemetry import metrics
from workers.maintenance.rescuer import Rescuer

log = structlog.get_logger(__name__)

_AT_ONCE: Final = 50
"""Sessions one round ends or names stranded; the rest waits for the next round."""


@dataclass(frozen=True, slots=True)
class Orders:
    """What the sweep asks of the host. All are called on the sweep's thread and must return at once."""

    look: Callable[[SessionId], None]
    """An owned session has inputs that nobody took into account."""
    offer: Callable[[], None]
    """Something waits to be claimed."""
    has_room: Callable[[], bool]
    hosted: Callable[[], Mapping[SessionId, int]]
    """The sessions hosted here, each with the epoch in which it was claimed."""
    let_go: Callable[[Mapping[SessionId, int]], None]
    """These are hosted here, in these epochs, and no longer ours."""
    batches: Callable[[], None]
    """Batches may have items to start."""


@dataclass(frozen=True, slots=True)
class Sweeper:
    """What one worker needs to sweep."""

    database: Database
    me: Incarnation
    volume_id: str
    orders: Orders
    rescuer: Rescuer
    front: endings.Front
    observer: LapseObserver
    suspects: dict[SessionId, int] = field(default_factory=dict)
    """Hosted sessions that the last round found to be somebody else's."""

    def sweep(self) -> None:
        """One round. Raises what the database raises; the next round looks again at everything."""
        # Asked before the database is read: what is claimed in between must not look like a leftover.
        hosted = self.orders.hosted()
        self.orders.batches()
        with self.database.read() as connection:
            owned = {head.session: head.epoch for head in ownership.owned_by(connection, self.me)}
            news = ownership.with_news(connection, self.me)
            waits = ownership.waiting(connection, self.volume_id, 1)
        for session in news:
            self.orders.look(session)
        self._let_go({session: epoch for session, epoch in hosted.items() if owned.get(session) != epoch})
        if self.orders.has_room() and waits:
            self.orders.offer()
        peers = self.watch()
        if any(peer.incarnation == self.me for peer in peers):
            self.rescuer.finish()
        self._end_hopeless()
        self._name_stranded(peers)

    def watch(self) -> Sequence[WorkerRow]:
        """Look at the peers' beats, and take over what a lapsed one leaves; the peers."""
        with self.database.read() as connection:
            peers = workers.live(connection, "worker")
        self._rescue_lapsed(peers)
        return peers

    def _let_go(self, foreign: Mapping[SessionId, int]) -> None:
        # Seen twice, in the same epoch: a session that is being given up is for a moment still hosted and no longer
        # owned, and one claimed anew meanwhile is ours. Until then its epoch keeps it from writing.
        gone = {session: epoch for session, epoch in foreign.items() if self.suspects.get(session) == epoch}
        self.suspects.clear()
        self.suspects.update(foreign)
        if gone:
            self.orders.let_go(gone)

    def _rescue_lapsed(self, peers: Sequence[WorkerRow]) -> None:
        beats = {peer.incarnation: peer.beat for peer in peers}
        own = beats.pop(self.me, None)
        if own is None:
            # A peer judged us lost, and our beat is about to learn it: we judge nobody any more.
            return
        for lost in self.observer.look(beats, time.monotonic(), own=own):
            self.rescuer.rescue(lost, beat=beats[lost])

    def _end_hopeless(self) -> None:
        moment = clock.now()
        with self.database.read() as connection:
            unplaced = ownership.past_start(connection, moment, _AT_ONCE)
            expired = ownership.past_end(connection, moment, _AT_ONCE)
        for head in unplaced:
            detail = "No worker had room for this session within its start limit."
            endings.end_unhosted(self.front, head.session, EndReason.NO_CAPACITY, detail)
        for head in expired:
            endings.end_unhosted(self.front, head.session, EndReason.LIFETIME, None)
        external.end_silent(self.front, _AT_ONCE)

    def _name_stranded(self, peers: Sequence[WorkerRow]) -> None:
        volumes = {peer.volume_id for peer in peers if peer.volume_id is not None}
        with self.database.read() as connection:
            stranded = ownership.unhosted_off_volumes(connection, volumes, _AT_ONCE)
        for head in stranded:
            endings.strand(self.front, head.session)


class Sweep:
    """Sweeps every `sweep_s` while the block runs, and watches the peers twice as often."""

    def __init__(self, sweeper: Sweeper, sweep_s: float) -> None:
        self._sweeper = sweeper
        self._sweep_s = sweep_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweep", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(timeout=10.0)

    def _run(self) -> None:
        while not self._stop.wait(self._sweep_s / 2):
            self._try(self._sweeper.watch)
            if self._stop.wait(self._sweep_s / 2):
                return
            if self._try(self._sweeper.sweep):
                metrics.SWEEPS.labels(outcome="done").inc()

    def _try(self, act: Callable[[], object]) -> bool:
        try:
            act()
        except (Unavailable, DatabaseError) as problem:
            metrics.SWEEPS.labels(outcome="failed").inc()
            log.warning("sweep.failed", problem=str(problem))
        except Exception:
            # Whatever it was, without its sweep a worker would never again hear of what a lost hint told.
            metrics.SWEEPS.labels(outcome="failed").inc()
            log.exception("sweep.failed")
        else:
            return True
        return False
