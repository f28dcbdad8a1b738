"""A receiver: one endpoint as this process serves it, with its gate, its health, and the way to post to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from shared.domain import clock
from shared.domain.ids import EndpointId
from shared.domain.webhook import Delivery, Endpoint, EndpointScope, EndpointStatus
from shared.store import endpoints
from shared.telemetry import metrics
from workers.delivery.breaker import BreakerTimes
from workers.delivery.gate import Gate
from workers.delivery.send import Answer, Sender
from workers.delivery.sign import headers
from workers.delivery.writer import SqlThread

log = structlog.get_logger(__name__)

FAILING_S = 5 * 86400.0
GONE = 410


@dataclass(frozen=True, slots=True)
class ReceiverRules:
    """How endpoints are treated; the same for all."""

    concurrency: int
    """Requests in flight where the endpoint itself sets no number."""
    times: BreakerTimes
    failing_s: float
    """An endpoint that only fails for so long is disabled."""


class Receiver:
    """All lanes of an endpoint in this process post through here."""

    def __init__(
        self,
        endpoint: Endpoint,
        rules: ReceiverRules,
        sender: Sender,
        writer: SqlThread,
        on_disabled: Callable[[EndpointId], None],
    ) -> None:
        """`on_disabled` is called on the loop when an answer of the endpoint has disabled it."""
        self._on_disabled = on_disabled
        self._rules = rules
        self._sender = sender
        self._writer = writer
        self.endpoint = endpoint
        self.gate = self._gate()
        self.failing_since = endpoint.failing_since

    @property
    def id(self) -> EndpointId:
        return self.endpoint.id

    @property
    def is_served(self) -> bool:
        return self.endpoint.status is not EndpointStatus.DISABLED

    def renew(self, endpoint: Endpoint) -> None:
        """Its owner changed it, or another process learned of its health."""
        self.endpoint = endpoint
        self.failing_since = endpoint.failing_since
        spec = endpoint.spec
        if not self.gate.suits(concurrency=self._concurrency(), rate_per_s=spec.rate_per_s):
            self.gate = self._gate()

    async def post(self, delivery: Delivery, body: bytes, ready: Callable[[], Awaitable[None]]) -> Answer:
        """Send a delivery once, when the gate lets it through and `ready` returns."""
        async with self.gate.passage() as passed:
            await ready()
            answer = await self.post_at_once(delivery, body)
            passed.delivered = answer.is_delivered
        await self._note(answer)
        return answer

    async def post_at_once(self, delivery: Delivery, body: bytes) -> Answer:
        """The same past gate and health: for tests of an endpoint."""
        now = clock.now()
        spec = self.endpoint.spec
        signed = headers(delivery.id, int(now.timestamp()), body, self.endpoint.secrets(now))
        answer = await self._sender.post(spec.url, {**spec.headers, **signed}, body)
        metrics.DELIVERY_ATTEMPTS.labels(answer.outcome).inc()
        metrics.DELIVERY_ATTEMPT_SECONDS.observe(answer.duration_s)
        return answer

    async def _note(self, answer: Answer) -> None:
        now = clock.now()
        if answer.is_delivered:
            if self.failing_since is not None:
                await self._set_failing(None, now)
        elif answer.status_code == GONE:
            await self._disable("gone", now)
        elif self.failing_since is None:
            if not self.gate.breaker.is_closed:
                await self._set_failing(now, now)
        elif (now - self.failing_since).total_seconds() >= self._rules.failing_s:
            await self._disable("failing", now)

    async def _set_failing(self, since: datetime | None, now: datetime) -> None:
        self.failing_since = since
        await self._writer.run(lambda connection: endpoints.set_failing(connection, self.id, since, now))

    async def _disable(self, reason: str, now: datetime) -> None:
        if self.endpoint.scope is EndpointScope.TURN:
            return
        disabled = await self._writer.run(lambda connection: endpoints.disable(connection, self.id, reason, now))
        self.endpoint = replace(self.endpoint, status=EndpointStatus.DISABLED, disabled_reason=reason)
        self._on_disabled(self.id)
        if disabled:
            metrics.DELIVERY_DISABLED.labels(reason).inc()
            log.warning("endpoint.disabled", endpoint=self.id, reason=reason)

    def _concurrency(self) -> int:
        return self.endpoint.spec.concurrency or self._rules.concurrency

    def _gate(self) -> Gate:
        return Gate(concurrency=self._concurrency(), rate_per_s=self.endpoint.spec.rate_per_s, times=self._rules.times)
