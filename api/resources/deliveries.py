"""Deliveries: what became of them, a test, and sending them again."""

from __future__ import annotations

from api.paging import page
from api.resources.webhooks import endpoint_id
from api.routes import Call, Reply, Route, Routes, Shown, tell
from api.schemas.webhooks import (
    DeliveriesQuery,
    DeliveryPage,
    DeliveryView,
    DeliveryWithAttempts,
    ReplayView,
    ReplayWebhook,
    delivery_fields,
)
from shared.domain.ids import DeliveryId, SessionId
from shared.domain.tenant import Scope
from shared.domain.webhook import Delivery, DeliveryStatus
from shared.operations import deliveries
from shared.operations.deliveries import Replay, ReplayResult

routes = Routes("deliveries", "Messages to webhook endpoints and what came of them.")

_DISABLED = "`endpoint_disabled`: enable it first"


def _accepted(delivery: Delivery) -> Reply:
    return tell(DeliveryView, delivery_fields(delivery), 202, Location=f"/v1/deliveries/{delivery.id}")


def _replayed(result: ReplayResult) -> Reply:
    return tell(ReplayView, result, 202)


@routes.add(
    Route(
        "POST",
        "/v1/webhooks/<webhook_id>/test",
        replies={202: Shown(DeliveryView, "The delivery; ask for it to see what came of it.")},
        scope=Scope.WRITE,
    )
)
def test_webhook(call: Call) -> Reply:
    """Send the endpoint a `webhook.test`, once, whatever its state."""
    return _accepted(deliveries.send_test(call.context, call.caller, endpoint_id(call), once=call.once(_accepted)))


@routes.add(
    Route(
        "GET",
        "/v1/webhooks/<webhook_id>/deliveries",
        replies={200: Shown(DeliveryPage, "Deliveries, newest first.")},
        scope=Scope.READ,
        query=DeliveriesQuery,
    )
)
def list_deliveries(call: Call) -> Reply:
    """Deliveries of an endpoint, newest first."""
    found, onward = deliveries.page(
        call.context,
        call.caller,
        endpoint_id(call),
        status=[DeliveryStatus(word) for word in call.query["status"]],
        cursor=call.query["cursor"],
        limit=call.query["limit"],
    )
    return tell(DeliveryPage, page([delivery_fields(delivery) for delivery in found], onward))


@routes.add(
    Route(
        "POST",
        "/v1/webhooks/<webhook_id>/replay",
        replies={202: Shown(ReplayView, "What will be sent.")},
        scope=Scope.WRITE,
        body=ReplayWebhook,
        problems={409: _DISABLED, 410: "`history_removed`: details.first_seq is the first event still held"},
    )
)
def replay_webhook(call: Call) -> Reply:
    """Send a session's events again in new deliveries, or the endpoint's dead deliveries as they were."""
    body = call.body
    session = None if "session_id" not in body else SessionId(body["session_id"])
    wish = Replay(session, body["after_seq"], body["dead_only"])
    return _replayed(deliveries.replay(call.context, call.caller, endpoint_id(call), wish, once=call.once(_replayed)))


@routes.add(
    Route(
        "GET",
        "/v1/deliveries/<delivery_id>",
        replies={200: Shown(DeliveryWithAttempts, "The delivery.")},
        scope=Scope.READ,
    )
)
def get_delivery(call: Call) -> Reply:
    """One delivery with all its attempts."""
    return tell(DeliveryWithAttempts, delivery_fields(*deliveries.get(call.context, call.caller, _id(call))))


@routes.add(
    Route(
        "POST",
        "/v1/deliveries/<delivery_id>/resend",
        replies={202: Shown(DeliveryView, "The delivery, queued.")},
        scope=Scope.WRITE,
        problems={
            409: _DISABLED,
            410: "`history_removed`: retention has removed events of it",
            422: "`refused`: a test is not sent again",
        },
    )
)
def resend_delivery(call: Call) -> Reply:
    """Send a delivery again: the same bytes under the same `webhook-id`. Of one that waits for a retry, now."""
    return _accepted(deliveries.resend(call.context, call.caller, _id(call), once=call.once(_accepted)))


def _id(call: Call) -> DeliveryId:
    return call.id("delivery_id", "dlv", DeliveryId)
