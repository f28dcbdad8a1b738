"""Endpoints that come with something else: a session's own webhook, a turn's callback. The rest is `webhooks.py`."""

from __future__ import annotations

from dataclasses import dataclass, field

from shared.domain.addresses import AddressRules
from shared.domain.ids import SessionId
from shared.domain.turn import Turn
from shared.domain.webhook import Endpoint, EndpointSpec, mint_endpoint, mint_secret
from shared.operations.transaction import Act
from shared.operations.webhook_targets import check_secret, check_spec
from shared.store import tenants
from shared.store.endpoints import EndpointOwner, EndpointStore


@dataclass(frozen=True, slots=True)
class SessionWebhook:
    """The webhook a caller wants for a new session; `secret` None: one is made."""

    url: str
    secret: str | None = field(default=None, repr=False)
    events: tuple[str, ...] = ()


def check_session_webhook(rules: AddressRules, wish: SessionWebhook) -> None:
    """Refuse a session's webhook that cannot be.

    Raises:
        InvalidField: its URL, secret or filter cannot be taken.
    """
    check_spec(rules, EndpointSpec(url=wish.url, event_types=wish.events), "webhook.")
    if wish.secret is not None:
        check_secret(wish.secret, "webhook.secret")


def make_session_webhook(act: Act, session: SessionId, wish: SessionWebhook) -> Endpoint:
    """Make the endpoint of one session: it hears of all its events from the first."""
    return EndpointStore(act.context.sealer).create(
        act.connection,
        mint_endpoint(),
        EndpointOwner(act.caller.tenant, session),
        EndpointSpec(url=wish.url, event_types=wish.events),
        secret=wish.secret or mint_secret(),
        at=act.at,
    )


def make_callback(act: Act, turn: Turn, url: str) -> None:
    """Make the endpoint that hears of one finished turn, once, signed with the tenant's callback secret."""
    sealer = act.context.sealer
    EndpointStore(sealer).create(
        act.connection,
        mint_endpoint(),
        EndpointOwner(act.caller.tenant, turn.session, turn.id),
        EndpointSpec(url=url),
        secret=tenants.callback_secret(act.connection, act.caller.tenant, sealer),
        at=act.at,
    )
