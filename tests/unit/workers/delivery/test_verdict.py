"""What an answer makes of a delivery."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.domain import clock
from shared.domain.ids import SessionId, TenantId
from shared.domain.webhook import (
    AttemptOutcome,
    Delivery,
    DeliveryKind,
    DeliveryStatus,
    Endpoint,
    EndpointScope,
    EndpointSpec,
    EndpointStatus,
    mint_delivery,
    mint_endpoint,
)
from workers.delivery.schedule import Ladder
from workers.delivery.send import Answer
from workers.delivery.verdict import Try, judge

NOW = clock.from_text("2026-01-31T12:00:00Z")
LADDER = Ladder((5.0, 30.0))
ENDPOINT = Endpoint(
    id=mint_endpoint(),
    tenant=TenantId("ten_x"),
    scope=EndpointScope.TENANT,
    session=None,
    turn=None,
    spec=EndpointSpec("https://x.test/"),
    secret="whsec_",
    old_secret=None,
    old_secret_until=None,
    status=EndpointStatus.ACTIVE,
    disabled_reason=None,
    failing_since=None,
    version=1,
    created_at=NOW,
    updated_at=NOW,
)
DELIVERY = Delivery(
    id=mint_delivery(),
    tenant=TenantId("ten_x"),
    endpoint=ENDPOINT.id,
    session=SessionId("ses_x"),
    kind=DeliveryKind.EVENTS,
    first_seq=1,
    last_seq=2,
    prev_seq=0,
    seqs=None,
    render=1,
    body=None,
    status=DeliveryStatus.PENDING,
    attempts=0,
    next_attempt_at=NOW,
    created_at=NOW,
    delivered_at=None,
    dead_reason=None,
)


def judged(answer, *, failures=0, endpoint=ENDPOINT, kind=DeliveryKind.EVENTS):
    tried = Try(replace(DELIVERY, kind=kind), answer, failures + 1, failures, NOW)
    return judge(tried, endpoint, LADDER, jitter=0.5, now=NOW)


def failed(code=500, retry_after_s=None):
    return Answer(AttemptOutcome.ANSWERED, 0.1, status_code=code, retry_after_s=retry_after_s)


def test_a_2xx_delivers():
    result = judged(Answer(AttemptOutcome.DELIVERED, 0.1, status_code=204))

    assert (result.status, result.delivered_at) == (DeliveryStatus.DELIVERED, NOW)
    assert result.attempt is not None
    assert result.attempt.n == 1


@pytest.mark.parametrize("code", [301, 400, 404, 429, 500, 503])
def test_any_other_answer_is_tried_again_on_the_ladder(code):
    result = judged(failed(code), failures=1)

    assert (result.status, result.next_attempt_at) == (DeliveryStatus.PENDING, NOW + timedelta(seconds=30))


def test_what_the_receiver_asks_for_is_kept():
    assert judged(failed(429, retry_after_s=90.0)).next_attempt_at == NOW + timedelta(seconds=90)


def test_after_the_ladder_it_is_dead():
    result = judged(failed(), failures=2)

    assert (result.status, result.dead_reason) == (DeliveryStatus.DEAD, "retries_exhausted")


def test_of_a_disabled_endpoint_it_waits_without_a_time():
    disabled = replace(ENDPOINT, status=EndpointStatus.DISABLED)

    result = judged(failed(410), endpoint=disabled, failures=2)

    assert (result.status, result.next_attempt_at) == (DeliveryStatus.PENDING, None)


def test_a_callback_that_is_gone_is_dead_at_once():
    result = judged(failed(410), kind=DeliveryKind.TURN)

    assert (result.status, result.dead_reason) == (DeliveryStatus.DEAD, "gone")
