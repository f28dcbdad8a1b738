"""What turns used: tokens, cost, time."""

from __future__ import annotations

from api.routes import Call, Reply, Route, Routes, Shown, tell
from api.schemas.usage import UsagePage, UsageQuery, totals_of
from shared.domain.ids import SessionId
from shared.domain.tenant import Scope
from shared.operations import usage
from shared.store.usage import Grouping, UsageFilter

routes = Routes("usage", "What turns used: tokens, cost, time.")


@routes.add(
    Route(
        "GET",
        "/v1/usage",
        replies={200: Shown(UsagePage, "Groups, the last name first, and the sum of all.")},
        scope=Scope.READ,
        query=UsageQuery,
    )
)
def get_usage(call: Call) -> Reply:
    """Tokens, cost and time of your turns that have ended, by day, session, key, agent or model.

    Kept also after retention has removed the sessions.
    """
    query = call.query
    session = None if query["session_id"] is None else SessionId(query["session_id"])
    wanted = UsageFilter(query["first_day"], query["last_day"], session, query["agent"])
    found = usage.page(
        call.context, call.caller, Grouping(query["group_by"]), wanted, cursor=query["cursor"], limit=query["limit"]
    )
    data = [{"group": group.name or None, **totals_of(group.totals)} for group in found.groups]
    return tell(UsagePage, {"data": data, "next_cursor": found.next_cursor, "totals": totals_of(found.totals)})
