"""Celery bootsteps: the host starts after the pool and stops before it; a gate stops `start` while the host is full."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog
from celery import Celery, bootsteps, signals
from celery.exceptions import SecurityWarning

from shared.queue import START_QUEUE, add_queues

log = structlog.get_logger(__name__)


class Hosting(Protocol):
    """What the bootsteps need of the host's side of this process."""

    def start(self) -> None:
        """Begin hosting; returns when sessions can be claimed."""
        ...

    def ask_to_stop(self) -> None:
        """Begin to drain. Called from a signal handler, so it must take no lock; idempotent."""
        ...

    def stop(self) -> None:
        """Drain and end every agent; returns when nothing is hosted any more."""
        ...


@dataclass(slots=True)
class Gate:
    """Consumes `start` only while there is room. `set` may be called from any thread, connected or not."""

    _consumer: Any = None
    _is_open: bool = True
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def set(self, *, has_room: bool) -> None:
        """Say whether this worker takes new sessions."""
        with self._lock:
            if has_room == self._is_open:
                return
            self._is_open = has_room
            consumer = self._consumer
        if consumer is not None:
            consumer.call_soon(self._apply, consumer)

    def attach(self, consumer: Any) -> None:
        """A connection to the broker is there: from now on `consumer` is the one to open and close."""
        with self._lock:
            self._consumer = consumer
        self._apply(consumer)

    def _apply(self, consumer: Any) -> None:
        # What is raised into Celery's loop ends the whole worker. Without a connection there is nothing to open or
        # close, and the next one is attached.
        try:
            self._match(consumer)
        except Exception as problem:  # noqa: BLE001 - of kombu, redis or the socket: all mean "not connected"
            log.info("gate.not_connected", problem=str(problem))

    def _match(self, consumer: Any) -> None:
        if consumer.task_consumer is None:
            return
        # Not `consuming_from`: between connecting and consuming the queue is listed and not consumed yet.
        is_listed = any(queue.name == START_QUEUE for queue in consumer.task_consumer.queues)
        if self._is_open and not is_listed:
            consumer.add_task_queue(START_QUEUE)
        elif not self._is_open and is_listed:
            consumer.cancel_task_queue(START_QUEUE)


def add_steps(app: Celery, hosting: Hosting, gate: Gate) -> None:
    """Hang the host and the gate into `app`'s worker."""

    class HostStep(bootsteps.StartStopStep):  # type: ignore[misc]
        requires = ("celery.worker.components:Pool",)

        def start(self, parent: Any) -> None:
            _ = parent
            hosting.start()

        def stop(self, parent: Any) -> None:
            _ = parent
            hosting.stop()

    class GateStep(bootsteps.StartStopStep):  # type: ignore[misc]
        # Runs again after each reconnect, when Celery has subscribed to all its queues anew.
        requires = ("celery.worker.consumer.tasks:Tasks",)

        def start(self, parent: Any) -> None:
            gate.attach(parent)

    app.steps["worker"].add(HostStep)
    app.steps["consumer"].add(GateStep)


def run(app: Celery, name: str, threads: int, *, ask_to_stop: Callable[[], None]) -> int:
    """Run the Celery worker until SIGTERM or SIGINT; the exit status.

    `ask_to_stop` is called in the signal's handler: Celery itself looks at the signal only when its loop comes round,
    which takes a quarter of a minute where Redis is connected and silent.
    """
    add_queues(app, name)
    # Celery warns of root because of pickle; doorbells are JSON, an id each.
    warnings.simplefilter("ignore", SecurityWarning)

    def hear(**_: object) -> None:
        ask_to_stop()

    signals.worker_shutting_down.connect(hear, weak=False)
    try:
        worker = app.Worker(
            hostname=f"{name}@corral",
            pool="threads",
            concurrency=threads,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
            quiet=True,
            loglevel="WARNING",
        )
        worker.start()
    finally:
        signals.worker_shutting_down.disconnect(hear)
    return int(worker.exitcode or 0)
