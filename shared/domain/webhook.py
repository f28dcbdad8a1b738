"""Webhooks: endpoints, lanes, deliveries, attempts, and the bytes a delivery has.

Words as webhook senders use them: an endpoint is a receiver's URL, a delivery one message to it, an attempt one POST.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets as random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from shared.domain.clock import to_text
from shared.domain.event import Event, render
from shared.domain.ids import DeliveryId, EndpointId, SessionId, TenantId, TurnId, mint
from shared.domain.json import JsonObject
from shared.domain.turn import Turn

ROTATION_S: Final = 24 * 3600.0
"""After a rotation the old secret signs beside the new one for this long."""

CUT_EVENTS: Final = 100
CUT_BYTES: Final = 256 * 1024
RENDER_VERSION: Final = 1
MAX_HEADERS: Final = 20
MAX_HEADER_BYTES: Final = 4096


class EndpointScope(StrEnum):
    """What an endpoint hears of."""

    TENANT = "tenant"
    """Every session of the tenant, from the events made after the endpoint on."""
    SESSION = "session"
    """One session, from its first event on."""
    TURN = "turn"
    """One finished turn, once (a prompt's `callback_url`)."""


class EndpointStatus(StrEnum):
    """Whether an endpoint is served."""

    ACTIVE = "active"
    DISABLED = "disabled"
    """Its lanes stand still where they are; enabled again, they go on from there."""
    DONE = "done"
    """Of a turn: told, or given up."""


class DeliveryKind(StrEnum):
    """What a delivery tells."""

    EVENTS = "events"
    TURN = "turn"
    TEST = "test"


class DeliveryStatus(StrEnum):
    """Where a delivery is."""

    QUEUED = "queued"
    """A resend or replay that waits for its lane."""
    PENDING = "pending"
    """Stored; being sent, or waiting for its next attempt."""
    DELIVERED = "delivered"
    DEAD = "dead"
    """Given up, `dead_reason` says why. Kept, and may be sent again by hand."""


class AttemptOutcome(StrEnum):
    """How one POST went."""

    DELIVERED = "delivered"
    """An answer from 200 to 299."""
    ANSWERED = "answered"
    """Any other answer; a redirect is one and is not followed."""
    TIMED_OUT = "timed_out"
    """No whole answer, body included, within the time for one attempt."""
    UNREACHABLE = "unreachable"
    """No connection, or one that broke: DNS, TCP, TLS, reset."""
    REFUSED = "refused"
    """The address the name led to may not be reached."""


@dataclass(frozen=True, slots=True)
class EndpointSpec:
    """What a caller sets. `event_types`: exact names, or a beginning and `*`; empty means all."""

    url: str
    description: str | None = None
    event_types: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    concurrency: int | None = None
    """Requests in flight to it at once; None: as the operator set."""
    rate_per_s: float | None = None
    """Requests a second at most; None: no bound."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint as stored."""

    id: EndpointId
    tenant: TenantId
    scope: EndpointScope
    session: SessionId | None
    turn: TurnId | None
    spec: EndpointSpec
    secret: str = field(repr=False)
    """`whsec_…`; shown to its owner once."""
    old_secret: str | None = field(repr=False)
    old_secret_until: datetime | None
    status: EndpointStatus
    disabled_reason: str | None
    failing_since: datetime | None
    """First failure of an unbroken row that opened the breaker."""
    version: int
    created_at: datetime
    updated_at: datetime

    def secrets(self, at: datetime) -> tuple[str, ...]:
        """The secrets that sign at `at`, the newest first."""
        if self.old_secret is None or self.old_secret_until is None or self.old_secret_until <= at:
            return (self.secret,)
        return (self.secret, self.old_secret)


@dataclass(frozen=True, slots=True)
class LaneKey:
    """One endpoint and one session: what is ordered, and has one request in flight."""

    endpoint: EndpointId
    session: SessionId


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery as stored."""

    id: DeliveryId
    tenant: TenantId
    endpoint: EndpointId
    session: SessionId | None
    kind: DeliveryKind
    first_seq: int | None
    last_seq: int | None
    prev_seq: int | None
    seqs: tuple[int, ...] | None
    """The seqs in it where the endpoint filters; None: all from first to last."""
    render: int
    body: str | None
    status: DeliveryStatus
    attempts: int
    next_attempt_at: datetime | None
    created_at: datetime
    delivered_at: datetime | None
    dead_reason: str | None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One POST and what came of it. `response` is at most the first 2 kB of the answer."""

    n: int
    outcome: AttemptOutcome
    status_code: int | None
    error: str | None
    duration_s: float
    response: str | None
    at: datetime


def mint_endpoint() -> EndpointId:
    """A new endpoint id."""
    return EndpointId(mint("whk"))


def mint_delivery() -> DeliveryId:
    """A new delivery id: the `webhook-id` of all its attempts."""
    return DeliveryId(mint("dlv"))


def mint_secret() -> str:
    """A new signing secret: `whsec_` and 32 random bytes in base64."""
    return "whsec_" + base64.b64encode(random.token_bytes(32)).decode()


def secret_bytes(secret: str) -> bytes:
    """The key in a `whsec_…` secret.

    Raises:
        ValueError: no `whsec_`, no base64, or not 24 to 64 bytes. The message does not show the secret.
    """
    if not secret.startswith("whsec_"):
        raise ValueError("must be whsec_ followed by base64 of 24 to 64 random bytes")
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError) as problem:
        raise ValueError("is not base64 after whsec_") from problem
    if not 24 <= len(key) <= 64:
        raise ValueError(f"holds {len(key)} bytes; it must be 24 to 64")
    return key


