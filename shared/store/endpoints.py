"""Endpoints: where webhooks go. Secrets and headers lie sealed; they are opened here and nowhere shown."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import sqlalchemy as sa

from shared.domain.errors import VersionMismatch
from shared.domain.event import storable
from shared.domain.ids import EndpointId, SessionId, TenantId, TurnId
from shared.domain.webhook import (
    ROTATION_S,
    Endpoint,
    EndpointScope,
    EndpointSpec,
    EndpointStatus,
    LaneKey,
)
from shared.store.cursors import Row, fetch_page
from shared.store.database import Connection
from shared.store.sealing import Sealer
from shared.store.tables import endpoints, turns


@dataclass(frozen=True, slots=True)
class EndpointOwner:
    """Whom an endpoint belongs to, and with it its scope."""

    tenant: TenantId
    session: SessionId | None = None
    turn: TurnId | None = None

    @property
    def scope(self) -> EndpointScope:
        if self.turn is not None:
            return EndpointScope.TURN
        return EndpointScope.TENANT if self.session is None else EndpointScope.SESSION


class EndpointStore:
    """Reads and writes endpoints within the caller's transaction; holds the sealer so that no caller must."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    def create(
        self,
        connection: Connection,
        id: EndpointId,
        owner: EndpointOwner,
        spec: EndpointSpec,
        *,
        secret: str,
        at: datetime,
    ) -> Endpoint:
        """Make an endpoint, active, version 1. `secret` is a checked `whsec_…`."""
        endpoint = Endpoint(
            id=id,
            tenant=owner.tenant,
            scope=owner.scope,
            session=owner.session,
            turn=owner.turn,
            spec=spec,
            secret=secret,
            old_secret=None,
            old_secret_until=None,
            status=EndpointStatus.ACTIVE,
            disabled_reason=None,
            failing_since=None,
            version=1,
            created_at=at,
            updated_at=at,
        )
        identity = {
            "id": id,
            "tenant_id": owner.tenant,
            "scope": owner.scope,
            "session_id": owner.session,
            "turn_id": owner.turn,
            "created_at": at,
        }
        connection.execute(endpoints.insert().values(**identity, **self._values(endpoint)))
        return endpoint

    def get(self, connection: Connection, tenant: TenantId, id: EndpointId) -> Endpoint | None:
        """The tenant's endpoint; None when there is none of that id, or it is somebody else's."""
        row = connection.execute(
            sa.select(endpoints).where(endpoints.c.id == id, endpoints.c.tenant_id == tenant)
        ).one_or_none()
        return self._endpoint(row) if row else None

    def page(
        self, connection: Connection, tenant: TenantId, *, url: str | None = None, cursor: str | None = None, limit: int
    ) -> tuple[list[Endpoint], str | None]:
        """Endpoints of scope tenant, newest first, with the cursor of the next page. `url` must match whole."""
        query = sa.select(endpoints).where(endpoints.c.tenant_id == tenant, endpoints.c.scope == EndpointScope.TENANT)
        if url is not None:
            query = query.where(endpoints.c.url == url)
        rows, onward = fetch_page(connection, query, endpoints, cursor=cursor, limit=limit)
        return [self._endpoint(row) for row in rows], onward

    def update(
        self, connection: Connection, old: Endpoint, spec: EndpointSpec, *, enabled: bool, at: datetime
    ) -> Endpoint:
        """Give `old` another spec, and enable or disable it; raises its version.

        Raises:
            VersionMismatch: it is no longer at the version of `old`.
        """
        status = EndpointStatus.ACTIVE if enabled else EndpointStatus.DISABLED
        new = replace(
            old,
            spec=spec,
            status=status,
            disabled_reason=None if enabled else old.disabled_reason or "by_caller",
            failing_since=old.failing_since if old.status is status else None,
        )
        return self._store(connection, old, new, at)

    def rotate_secret(self, connection: Connection, old: Endpoint, secret: str, at: datetime) -> Endpoint:
        """Sign with `secret` from now on, and beside it with the present one for 24 h.

        Raises:
            VersionMismatch: it is no longer at the version of `old`.
        """
        new = replace(old, secret=secret, old_secret=old.secret, old_secret_until=at + timedelta(seconds=ROTATION_S))
        return self._store(connection, old, new, at)

    def watching(self, connection: Connection) -> list[Endpoint]:
        """All active endpoints of scope tenant."""
        rows = connection.execute(
            sa.select(endpoints).where(
                endpoints.c.scope == EndpointScope.TENANT, endpoints.c.status == EndpointStatus.ACTIVE
            )
        )
        return [self._endpoint(row) for row in rows]

    def named(self, connection: Connection, ids: Collection[EndpointId]) -> list[Endpoint]:
        """Those of `ids` that exist, of whatever tenant."""
        if not ids:
            return []
        rows = connection.execute(sa.select(endpoints).where(endpoints.c.id.in_(list(ids))))
        return [self._endpoint(row) for row in rows]

    def _store(self, connection: Connection, old: Endpoint, new: Endpoint, at: datetime) -> Endpoint:
        stored = replace(new, version=old.version + 1, updated_at=at)
        done = connection.execute(
            endpoints.update()
            .where(endpoints.c.id == old.id, endpoints.c.version == old.version)
            .values(**self._values(stored))
        )
        if done.rowcount != 1:
            actual = connection.execute(sa.select(endpoints.c.version).where(endpoints.c.id == old.id)).scalar()
            raise VersionMismatch(actual or 0)
        return stored

    def _values(self, endpoint: Endpoint) -> dict[str, object]:
        spec = endpoint.spec
        return {
            "url": spec.url,
            "description": None if spec.description is None else storable(spec.description),
            "event_types": list(spec.event_types),
            "headers": self._sealer.seal(json.dumps(dict(spec.headers))),
            "concurrency": spec.concurrency,
            "rate_per_s": spec.rate_per_s,
            "secret": self._sealer.seal(endpoint.secret),
            "old_secret": None if endpoint.old_secret is None else self._sealer.seal(endpoint.old_secret),
            "old_secret_until": endpoint.old_secret_until,
            "status": endpoint.status,
            "disabled_reason": endpoint.disabled_reason,
            "failing_since": endpoint.failing_since,
            "version": endpoint.version,
            "updated_at": endpoint.updated_at,
        }

    def _endpoint(self, row: Row) -> Endpoint:
        return Endpoint(
            id=EndpointId(row.id),
            tenant=TenantId(row.tenant_id),
            scope=EndpointScope(row.scope),
            session=None if row.session_id is None else SessionId(row.session_id),
            turn=None if row.turn_id is None else TurnId(row.turn_id),
            spec=EndpointSpec(
                url=row.url,
                description=row.description,
                event_types=tuple(row.event_types),
                headers=json.loads(self._sealer.open(row.headers)),
                concurrency=row.concurrency,
                rate_per_s=row.rate_per_s,
            ),
            secret=self._sealer.open(row.secret),
            old_secret=None if row.old_secret is None else self._sealer.open(row.old_secret),
            old_secret_until=row.old_secret_until,
            status=EndpointStatus(row.status),
            disabled_reason=row.disabled_reason,
            failing_since=row.failing_since,
            version=row.version,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )


