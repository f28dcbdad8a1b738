"""Webhook endpoints of the tenant: make, read, change, remove, try out, rotate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.paging import page
from api.resources.sessions import if_match
from api.routes import Call, Reply, Route, Routes, Shown, tell
from api.schemas.webhooks import (
    CreateWebhook,
    PatchWebhook,
    RotateSecret,
    WebhookPage,
    WebhooksQuery,
    WebhookView,
    WebhookWithSecret,
    endpoint_fields,
)
from shared.domain.errors import NotFound
from shared.domain.ids import EndpointId
from shared.domain.tenant import Scope
from shared.domain.webhook import Endpoint, EndpointSpec
from shared.operations import webhooks
from shared.operations.webhooks import EndpointChanges

routes = Routes("webhooks", "Where signed deliveries of events go.")


def _made(endpoint: Endpoint) -> Reply:
    return tell(
        WebhookWithSecret,
        endpoint_fields(endpoint),
        201,
        Location=f"/v1/webhooks/{endpoint.id}",
        ETag=f'"{endpoint.version}"',
    )


def _rotated(endpoint: Endpoint) -> Reply:
    return tell(WebhookWithSecret, endpoint_fields(endpoint), ETag=f'"{endpoint.version}"')


def _shown(endpoint: Endpoint) -> Reply:
    return tell(WebhookView, endpoint_fields(endpoint), ETag=f'"{endpoint.version}"')


def endpoint_id(call: Call) -> EndpointId:
    """The endpoint in the path."""
    return call.id("webhook_id", "whk", EndpointId)


@routes.add(
    Route(
        "POST",
        "/v1/webhooks",
        replies={201: Shown(WebhookWithSecret, "The endpoint with its secret, which is shown this once.")},
        scope=Scope.WRITE,
        body=CreateWebhook,
        problems={422: "`invalid_field`: the URL leads where no webhook may go, …"},
    )
)
def create_webhook(call: Call) -> Reply:
    """Make an endpoint for all sessions of the tenant; it hears of events made from now on."""
    body = call.body
    spec = EndpointSpec(
        url=body["url"],
        description=body.get("description"),
        event_types=tuple(body.get("events", ())),
        headers=body.get("headers", {}),
        concurrency=body.get("concurrency"),
        rate_per_s=body.get("rate_per_s"),
    )
    return _made(webhooks.create(call.context, call.caller, spec, secret=body.get("secret"), once=call.once(_made)))


@routes.add(
    Route(
        "GET",
        "/v1/webhooks",
        replies={200: Shown(WebhookPage, "Endpoints for all sessions, newest first.")},
        scope=Scope.READ,
        query=WebhooksQuery,
    )
)
def list_webhooks(call: Call) -> Reply:
    """Endpoints for all sessions of the tenant; those made with a session are not listed."""
    found, onward = webhooks.page(call.context, call.caller, **call.query)
    return tell(WebhookPage, page([endpoint_fields(endpoint) for endpoint in found], onward))


@routes.add(
    Route("GET", "/v1/webhooks/<webhook_id>", replies={200: Shown(WebhookView, "The endpoint.")}, scope=Scope.READ)
)
def get_webhook(call: Call) -> Reply:
    """One endpoint, without its secrets."""
    return _shown(webhooks.get(call.context, call.caller, endpoint_id(call)))


@routes.add(
    Route(
        "PATCH",
        "/v1/webhooks/<webhook_id>",
        replies={200: Shown(WebhookView, "The endpoint.")},
        scope=Scope.WRITE,
        body=PatchWebhook,
        problems={409: "`version_mismatch` (details.actual)"},
        headers={"If-Match": "The version you have read; without it the change is made whatever happened since."},
    )
)
def change_webhook(call: Call) -> Reply:
    """Change an endpoint, switch it off or on."""
    found = webhooks.patch(
        call.context, call.caller, endpoint_id(call), if_version=if_match(call.headers), **_changes(call.body)
    )
    return _shown(found)


@routes.add(Route("DELETE", "/v1/webhooks/<webhook_id>", replies={204: Shown(None, "Removed.")}, scope=Scope.WRITE))
def delete_webhook(call: Call) -> Reply:
    """Remove an endpoint with its deliveries."""
    if not webhooks.delete(call.context, call.caller, endpoint_id(call)):
        raise NotFound("webhook", endpoint_id(call))
    return Reply(204, "")


@routes.add(
    Route(
        "POST",
        "/v1/webhooks/<webhook_id>/rotate-secret",
        replies={200: Shown(WebhookWithSecret, "The endpoint with its new secret, which is shown this once.")},
        scope=Scope.WRITE,
        body=RotateSecret,
    )
)
def rotate_webhook_secret(call: Call) -> Reply:
    """Sign with a new secret; for 24 hours the present one signs beside it."""
    found = webhooks.rotate_secret(
        call.context, call.caller, endpoint_id(call), secret=call.body.get("secret"), once=call.once(_rotated)
    )
    return _rotated(found)


def _changes(body: Mapping[str, Any]) -> EndpointChanges:
    changes: dict[str, Any] = dict(body)
    if "events" in changes:
        changes["event_types"] = tuple(changes.pop("events"))
    made: EndpointChanges = changes  # type: ignore[assignment] # names and types are the schema's
    return made
