"""API keys of the caller's tenant: make, list, revoke."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime

from shared.domain.errors import NotFound
from shared.domain.ids import KeyId
from shared.domain.tenant import ApiKey, Caller, Scope
from shared.operations.context import Context
from shared.operations.transaction import Act, Once, carry_out
from shared.store import keys


@dataclass(frozen=True, slots=True)
class NewKey:
    """What a caller wants. `expires_at` None: never."""

    name: str
    scopes: Collection[Scope]
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class MadeKey:
    """A key and its secret, which is shown this once."""

    key: ApiKey
    secret: str = field(repr=False)


def create(context: Context, caller: Caller, new: NewKey, *, once: Once[MadeKey] | None = None) -> MadeKey:
    """Make a key of the caller's tenant."""

    def effect(act: Act) -> MadeKey:
        key, secret = keys.create(
            act.connection,
            tenant=caller.tenant,
            name=new.name,
            scopes=new.scopes,
            expires_at=new.expires_at,
            sealer=context.sealer,
            at=act.at,
        )
        return MadeKey(key, secret)

    return carry_out(context, caller, once, effect)


def page(
    context: Context, caller: Caller, *, cursor: str | None = None, limit: int = 50
) -> tuple[list[ApiKey], str | None]:
    """Keys of the tenant, revoked ones too, newest first, and the cursor of the next page.

    Raises:
        InvalidField: the cursor is none of ours.
    """
    with context.db.read() as connection:
        return keys.page(connection, caller.tenant, cursor=cursor, limit=limit)


def revoke(context: Context, caller: Caller, key: KeyId) -> None:
    """End a key for good; other API processes may take it for two more seconds. Safe to repeat.

    Raises:
        NotFound: missing, or another tenant's.
    """

    def effect(act: Act) -> None:
        if not keys.revoke(act.connection, caller.tenant, key, act.at):
            raise NotFound("key", key)

    carry_out(context, caller, None, effect)
