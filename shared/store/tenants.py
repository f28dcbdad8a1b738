"""Tenants, and the secret that signs a tenant's callbacks which name no endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from shared.domain.errors import NotFound
from shared.domain.event import storable
from shared.domain.ids import TenantId
from shared.domain.tenant import Tenant
from shared.domain.webhook import mint_secret
from shared.store.cursors import Row
from shared.store.database import Connection
from shared.store.inserting import insert_if_new
from shared.store.sealing import Sealer
from shared.store.tables import tenants

DEFAULT = TenantId("ten_default")
"""The tenant of an installation that has only one."""


def create(connection: Connection, id: TenantId, name: str, sealer: Sealer, at: datetime) -> bool:
    """Make a tenant with a callback secret of its own. False, and nothing changed, where it exists."""
    row = {"id": id, "name": storable(name), "callback_secret": sealer.seal(mint_secret()), "created_at": at}
    return insert_if_new(connection, tenants, row)


def ensure_default(connection: Connection, sealer: Sealer, at: datetime) -> TenantId:
    """The id of the default tenant, which is made where it is missing."""
    create(connection, DEFAULT, "default", sealer, at)
    return DEFAULT


def get(connection: Connection, id: TenantId) -> Tenant | None:
    """One tenant."""
    row = connection.execute(sa.select(tenants).where(tenants.c.id == id)).one_or_none()
    return _tenant(row) if row else None


def list_all(connection: Connection) -> Sequence[Tenant]:
    """All tenants, oldest first."""
    return [_tenant(row) for row in connection.execute(sa.select(tenants).order_by(tenants.c.created_at, tenants.c.id))]


def callback_secret(connection: Connection, tenant: TenantId, sealer: Sealer) -> str:
    """The secret `whsec_…` that signs the tenant's callbacks.

    Raises:
        NotFound: no such tenant.
        SealBroken: it was sealed with another secret key.
    """
    sealed = connection.execute(sa.select(tenants.c.callback_secret).where(tenants.c.id == tenant)).scalar_one_or_none()
    if sealed is None:
        raise NotFound("tenant", tenant)
    return sealer.open(sealed)


def _tenant(row: Row) -> Tenant:
    return Tenant(id=TenantId(row.id), name=row.name, created_at=row.created_at)
