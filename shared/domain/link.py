"""A link: lets whoever holds it answer one ask, once, without a key."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from shared.domain.ids import AskId, KeyId, TenantId

LASTS: Final = timedelta(hours=24)
"""How long a link may be used where neither its maker nor its ask says less."""


@dataclass(frozen=True, slots=True)
class Link:
    """One link as stored; its secret is kept nowhere."""

    ask: AskId
    tenant: TenantId
    key: KeyId
    """The key it was made with."""
    name: str
    """Told as `answered_by`."""
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None


def end_of(at: datetime, wished_s: float | None, ask_ends_at: datetime | None) -> datetime:
    """Until when a link made at `at` may be used: never longer than its ask waits."""
    last = at + LASTS if ask_ends_at is None else ask_ends_at
    if wished_s is None:
        return last
    wished = at + timedelta(seconds=wished_s)
    return wished if ask_ends_at is None else min(wished, ask_ends_at)