@dataclass(frozen=True, slots=True)
class EndpointChange:
    """That an endpoint was made or changed."""

    id: EndpointId
    scope: EndpointScope
    session: SessionId | None
    status: EndpointStatus
    updated_at: datetime


def changed(connection: Connection, since: datetime) -> list[EndpointChange]:
    """Endpoints of tenants and sessions that were made or changed since then. Opens no secrets."""
    rows = connection.execute(
        sa.select(
            endpoints.c.id, endpoints.c.scope, endpoints.c.session_id, endpoints.c.status, endpoints.c.updated_at
        ).where(endpoints.c.updated_at >= since, endpoints.c.scope != EndpointScope.TURN)
    )
    return [
        EndpointChange(
            EndpointId(row.id),
            EndpointScope(row.scope),
            None if row.session_id is None else SessionId(row.session_id),
            EndpointStatus(row.status),
            row.updated_at,
        )
        for row in rows
    ]


def remove(connection: Connection, tenant: TenantId, id: EndpointId) -> bool:
    """Remove the tenant's endpoint with its lanes, deliveries and attempts; False when there was none."""
    done = connection.execute(endpoints.delete().where(endpoints.c.id == id, endpoints.c.tenant_id == tenant))
    return done.rowcount == 1


def disable(connection: Connection, id: EndpointId, reason: str, at: datetime) -> bool:
    """Stop serving an active endpoint; False when it was not active."""
    done = connection.execute(
        endpoints.update()
        .where(endpoints.c.id == id, endpoints.c.status == EndpointStatus.ACTIVE)
        .values(status=EndpointStatus.DISABLED, disabled_reason=reason, updated_at=at, version=endpoints.c.version + 1)
    )
    return done.rowcount == 1


def set_failing(connection: Connection, id: EndpointId, since: datetime | None, at: datetime) -> None:
    """Note since when the endpoint only fails; None: it does not. The first such moment is kept."""
    query = endpoints.update().where(endpoints.c.id == id)
    known = endpoints.c.failing_since
    query = query.where(known.is_not(None) if since is None else known.is_(None))
    # updated_at tells the other delivery processes.
    connection.execute(query.values(failing_since=since, updated_at=at))


def set_done(connection: Connection, id: EndpointId, at: datetime) -> None:
    """A turn's endpoint has been told, or given up."""
    connection.execute(
        endpoints.update()
        .where(endpoints.c.id == id, endpoints.c.scope == EndpointScope.TURN)
        .values(status=EndpointStatus.DONE, updated_at=at)
    )


def concerned(connection: Connection, sessions: Iterable[SessionId]) -> Sequence[LaneKey]:
    """Active endpoints of these sessions themselves: their own webhooks, and callbacks of turns that are over."""
    return _keys(connection, endpoints.c.session_id.in_(list(sessions)))


def due_callbacks(connection: Connection) -> Sequence[LaneKey]:
    """All callbacks that wait for nothing more: for the start of a delivery process."""
    return _keys(connection, endpoints.c.scope == EndpointScope.TURN)


def _keys(connection: Connection, which: sa.ColumnElement[bool]) -> Sequence[LaneKey]:
    rows = connection.execute(
        sa.select(endpoints.c.id, endpoints.c.session_id)
        .select_from(endpoints.outerjoin(turns, turns.c.id == endpoints.c.turn_id))
        .where(
            which,
            endpoints.c.status == EndpointStatus.ACTIVE,
            sa.or_(endpoints.c.scope == EndpointScope.SESSION, turns.c.ended_at.is_not(None)),
        )
    )
    return [LaneKey(EndpointId(row.id), SessionId(row.session_id)) for row in rows]
