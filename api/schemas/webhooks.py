"""Webhook endpoints, their deliveries and attempts on the wire."""

from __future__ import annotations

from typing import Any

from marshmallow import fields, validate

from api.schemas.fields import MAX_SEQ, Request, Text, View, flag, mapping, moment, number, shown, text, whole, words
from api.schemas.paging import PageQuery, list_of
from shared.domain.webhook import (
    MAX_HEADERS,
    Attempt,
    AttemptOutcome,
    Delivery,
    DeliveryKind,
    DeliveryStatus,
    Endpoint,
    EndpointStatus,
)

_EVENTS = "Only these types (`turn_ended`), or beginnings followed by `*` (`turn_*`); none: all."


class _EndpointBody(Request):
    """What may be set of an endpoint."""

    description = text("For people.", max_length=1000, allow_none=True)
    events = fields.List(
        Text(validate=validate.Length(1, 65)),
        validate=validate.Length(max=50),
        metadata={"description": _EVENTS},
    )
    headers = mapping(
        "Sent with each delivery; kept sealed and never shown.",
        max_keys=MAX_HEADERS,
        max_value=4096,
        key="[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}",
    )
    concurrency = whole(
        "Requests in flight to it at once; null: as the operator set.", at_least=1, at_most=100, allow_none=True
    )
    rate_per_s = number(
        "Requests a second at most; null: no bound.", at_least=0, above=True, at_most=10_000, allow_none=True
    )


class CreateWebhook(_EndpointBody):
    """A new endpoint for all sessions of the tenant."""

    url = text("https://… (or http://… where the operator allows it).", max_length=2048, required=True)
    secret = text("`whsec_` and base64 of 24 to 64 bytes; made where absent.", max_length=200)


class PatchWebhook(_EndpointBody):
    """What may change; absent fields stay."""

    url = text("https://… (or http://… where the operator allows it).", max_length=2048)
    enabled = flag("Disabled it stands still; enabled again it goes on from there.")


class RotateSecret(Request):
    """A new secret."""

    secret = text("`whsec_` and base64 of 24 to 64 bytes; made where absent.", max_length=200)


class ReplayWebhook(Request):
    """What to send again."""

    session_id = text("Of this session the events behind `after_seq`.", max_length=80)
    after_seq = whole("Begin behind this event.", at_least=0, at_most=MAX_SEQ, load_default=0)
    dead_only = flag("Only the dead deliveries (of the session, where one is named).", load_default=False)


class WebhookView(View):
    """One endpoint, without its secrets."""

    id = shown(fields.String, "`whk_…`")
    scope = shown(fields.String, "`tenant`: all sessions; `session`: the one it was made with.")
    session_id = shown(fields.String, "That session.", maybe=True)
    url = shown(fields.String, "Where it posts.")
    description = shown(fields.String, "For people.", maybe=True)
    events = shown(fields.List, _EVENTS, cls_or_instance=fields.String())
    header_names = shown(fields.List, "Names of the headers sent with it.", cls_or_instance=fields.String())
    concurrency = shown(fields.Integer, "Requests in flight to it at once.", maybe=True)
    rate_per_s = shown(fields.Float, "Requests a second at most.", maybe=True)
    status = shown(
        fields.String,
        "Whether it is served.",
        validate=validate.OneOf([EndpointStatus.ACTIVE.value, EndpointStatus.DISABLED.value]),
    )
    disabled_reason = shown(fields.String, "Why it is disabled.", maybe=True)
    failing_since = moment("Since when every attempt fails.", maybe=True)
    version = shown(fields.Integer, "Counts changes; send it as `If-Match`.")
    created_at = moment("When it was made.")
    updated_at = moment("When it last changed.")


class WebhookWithSecret(WebhookView):
    """One endpoint with its secret."""

    secret = shown(fields.String, "What signs its deliveries. Shown this once.")


WebhookPage = list_of(WebhookView, "webhook endpoints")


class WebhooksQuery(PageQuery):
    """Which endpoints, newest first."""

    url = Text(
        load_default=None, validate=validate.Length(1, 2048), metadata={"description": "Only with exactly this URL."}
    )


