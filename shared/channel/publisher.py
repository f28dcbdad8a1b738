"""Publishes committed events from a thread of its own: a Redis that is slow or away holds nobody up."""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from itertools import groupby
from types import TracebackType
from typing import Self

import redis
import structlog

from shared.channel.message import channel, pack
from shared.domain.event import Event
from shared.redis import DELIVERY_CHANNEL, connect
from shared.telemetry import metrics

log = structlog.get_logger(__name__)

_WAITING = 1000
"""Commits that may wait to be published; more are dropped, since they are hints."""


class Publisher:
    """Tells readers and the delivery worker what was committed. May lose, never lies, never blocks."""

    def __init__(self, redis_url: str) -> None:
        self._client = connect(redis_url)
        self._waiting: queue.Queue[Sequence[Event] | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        self._is_away = False

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._waiting.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(timeout=2.0)
        self._client.close()

    def committed(self, events: Sequence[Event]) -> None:
        """Publish these events soon, in order. Drops them when too much waits already."""
        if not events:
            return
        try:
            self._waiting.put_nowait(events)
        except queue.Full:
            metrics.PUBLISH_DROPPED.inc(len(events))

    def _run(self) -> None:
        while (events := self._waiting.get()) is not None:
            self._publish(events)

    def _publish(self, events: Sequence[Event]) -> None:
        ordered = sorted(events, key=lambda event: (event.session, event.seq))
        lasts: list[str] = []
        pipeline = self._client.pipeline(transaction=False)
        for session, group in groupby(ordered, key=lambda event: event.session):
            batch = list(group)
            pipeline.publish(channel(session), pack(batch))
            lasts.append(f"{session}:{batch[-1].seq}")
        pipeline.publish(DELIVERY_CHANNEL, " ".join(lasts))
        try:
            pipeline.execute()
        except redis.RedisError as problem:
            metrics.PUBLISH_DROPPED.inc(len(events))
            if not self._is_away:
                log.warning("redis.away", problem=str(problem))
            self._is_away = True
        else:
            self._is_away = False
