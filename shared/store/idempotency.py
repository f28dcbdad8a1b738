"""Idempotency keys: the same key and body give the same answer, whichever process is asked."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from shared.domain.clock import now
from shared.domain.errors import IdempotencyInFlight, IdempotencyMismatch
from shared.domain.ids import TenantId
from shared.store.database import Connection
from shared.store.inserting import insert_if_new
from shared.store.tables import idempotency

_IN_FLIGHT = 0
_LOCK_NOT_AVAILABLE = "55P03"  # PostgreSQL's lock_timeout


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer the first request got."""

    status: int
    text: str


def begin(connection: Connection, tenant: TenantId, route: str, key: str, body_hash: str) -> Reply | None:
    """Take the key for this request (None), or give the reply of the one that had it first.

    In the transaction of the effect, which `finish` completes: after a crash or a refusal nothing is left and the
    key is free. A request with the same key in another open transaction is waited for, within the lock time-out.

    Raises:
        IdempotencyMismatch: the key came with another body.
        IdempotencyInFlight: the first request took longer than this one would wait.
    """
    row = {
        "tenant_id": tenant,
        "route": route,
        "key": key,
        "body_hash": body_hash,
        "status": _IN_FLIGHT,
        "reply": "",
        "created_at": now(),
    }
    try:
        if insert_if_new(connection, idempotency, row):
            return None
    except OperationalError as problem:
        if getattr(problem.orig, "sqlstate", None) == _LOCK_NOT_AVAILABLE:
            raise IdempotencyInFlight from problem
        raise
    found = find(connection, tenant, route, key, body_hash)
    # None: retention removed it between the two statements.
    if found is None:
        raise IdempotencyInFlight
    return found


def find(connection: Connection, tenant: TenantId, route: str, key: str, body_hash: str) -> Reply | None:
    """The reply of the request that had the key first; None: the key is free.

    Raises:
        IdempotencyMismatch: the key came with another body.
        IdempotencyInFlight: the first request has not answered yet.
    """
    stored = connection.execute(
        sa.select(idempotency.c.body_hash, idempotency.c.status, idempotency.c.reply).where(*_is(tenant, route, key))
    ).one_or_none()
    if stored is None:
        return None
    if stored.body_hash != body_hash:
        raise IdempotencyMismatch
    if stored.status == _IN_FLIGHT:
        raise IdempotencyInFlight
    return Reply(status=stored.status, text=stored.reply)


def finish(connection: Connection, tenant: TenantId, route: str, key: str, status: int, reply_text: str) -> None:
    """Keep the answer for whoever repeats the request. In the same transaction as `begin`."""
    connection.execute(idempotency.update().where(*_is(tenant, route, key)).values(status=status, reply=reply_text))


def _is(tenant: TenantId, route: str, key: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (idempotency.c.tenant_id == tenant, idempotency.c.route == route, idempotency.c.key == key)