def matches(event_types: Sequence[str], event_type: str) -> bool:
    """Whether an endpoint with this filter hears of `event_type`."""
    return not event_types or any(
        event_type.startswith(wanted[:-1]) if wanted.endswith("*") else event_type == wanted for wanted in event_types
    )


_TYPE = re.compile(r"[a-z][a-z_]{0,63}\*?|\*")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
_HEADER_VALUE = re.compile(r"[\x20-\x7e]*")
_OWN_HEADERS = frozenset(
    [
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "cookie",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "traceparent",
        "tracestate",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ]
)


def event_type_problem(event_type: str) -> str | None:
    """What is wrong with one entry of a filter."""
    return None if _TYPE.fullmatch(event_type) else f"{event_type!r} is neither a type nor a beginning followed by *"


def headers_problem(headers: Mapping[str, str]) -> str | None:
    """What is wrong with an endpoint's own headers. Values, which may be tokens, are never shown."""
    if len(headers) > MAX_HEADERS:
        return f"more than {MAX_HEADERS} headers"
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            return f"{name!r} is not a header name"
        if name.lower() in _OWN_HEADERS or name.lower().startswith("webhook-"):
            return f"{name} is set by Corral"
        if not _HEADER_VALUE.fullmatch(value) or len(value) > MAX_HEADER_BYTES:
            return f"the value of {name} is longer than {MAX_HEADER_BYTES} or holds more than printable ASCII"
    return None


@dataclass(frozen=True, slots=True)
class Cut:
    """Consecutive events of a lane that travel together."""

    events: Sequence[Event]
    prev_seq: int
    """Seq of the last event of the lane's cut before; 0: there was none."""


def cut_size(events: Sequence[Event], *, limit: int = CUT_EVENTS, limit_bytes: int = CUT_BYTES) -> int:
    """How many of `events`, from the first, make one cut: at least one, however large."""
    total = 0
    for count, event in enumerate(events[:limit]):
        total += len(event.envelope().encode()) + 1
        if total > limit_bytes and count:
            return count
    return min(len(events), limit)


def _render_1(session: SessionId, cut: Cut) -> str:
    first, last = cut.events[0].seq, cut.events[-1].seq
    return (
        f'{{"type":"session.events","session_id":"{session}","first_seq":{first},"last_seq":{last},'
        f'"prev_seq":{cut.prev_seq},"events":[{",".join(event.envelope() for event in cut.events)}]}}'
    )


_RENDERERS: Mapping[int, Callable[[SessionId, Cut], str]] = {1: _render_1}
"""A retry after an upgrade must send the bytes of the first attempt: a renderer stays as long as its cuts may."""


def render_cut(version: int, session: SessionId, cut: Cut) -> bytes:
    """The body of a cut. The same version, events and prev_seq always give the same bytes."""
    return _RENDERERS[version](session, cut).encode()


def render_turn(turn: Turn) -> bytes:
    """The flat body that tells of a finished turn. A finished turn does not change, so neither do the bytes."""
    usage: JsonObject | None = None
    if turn.usage is not None:
        usage = {
            "input_tokens": turn.usage.input_tokens,
            "output_tokens": turn.usage.output_tokens,
            "cache_read_tokens": turn.usage.cache_read_tokens,
            "cache_write_tokens": turn.usage.cache_write_tokens,
        }
    return render(
        {
            "type": "turn.ended",
            "session_id": turn.session,
            "turn_id": turn.id,
            "status": turn.status.value,
            "stop_reason": turn.stop_reason,
            "result_text": turn.result_text,
            "error": turn.error,
            "usage": usage,
            "cost_usd": turn.cost_usd,
            "started_at": to_text(turn.started_at) if turn.started_at else None,
            "ended_at": to_text(turn.ended_at) if turn.ended_at else None,
        }
    ).encode()


def render_test(endpoint: EndpointId, at: datetime) -> str:
    """The body of a test delivery."""
    return render({"type": "webhook.test", "webhook_id": endpoint, "created_at": to_text(at)})
