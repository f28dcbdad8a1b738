"""Links to asks: made once, shown once, kept as a keyed hash; a forged one costs no query."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from shared.domain.event import storable
from shared.domain.ids import AskId, KeyId, TenantId
from shared.domain.link import Link
from shared.store.database import Connection
from shared.store.sealing import Sealer
from shared.store.tables import ask_links

_RANDOM_BYTES: Final = 32
_SIGNATURE_BYTES: Final = 15
_BODY: Final = 43  # base64url characters of 32 bytes
_SHAPE: Final = re.compile(rf"(?P<body>[0-9A-Za-z_-]{{{_BODY}}})(?P<signature>[0-9A-Za-z_-]{{20}})", re.ASCII)


def create(connection: Connection, link: Link, sealer: Sealer) -> str:
    """Store a new link; its secret, which nobody can read again: 256 random bits and our signature on them."""
    body = _text(secrets.token_bytes(_RANDOM_BYTES))
    secret = f"{body}{_signature(body, sealer)}"
    connection.execute(
        ask_links.insert().values(
            hash=_hash(secret, sealer),
            ask_id=link.ask,
            tenant_id=link.tenant,
            key_id=link.key,
            name=storable(link.name),
            created_at=link.created_at,
            expires_at=link.expires_at,
            used_at=link.used_at,
        )
    )
    return secret


def find(connection: Connection, secret: str, sealer: Sealer) -> Link | None:
    """The link whose secret this is, used and expired ones too; None: there is none, or no more."""
    match = _SHAPE.fullmatch(secret)
    if match is None or not hmac.compare_digest(match["signature"], _signature(match["body"], sealer)):
        return None
    row = connection.execute(sa.select(ask_links).where(ask_links.c.hash == _hash(secret, sealer))).one_or_none()
    if row is None:
        return None
    return Link(
        ask=AskId(row.ask_id),
        tenant=TenantId(row.tenant_id),
        key=KeyId(row.key_id),
        name=row.name,
        created_at=row.created_at,
        expires_at=row.expires_at,
        used_at=row.used_at,
    )


def use(connection: Connection, secret: str, sealer: Sealer, at: datetime) -> bool:
    """Note that the link was used. False: it was before."""
    statement = ask_links.update().where(ask_links.c.hash == _hash(secret, sealer), ask_links.c.used_at.is_(None))
    return connection.execute(statement.values(used_at=at)).rowcount == 1


def _signature(body: str, sealer: Sealer) -> str:
    return _text(hmac.digest(sealer.derive("ask-link-signature"), body.encode(), hashlib.sha256)[:_SIGNATURE_BYTES])


def _hash(secret: str, sealer: Sealer) -> str:
    # Keyed: who has only the database can plant no link of his own.
    return hmac.new(sealer.derive("ask-link-pepper"), secret.encode(), hashlib.sha256).hexdigest()


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
