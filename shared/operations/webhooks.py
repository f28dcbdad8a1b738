"""Webhook endpoints: what a tenant may ask of them. Their deliveries are in `deliveries.py`, sending in workers."""

from __future__ import annotations

from dataclasses import replace
from typing import TypedDict, Unpack

from shared.domain.errors import NotFound
from shared.domain.ids import EndpointId
from shared.domain.tenant import Caller
from shared.domain.webhook import Endpoint, EndpointScope, EndpointSpec, EndpointStatus, mint_endpoint, mint_secret
from shared.operations.context import Context
from shared.operations.transaction import Act, Once, carry_out
from shared.operations.webhook_targets import check_secret, check_spec
from shared.store import endpoints
from shared.store.database import Connection
from shared.store.endpoints import EndpointOwner, EndpointStore


class EndpointChanges(TypedDict, total=False):
    """What of an endpoint may change; what is left out stays."""

    url: str
    description: str | None
    event_types: tuple[str, ...]
    headers: dict[str, str]
    concurrency: int | None
    rate_per_s: float | None
    enabled: bool


def create(
    context: Context,
    caller: Caller,
    spec: EndpointSpec,
    *,
    secret: str | None = None,
    once: Once[Endpoint] | None = None,
) -> Endpoint:
    """Make an endpoint for all sessions of the caller's tenant; it hears of events made from now on.

    No handshake. The secret, made where none is given, is in the answer and shown nowhere else.

    Raises:
        InvalidField: URL, secret, filter, headers or bounds cannot be taken.
    """
    check_spec(context.webhook_rules, spec)
    chosen = check_secret(secret) if secret is not None else mint_secret()

    def effect(act: Act) -> Endpoint:
        owner = EndpointOwner(caller.tenant)
        return _store(context).create(act.connection, mint_endpoint(), owner, spec, secret=chosen, at=act.at)

    return carry_out(context, caller, once, effect)


def get(context: Context, caller: Caller, id: EndpointId) -> Endpoint:
    """One endpoint.

    Raises:
        NotFound: missing, or another tenant's.
    """
    with context.db.read() as connection:
        return find(context, connection, caller, id)


def page(
    context: Context, caller: Caller, *, url: str | None = None, cursor: str | None = None, limit: int = 50
) -> tuple[list[Endpoint], str | None]:
    """Endpoints for all sessions, newest first, with the next page's cursor. `url` must match whole."""
    with context.db.read() as connection:
        return _store(context).page(connection, caller.tenant, url=url, cursor=cursor, limit=limit)


def patch(
    context: Context,
    caller: Caller,
    id: EndpointId,
    *,
    if_version: int | None = None,
    **changes: Unpack[EndpointChanges],
) -> Endpoint:
    """Change an endpoint. Disabled it stands still where it is; enabled again it goes on from there.

    Raises:
        NotFound: missing, or another tenant's.
        VersionMismatch: it is not at `if_version`.
        InvalidField: as of `create`.
    """
    old = get(context, caller, id)
    if _spec(old, changes) != old.spec:
        check_spec(context.webhook_rules, _spec(old, changes))

    def effect(act: Act) -> Endpoint:
        found = find(context, act.connection, caller, id)
        wanted = found if if_version is None else replace(found, version=if_version)
        enabled = changes.get("enabled", found.status is EndpointStatus.ACTIVE)
        return _store(context).update(act.connection, wanted, _spec(found, changes), enabled=enabled, at=act.at)

    return carry_out(context, caller, None, effect)


def delete(context: Context, caller: Caller, id: EndpointId) -> bool:
    """Remove an endpoint, its deliveries and their attempts. False: it was gone already, or never the caller's."""
    return carry_out(context, caller, None, lambda act: endpoints.remove(act.connection, caller.tenant, id))


def rotate_secret(
    context: Context, caller: Caller, id: EndpointId, *, secret: str | None = None, once: Once[Endpoint] | None = None
) -> Endpoint:
    """Sign with a new secret, and for 24 h with the present one beside it; the new one is in the answer.

    Raises:
        NotFound: missing, or another tenant's.
        InvalidField: `secret` cannot be taken.
    """
    chosen = check_secret(secret) if secret is not None else mint_secret()

    def effect(act: Act) -> Endpoint:
        old = find(context, act.connection, caller, id)
        return _store(context).rotate_secret(act.connection, old, chosen, act.at)

    return carry_out(context, caller, once, effect)


def find(context: Context, connection: Connection, caller: Caller, id: EndpointId) -> Endpoint:
    """The caller's endpoint, in the caller's transaction.

    Raises:
        NotFound: missing, another tenant's, or a turn's callback, which is nobody's to change.
    """
    found = _store(context).get(connection, caller.tenant, id)
    if found is None or found.scope is EndpointScope.TURN:
        raise NotFound("webhook", id)
    return found


def _spec(endpoint: Endpoint, changes: EndpointChanges) -> EndpointSpec:
    old = endpoint.spec
    return EndpointSpec(
        url=changes.get("url", old.url),
        description=changes.get("description", old.description),
        event_types=changes.get("event_types", old.event_types),
        headers=changes.get("headers", old.headers),
        concurrency=changes.get("concurrency", old.concurrency),
        rate_per_s=changes.get("rate_per_s", old.rate_per_s),
    )


def _store(context: Context) -> EndpointStore:
    return EndpointStore(context.sealer)
