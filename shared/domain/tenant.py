"""Tenants and API keys: who is asking, and for whom."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from shared.domain.ids import KeyId, TenantId


class Scope(StrEnum):
    """What a key may do. `admin` holds the others and manages keys, workers and tenants."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is behind a request: every query takes its tenant from here, never from the request."""

    tenant: TenantId
    key: KeyId
    name: str
    scopes: frozenset[Scope]

    def may(self, scope: Scope) -> bool:
        """Whether this caller holds `scope`; admin holds all."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One stored key. The secret itself is shown once, when the key is made, and never kept."""

    id: KeyId
    tenant: TenantId
    name: str
    scopes: frozenset[Scope]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class Tenant:
    """A customer of this installation: owns keys, sessions and endpoints; sees nobody else's."""

    id: TenantId
    name: str
    created_at: datetime