class DeliveriesQuery(PageQuery):
    """Which deliveries, newest first."""

    status = words("Only deliveries in these states.", DeliveryStatus)


class AttemptView(View):
    """One POST and what came of it."""

    n = shown(fields.Integer, "Counts from 1.")
    outcome = shown(
        fields.String,
        "`delivered`: an answer from 200 to 299; `answered`: any other.",
        validate=validate.OneOf([one.value for one in AttemptOutcome]),
    )
    status_code = shown(fields.Integer, "The answer's status.", maybe=True)
    error = shown(fields.String, "What went wrong.", maybe=True)
    duration_s = shown(fields.Float, "How long it took, the answer included.")
    response = shown(fields.String, "The beginning of the answer.", maybe=True)
    at = moment("When it was made.")


class DeliveryView(View):
    """One message to an endpoint."""

    id = shown(fields.String, "`dlv_…`, the `webhook-id` of all its attempts.")
    webhook_id = shown(fields.String, "Its endpoint.")
    session_id = shown(fields.String, "Its session.", maybe=True)
    kind = shown(fields.String, "What it tells.", validate=validate.OneOf([one.value for one in DeliveryKind]))
    first_seq = shown(fields.Integer, "First event in it.", maybe=True)
    last_seq = shown(fields.Integer, "Last event in it.", maybe=True)
    prev_seq = shown(fields.Integer, "Last event of the one before.", maybe=True)
    status = shown(fields.String, "Where it is.", validate=validate.OneOf([one.value for one in DeliveryStatus]))
    attempts = shown(fields.Integer, "POSTs so far.")
    next_attempt_at = moment("When the next one is due.", maybe=True)
    created_at = moment("When it was cut.")
    delivered_at = moment("When the receiver took it.", maybe=True)
    dead_reason = shown(fields.String, "Why it was given up.", maybe=True)


class DeliveryWithAttempts(DeliveryView):
    """One delivery with all its attempts."""

    attempt_log = fields.List(
        fields.Nested(AttemptView), required=True, metadata={"description": "All attempts, oldest first."}
    )


DeliveryPage = list_of(DeliveryView, "deliveries")


class ReplayView(View):
    """What a replay set in motion."""

    deliveries = shown(fields.Integer, "Deliveries that will be sent.")
    last_seq = shown(fields.Integer, "Last event in them.", maybe=True)
    has_more = shown(fields.Boolean, "Ask again with `last_seq` as `after_seq`.")


def endpoint_fields(endpoint: Endpoint) -> dict[str, Any]:
    """One endpoint, as `WebhookView` and `WebhookWithSecret` dump it."""
    spec = endpoint.spec
    return {
        "id": endpoint.id,
        "scope": endpoint.scope.value,
        "session_id": endpoint.session,
        "url": spec.url,
        "description": spec.description,
        "events": list(spec.event_types),
        "header_names": sorted(spec.headers),
        "concurrency": spec.concurrency,
        "rate_per_s": spec.rate_per_s,
        "status": endpoint.status.value,
        "disabled_reason": endpoint.disabled_reason,
        "failing_since": endpoint.failing_since,
        "version": endpoint.version,
        "created_at": endpoint.created_at,
        "updated_at": endpoint.updated_at,
        "secret": endpoint.secret,
    }


def delivery_fields(delivery: Delivery, attempts: list[Attempt] | None = None) -> dict[str, Any]:
    """One delivery, as `DeliveryView` and `DeliveryWithAttempts` dump it."""
    return {
        "id": delivery.id,
        "webhook_id": delivery.endpoint,
        "session_id": delivery.session,
        "kind": delivery.kind.value,
        "first_seq": delivery.first_seq,
        "last_seq": delivery.last_seq,
        "prev_seq": delivery.prev_seq,
        "status": delivery.status.value,
        "attempts": delivery.attempts,
        "next_attempt_at": delivery.next_attempt_at,
        "created_at": delivery.created_at,
        "delivered_at": delivery.delivered_at,
        "dead_reason": delivery.dead_reason,
        "attempt_log": attempts or [],
    }
