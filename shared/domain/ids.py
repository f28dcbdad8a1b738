"""Typed, prefixed ids. An id's prefix tells what it names; nothing else may be read out of it."""

from __future__ import annotations

import re
import secrets
import time
from typing import NewType

TenantId = NewType("TenantId", str)
KeyId = NewType("KeyId", str)
SessionId = NewType("SessionId", str)
TurnId = NewType("TurnId", str)
EventId = NewType("EventId", str)
AskId = NewType("AskId", str)
EndpointId = NewType("EndpointId", str)
DeliveryId = NewType("DeliveryId", str)
BlobId = NewType("BlobId", str)
BatchId = NewType("BatchId", str)
ReporterId = NewType("ReporterId", str)
Incarnation = NewType("Incarnation", str)
"""One life of a worker or delivery process; a restart of the same name is a new incarnation."""

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_SHAPE = re.compile(r"(ten|key|rpt|ses|trn|evt|ask|whk|dlv|blb|bat|wkr)_[0-9a-z_]{1,64}")
_TIME_DIGITS = 9
_RANDOM_DIGITS = 16


def _base32(value: int, digits: int) -> str:
    return "".join(_ALPHABET[(value >> (5 * place)) & 31] for place in range(digits - 1, -1, -1))


def mint(prefix: str) -> str:
    """A new id `<prefix>_<25 characters>`: 45 bits of milliseconds, then 80 random bits.

    Ids of one prefix sort by the millisecond they were minted in, which keeps index inserts
    at the right edge; the random part makes them unguessable.
    """
    moment = _base32(time.time_ns() // 1_000_000, _TIME_DIGITS)
    return f"{prefix}_{moment}{_base32(secrets.randbits(80), _RANDOM_DIGITS)}"


def mint_session() -> SessionId:
    """A new session id."""
    return SessionId(mint("ses"))


def mint_turn() -> TurnId:
    """A new turn id."""
    return TurnId(mint("trn"))


def mint_ask() -> AskId:
    """A new ask id."""
    return AskId(mint("ask"))


def mint_batch() -> BatchId:
    """A new batch id."""
    return BatchId(mint("bat"))


def mint_reporter() -> ReporterId:
    """A new reporter id."""
    return ReporterId(mint("rpt"))


def mint_incarnation() -> Incarnation:
    """A new incarnation of a worker or delivery process."""
    return Incarnation(mint("wkr"))


def event_id(session: SessionId, seq: int) -> EventId:
    """The id of event `seq` of `session`: derived, so the log need not store it."""
    return EventId(f"evt_{session.removeprefix('ses_')}_{seq}")


def is_id(text: str, prefix: str) -> bool:
    """Whether `text` has the shape of an id with `prefix` (without underscore)."""
    return text.startswith(f"{prefix}_") and _SHAPE.fullmatch(text) is not None
