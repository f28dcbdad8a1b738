"""Usage: what the caller's tenant used, summed up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.domain.errors import InvalidField
from shared.domain.tenant import Caller
from shared.domain.usage import Totals
from shared.operations.context import Context
from shared.store import usage
from shared.store.usage import Group, Grouping, UsageFilter


@dataclass(frozen=True, slots=True)
class UsagePage:
    """Groups, and what everything that was asked for comes to."""

    groups: Sequence[Group]
    next_cursor: str | None
    totals: Totals


def page(
    context: Context,
    caller: Caller,
    by: Grouping,
    wanted: UsageFilter,
    *,
    cursor: str | None = None,
    limit: int = 50,
) -> UsagePage:
    """What turns that have ended used; also those whose session retention has removed.

    Raises:
        InvalidField: the session is none of the tenant's, or the cursor none of ours.
    """
    with context.db.read() as connection:
        if wanted.session is not None and not usage.knows_session(connection, caller.tenant, wanted.session):
            raise InvalidField("session_id", "there is no such session")
        groups, onward = usage.page(connection, caller.tenant, by, wanted, cursor=cursor, limit=limit)
        return UsagePage(groups, onward, usage.total(connection, caller.tenant, wanted))
