"""Signatures of the internal HTTP between API and workers: who holds CORRAL_SECRET_KEY may ask for files."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping

from shared.domain.errors import Unauthenticated

TIME_HEADER = "X-Corral-Timestamp"
SIGNATURE_HEADER = "X-Corral-Signature"
TOLERANCE_S = 60
"""How far the clocks of two machines may differ."""
_PURPOSE = b"corral internal http v1"


def key_of(secret: str) -> bytes:
    """The key for this purpose alone, from CORRAL_SECRET_KEY."""
    return hmac.digest(secret.encode(), _PURPOSE, hashlib.sha256)


def sign(key: bytes, method: str, target: str, *, at: float | None = None) -> dict[str, str]:
    """The headers that go with a request. `target` is path and query as they stand in the request line."""
    moment = str(int(time.time() if at is None else at))
    return {TIME_HEADER: moment, SIGNATURE_HEADER: _signature(key, method, target, moment)}


def verify(key: bytes, method: str, target: str, headers: Mapping[str, str], *, at: float | None = None) -> None:
    """Return if the request is signed with `key` and less than a minute old.

    Raises:
        Unauthenticated: it is not.
    """
    moment = headers.get(TIME_HEADER, "")
    given = headers.get(SIGNATURE_HEADER, "").encode("utf-8", "replace")
    if not (moment.isascii() and moment.isdigit() and len(moment) <= 12):
        raise Unauthenticated("The request bears no time.")
    if not hmac.compare_digest(_signature(key, method, target, moment).encode(), given):
        raise Unauthenticated("The request is not signed with this fleet's CORRAL_SECRET_KEY.")
    if abs((time.time() if at is None else at) - int(moment)) > TOLERANCE_S:
        raise Unauthenticated("The request is too old, or the clocks of API and worker differ by more than a minute.")


def _signature(key: bytes, method: str, target: str, moment: str) -> str:
    return hmac.new(key, f"{method}\n{target}\n{moment}".encode(), hashlib.sha256).hexdigest()
