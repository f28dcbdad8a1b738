"""The three Celery tasks. Each is a doorbell: it tells the host to look, and is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from celery import Celery
from celery.exceptions import Reject

from shared.domain.ids import BatchId, SessionId
from shared.queue import BATCH, PROMPT, START_QUEUE, TERMINATE
from shared.telemetry import metrics


@dataclass(frozen=True, slots=True)
class Bells:
    """Who answers the doorbells. All return at once and may be called from any thread."""

    is_hosted: Callable[[SessionId], bool]
    has_room: Callable[[], bool]
    """Whether another session could be taken in. Where not, it also has this worker stop consuming `start`."""
    look: Callable[[SessionId], None]
    offer: Callable[[], None]
    batch: Callable[[BatchId], None]


def add_tasks(app: Celery, bells: Bells) -> None:
    """Register the tasks on `app`."""

    def look(task: Any, ref: str) -> None:
        session = SessionId(ref)
        is_start = task.request.delivery_info.get("routing_key") == START_QUEUE
        metrics.DOORBELLS_HEARD.labels(queue="start" if is_start else "own").inc()
        if bells.is_hosted(session):
            bells.look(session)
        elif bells.has_room():
            bells.offer()
        elif is_start:
            # This worker filled up while the message was on its way: somebody with room should get it.
            raise Reject(requeue=True)

    def batch(ref: str) -> None:
        bells.batch(BatchId(ref))

    # Not shared: Celery would register them with every other app of the process as well.
    app.task(look, name=PROMPT, bind=True, shared=False)
    app.task(look, name=TERMINATE, bind=True, shared=False)
    app.task(batch, name=BATCH, shared=False)
