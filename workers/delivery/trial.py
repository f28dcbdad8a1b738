"""Test deliveries: asked for by an endpoint's owner, sent once, past breaker and lanes."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import structlog

from shared.domain import clock
from shared.domain.ids import DeliveryId
from shared.domain.webhook import Attempt, Delivery, DeliveryStatus
from shared.store import deliveries
from shared.store.deliveries import Result
from workers.delivery.lanes import Tools
from workers.delivery.roster import Roster
from workers.delivery.send import Answer

log = structlog.get_logger(__name__)

LEASE_S = 60.0
"""Longer than any attempt: of two processes that see a test, one sends it; a killed one's is sent again after this."""


class Trials:
    """Sends each test as a task of `group`, unless a peer has taken it."""

    def __init__(self, roster: Roster, tools: Tools, group: asyncio.TaskGroup) -> None:
        self._roster = roster
        self._tools = tools
        self._group = group
        self._under_way: set[DeliveryId] = set()

    def send(self, delivery: Delivery) -> None:
        """Send it soon. Asking again while it is under way does nothing."""
        if delivery.id not in self._under_way:
            self._under_way.add(delivery.id)
            self._group.create_task(self._host(delivery))

    async def _host(self, delivery: Delivery) -> None:
        try:
            await self._send(delivery)
        except Exception:
            log.exception("delivery.test_failed", delivery=delivery.id)
        finally:
            self._under_way.discard(delivery.id)

    async def _send(self, delivery: Delivery) -> None:
        at = clock.now()
        until = at + timedelta(seconds=LEASE_S)
        found = await self._tools.reader.run(lambda c: self._tools.store.named(c, [delivery.endpoint]))
        is_mine = await self._tools.writer.run(lambda c: deliveries.lease_test(c, delivery.id, at, until))
        if not found or not is_mine or delivery.body is None:
            return
        is_served = delivery.endpoint in self._roster.receivers
        receiver = self._roster.receivers[delivery.endpoint] if is_served else self._roster.serve(found[0])
        answer = await receiver.post_at_once(delivery, delivery.body.encode())
        if not is_served:
            self._roster.drop(delivery.endpoint)
        result = _result(delivery, answer)
        await self._tools.writer.run(lambda c: deliveries.finish(c, [result]))


def _result(delivery: Delivery, answer: Answer) -> Result:
    now = clock.now()
    attempt = Attempt(
        n=delivery.attempts + 1,
        outcome=answer.outcome,
        status_code=answer.status_code,
        error=answer.error,
        duration_s=answer.duration_s,
        response=answer.response,
        at=now,
    )
    if answer.is_delivered:
        return Result(delivery.id, DeliveryStatus.DELIVERED, attempt, delivered_at=now)
    return Result(delivery.id, DeliveryStatus.DEAD, attempt, dead_reason="test_failed")
