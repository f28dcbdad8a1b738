"""Standard Webhooks 1.0.0, symmetric: what a delivery's headers say, and the signature a receiver checks."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets as random
from collections.abc import Iterable, Mapping

from shared.domain.ids import DeliveryId
from shared.domain.webhook import secret_bytes

USER_AGENT = "Corral-Webhooks/1"


def signature(secret: str, id: str, timestamp: int, body: bytes) -> str:
    """`v1,<base64>` over `{id}.{timestamp}.{body}`.

    Raises:
        ValueError: `secret` is no `whsec_…`.
    """
    signed = f"{id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(secret_bytes(secret), signed, hashlib.sha256)).decode()


def headers(id: DeliveryId, timestamp: int, body: bytes, secrets: Iterable[str]) -> Mapping[str, str]:
    """The headers of one attempt. During a rotation each secret signs; a receiver accepts any one signature.

    `webhook-id` and the trace stay the same on every retry, timestamp (unix seconds of this attempt) and signature
    do not.
    """
    trace = hashlib.sha256(id.encode()).hexdigest()[:32]
    return {
        "content-type": "application/json",
        "user-agent": USER_AGENT,
        "webhook-id": id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signature(secret, id, timestamp, body) for secret in secrets),
        "traceparent": f"00-{trace}-{random.token_hex(8)}-01",
    }
