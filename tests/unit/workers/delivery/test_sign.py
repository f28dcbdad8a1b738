"""The signature is the standard's: golden vectors, another implementation, rotation."""

from __future__ import annotations

import base64
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from shared.domain import clock
from shared.domain.ids import DeliveryId
from shared.domain.webhook import mint_delivery, mint_secret, secret_bytes
from workers.delivery.sign import headers, signature

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_the_signature_is_the_published_golden_vector():
    signed = signature(SECRET, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')

    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@given(body=st.text(), key=st.binary(min_size=24, max_size=64))
def test_another_implementation_makes_the_same_signature(body, key):
    secret = "whsec_" + base64.b64encode(key).decode()
    at = clock.now().replace(microsecond=0)

    theirs = Webhook(secret).sign("dlv_1", at, body)

    assert signature(secret, "dlv_1", int(at.timestamp()), body.encode()) == theirs


def test_during_a_rotation_receivers_of_either_secret_verify():
    old, new = mint_secret(), mint_secret()
    now = int(clock.now().timestamp())

    made = headers(DeliveryId("dlv_1"), now, b"{}", [new, old])

    assert len(made["webhook-signature"].split(" ")) == 2
    assert Webhook(old).verify(b"{}", dict(made)) == {}
    assert Webhook(new).verify(b"{}", dict(made)) == {}


def test_a_changed_body_or_an_old_timestamp_does_not_verify():
    now = int(clock.now().timestamp())
    made = dict(headers(DeliveryId("dlv_1"), now, b"{}", [SECRET]))
    stale = dict(headers(DeliveryId("dlv_1"), now - int(timedelta(hours=1).total_seconds()), b"{}", [SECRET]))

    for body, sent in ((b"{ }", made), (b"{}", stale)):
        with pytest.raises(Exception, match=r"No matching signature|Message timestamp too old"):
            Webhook(SECRET).verify(body, sent)


def test_a_retry_keeps_id_and_trace_and_has_a_span_of_its_own():
    minted = mint_delivery()

    first, second = (headers(minted, at, b"{}", [SECRET]) for at in (1, 2))

    assert first["webhook-id"] == second["webhook-id"] == minted
    assert first["traceparent"][:35] == second["traceparent"][:35]
    assert first["traceparent"] != second["traceparent"]
    assert first["webhook-signature"] != second["webhook-signature"]


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_",
        "whsec_not base64!",
        "whsec_AAAA",
        "whsec_" + "A" * 88,
        "whsec_é",
    ],
)
def test_a_secret_that_cannot_sign_is_refused_without_being_shown(secret):
    with pytest.raises(ValueError, match=r"whsec_|bytes") as refused:
        secret_bytes(secret)
    assert len(secret) < 8 or secret not in str(refused.value)


def test_a_minted_secret_holds_32_bytes():
    assert len(secret_bytes(mint_secret())) == 32
