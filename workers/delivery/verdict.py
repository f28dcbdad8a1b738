"""What an answer makes of a delivery: delivered, to be tried again, or dead."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.domain.webhook import Attempt, Delivery, DeliveryKind, DeliveryStatus, Endpoint, EndpointStatus
from shared.store.deliveries import Result
from workers.delivery.receiver import GONE
from workers.delivery.schedule import Ladder
from workers.delivery.send import Answer


@dataclass(frozen=True, slots=True)
class Try:
    """One attempt, and where in its ladder the delivery is."""

    delivery: Delivery
    answer: Answer
    n: int
    """Number of the attempt, from 1, over all the delivery's life."""
    failures: int
    """Failures in a row of this way down the ladder, before this attempt; a resend begins anew."""
    at: datetime
    """When it was begun."""


def judge(tried: Try, endpoint: Endpoint, ladder: Ladder, *, jitter: float, now: datetime) -> Result:
    """The result to store. While its endpoint is disabled a delivery waits without a time."""
    answer = tried.answer
    attempt = Attempt(
        n=tried.n,
        outcome=answer.outcome,
        status_code=answer.status_code,
        error=answer.error,
        duration_s=answer.duration_s,
        response=answer.response,
        at=tried.at,
    )
    if answer.is_delivered:
        return Result(tried.delivery.id, DeliveryStatus.DELIVERED, attempt, delivered_at=now)
    if answer.status_code == GONE and tried.delivery.kind is DeliveryKind.TURN:
        return Result(tried.delivery.id, DeliveryStatus.DEAD, attempt, dead_reason="gone")
    if endpoint.status is EndpointStatus.DISABLED:
        return Result(tried.delivery.id, DeliveryStatus.PENDING, attempt)
    delay_s = ladder.delay_s(tried.failures + 1, jitter=jitter, retry_after_s=answer.retry_after_s)
    if delay_s is None:
        return Result(tried.delivery.id, DeliveryStatus.DEAD, attempt, dead_reason="retries_exhausted")
    return Result(tried.delivery.id, DeliveryStatus.PENDING, attempt, next_attempt_at=now + timedelta(seconds=delay_s))
