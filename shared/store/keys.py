"""API keys: made once, shown once, kept as a keyed hash."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import TypedDict, Unpack

import sqlalchemy as sa

from shared.domain.clock import now
from shared.domain.event import storable
from shared.domain.ids import KeyId, TenantId, mint
from shared.domain.tenant import ApiKey, Caller, Scope
from shared.store import tokens
from shared.store.cursors import Row, fetch_page
from shared.store.database import Connection
from shared.store.sealing import Sealer
from shared.store.tables import keys

_PREFIX = "crl"
_PEPPER = "api-key-pepper"
_TOUCH = timedelta(minutes=1)


class NewKey(TypedDict):
    """What a key is made of. `expires_at` None: never."""

    tenant: TenantId
    name: str
    scopes: Collection[Scope]
    expires_at: datetime | None
    sealer: Sealer
    at: datetime


def create(connection: Connection, **new: Unpack[NewKey]) -> tuple[ApiKey, str]:
    """Make a key: its row, and the secret `crl_…`, which nobody can read again."""
    secret = tokens.mint(_PREFIX)
    key = ApiKey(
        id=KeyId(mint("key")),
        tenant=new["tenant"],
        name=storable(new["name"]),
        scopes=frozenset(new["scopes"]),
        created_at=new["at"],
        expires_at=new["expires_at"],
        revoked_at=None,
        last_used_at=None,
    )
    connection.execute(
        keys.insert().values(
            id=key.id,
            tenant_id=key.tenant,
            name=key.name,
            hash=tokens.digest(secret, new["sealer"], _PEPPER),
            scopes=sorted(key.scopes),
            created_at=key.created_at,
            expires_at=key.expires_at,
        )
    )
    return key, secret


def find(connection: Connection, secret: str, sealer: Sealer, *, at: datetime | None = None) -> Caller | None:
    """Who holds `secret` at the moment `at` (now where None); None for a key unknown, revoked or expired.

    A mistyped key fails its checksum and costs no query.
    """
    if not tokens.is_whole(secret, _PREFIX):
        return None
    row = connection.execute(
        sa.select(keys.c.id, keys.c.tenant_id, keys.c.name, keys.c.scopes).where(
            keys.c.hash == tokens.digest(secret, sealer, _PEPPER),
            keys.c.revoked_at.is_(None),
            sa.or_(keys.c.expires_at.is_(None), keys.c.expires_at > (at or now())),
        )
    ).one_or_none()
    if row is None:
        return None
    return Caller(tenant=TenantId(row.tenant_id), key=KeyId(row.id), name=row.name, scopes=_scopes(row.scopes))


def page(
    connection: Connection, tenant: TenantId, *, cursor: str | None = None, limit: int = 50
) -> tuple[list[ApiKey], str | None]:
    """Keys of a tenant, revoked ones too, newest first, and the next page's cursor.

    Raises:
        InvalidField: `cursor` is not one of ours.
    """
    statement = sa.select(keys).where(keys.c.tenant_id == tenant)
    rows, onward = fetch_page(connection, statement, keys, cursor=cursor, limit=limit)
    return [_key(row) for row in rows], onward


def get(connection: Connection, tenant: TenantId, id: KeyId) -> ApiKey | None:
    """One key of the tenant."""
    row = connection.execute(sa.select(keys).where(keys.c.id == id, keys.c.tenant_id == tenant)).one_or_none()
    return _key(row) if row else None


def revoke(connection: Connection, tenant: TenantId, id: KeyId, at: datetime) -> bool:
    """End the key for good, from the next request on. Repeating keeps the first moment. False: no such key."""
    moment = sa.func.coalesce(keys.c.revoked_at, sa.literal(at, keys.c.revoked_at.type))
    statement = keys.update().where(keys.c.id == id, keys.c.tenant_id == tenant).values(revoked_at=moment)
    return connection.execute(statement).rowcount == 1


def touch(connection: Connection, id: KeyId, at: datetime) -> bool:
    """Note that the key was used; at most once a minute, else False and nothing changed."""
    stale = sa.or_(keys.c.last_used_at.is_(None), keys.c.last_used_at <= at - _TOUCH)
    return connection.execute(keys.update().where(keys.c.id == id, stale).values(last_used_at=at)).rowcount == 1


def _scopes(stored: list[str]) -> frozenset[Scope]:
    # A scope that a later release added is no scope here; the release before must go on serving.
    return frozenset(Scope(name) for name in stored if name in set(Scope))


def _key(row: Row) -> ApiKey:
    return ApiKey(
        id=KeyId(row.id),
        tenant=TenantId(row.tenant_id),
        name=row.name,
        scopes=_scopes(row.scopes),
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        last_used_at=row.last_used_at,
    )
