"""The Celery app and its three doorbells. A doorbell is an id and no payload: the facts are in the store.

A doorbell may be lost, come twice or late; a sweep finds what it would have told.
"""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import structlog
from celery import Celery
from kombu.entity import Exchange, Queue
from kombu.exceptions import OperationalError

from shared.domain.ids import BatchId, SessionId
from shared.telemetry import metrics

log = structlog.get_logger(__name__)

PROMPT: Final = "corral.prompt"
BATCH: Final = "corral.batch"
TERMINATE: Final = "corral.terminate"

START_QUEUE: Final = "start"
"""Where sessions wait that nobody hosts; a full worker stops consuming it."""

_WAITING: Final = 2000


def worker_queue(worker: str) -> str:
    """The queue of one worker, by its stable name."""
    return f"wk.{worker}"


def make_app(redis_url: str) -> Celery:
    """A Celery app with the settings that make Redis a bearable broker.

    No results, no gossip; a killed worker's doorbells come back after seconds rather than an hour; publishing
    gives up at once, since the caller's fact is in the store already.
    """
    app = Celery("corral", broker=redis_url, backend=None, set_as_current=False)
    app.conf.update(
        task_ignore_result=True,
        task_acks_late=True,
        worker_prefetch_multiplier=1,
        worker_send_task_events=False,
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_connection_timeout=1.0,
        task_serializer="json",
        accept_content=["json"],
        task_publish_retry=False,
        task_create_missing_queues=True,
        broker_transport_options={
            "visibility_timeout": 120,
            "priority_steps": [0],
            "queue_order_strategy": "priority",
            "unacked_restore_interval": 5,
            "unacked_restore_throttle": 1,
            "socket_keepalive": True,
            "socket_timeout": 15,
            "socket_connect_timeout": 1,
            "health_check_interval": 25,
        },
    )
    return app


def make_bell_app(redis_url: str) -> Celery:
    """An app for ringing only: its sockets give up after a second, so that a paused Redis delays no hint for long."""
    app = make_app(redis_url)
    app.conf.broker_transport_options = {**app.conf.broker_transport_options, "socket_timeout": 1}
    return app


def queue_named(name: str) -> Queue:
    """A queue that exists by being used.

    `no_declare` and the default exchange: naming queues as text makes kombu leave two bookkeeping
    keys a name in Redis, for ever.
    """
    direct = Exchange("", type="direct")
    return Queue(name, direct, routing_key=name, no_declare=True)


@dataclass(frozen=True, slots=True)
class _Ring:
    task: str
    ref: str
    queue: str


class Bell:
    """Rings doorbells from a thread of its own: the caller's reply never waits for Redis. Drops when it must."""

    def __init__(self, redis_url: str) -> None:
        self._app = make_bell_app(redis_url)
        self._waiting: queue.Queue[_Ring | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._run, name="bell", daemon=True)
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

    def prompt(self, session: SessionId, worker: str | None) -> None:
        """A session has a new input: tell its worker, or any that has room when nobody hosts it."""
        self._ring(PROMPT, session, worker)

    def terminate(self, session: SessionId, worker: str | None) -> None:
        """A session is to end."""
        self._ring(TERMINATE, session, worker)

    def batch(self, batch: BatchId) -> None:
        """A batch has items to start."""
        self._ring(BATCH, batch, None)

    def _ring(self, task: str, ref: str, worker: str | None) -> None:
        try:
            self._waiting.put_nowait(_Ring(task, ref, worker_queue(worker) if worker else START_QUEUE))
        except queue.Full:
            metrics.DOORBELLS.labels(outcome="dropped").inc()

    def _run(self) -> None:
        while (ring := self._waiting.get()) is not None:
            self._publish(ring)

    def _publish(self, ring: _Ring) -> None:
        try:
            self._app.send_task(ring.task, args=(ring.ref,), queue=queue_named(ring.queue), retry=False)
        except (OperationalError, OSError) as problem:
            self._lose(problem)
        except Exception as problem:
            # Not one that kombu announces; the thread goes on, or no bell would ever ring again.
            log.exception("bell.failed")
            self._lose(problem)
        else:
            metrics.DOORBELLS.labels(outcome="rung").inc()
            self._is_away = False

    def _lose(self, problem: Exception) -> None:
        metrics.DOORBELLS.labels(outcome="lost").inc()
        if not self._is_away:
            log.warning("redis.away", problem=str(problem))
        self._is_away = True


def add_queues(app: Celery, worker: str) -> None:
    """Make `app` consume its own worker's queue first, then `start`."""
    app.conf.task_queues = (queue_named(worker_queue(worker)), queue_named(START_QUEUE))
