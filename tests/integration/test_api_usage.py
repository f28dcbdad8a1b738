"""`GET /v1/usage` and the usage of a session: exact sums, the tenant's alone, and bad input told."""

from __future__ import annotations

import pytest

from shared.domain import clock
from shared.domain.turn import Ending, TurnStatus
from shared.domain.usage import CostSource, Usage
from shared.store import turns
from tests.fixtures.api import Api


def spend(api: Api, cost_usd: float | None, *, count: int = 1, **wishes):
    """A session whose turn runs and ends, at this cost."""
    made = api.create("hello", **wishes)
    host = api.host(made["id"])
    for number in range(count):
        turn = (
            made["turn"]["id"]
            if number == 0
            else api.http.post(f"/v1/sessions/{made['id']}/prompts", json={"text": "x"}).json()["id"]
        )
        host.start(turn)
        usage = Usage(10, 20, 30, 40)
        source = None if cost_usd is None else CostSource.PRICE_TABLE
        ending = Ending(TurnStatus.COMPLETED, "end_turn", usage=usage, cost_usd=cost_usd, cost_source=source)
        with api.edge.context.db.write() as connection:
            assert turns.end(connection, turn, ending, clock.now())
    return made["id"]


def test_usage_is_told_by_group_with_the_sum_of_all_pages(api):
    cheap, dear = spend(api, 0.1, count=3), spend(api, 0.7, model="m-1")
    unpriced = spend(api, None)

    first = api.http.get("/v1/usage", params={"group_by": "session", "limit": 2}).json()
    rest = api.http.get("/v1/usage", params={"group_by": "session", "cursor": first["next_cursor"]}).json()

    groups = {group["group"]: group for group in first["data"] + rest["data"]}
    assert {name: group["cost_usd"] for name, group in groups.items()} == {cheap: 0.3, dear: 0.7, unpriced: None}
    assert first["totals"] == rest["totals"]
    total = first["totals"]
    assert (total["turns"], total["cost_usd"], total["unpriced_turns"]) == (5, 1.0, 1)
    assert total["cost_by_source"] == {"agent": None, "price_table": 1.0}
    assert (total["input_tokens"], total["cache_write_tokens"], total["total_tokens"]) == (50, 200, 500)
    assert rest["next_cursor"] is None
    models = api.http.get("/v1/usage", params={"group_by": "model"}).json()["data"]
    assert [model["group"] for model in models] == ["m-1", None]
    keys = api.http.get("/v1/usage", params={"group_by": "key"}).json()["data"]
    assert [key["group"] for key in keys] == [api.http.get("/v1/me").json()["key_id"]]


def test_a_session_shows_what_it_used_alone_and_in_the_list(api):
    session, quiet = spend(api, 0.1, count=3), api.create()["id"]

    shown = api.http.get(f"/v1/sessions/{session}").json()
    listed = {one["id"]: one for one in api.http.get("/v1/sessions").json()["data"]}

    assert (shown["cost_usd"], shown["usage"]["cost_usd"], shown["usage"]["turns"]) == (0.3, 0.3, 3)
    assert listed[session]["usage"] == shown["usage"]
    assert (listed[quiet]["usage"]["turns"], listed[quiet]["usage"]["cost_usd"]) == (0, None)
    turn = api.http.get(f"/v1/sessions/{session}/turns").json()["data"][0]
    assert (turn["cost_usd"], turn["cost_source"]) == (0.1, "price_table")


def test_days_bound_what_counts(sqlite_api):
    spend(sqlite_api, 0.1)
    today = sqlite_api.http.get("/v1/usage").json()["data"][0]["group"]

    assert sqlite_api.http.get("/v1/usage", params={"from": today, "to": today}).json()["totals"]["turns"] == 1
    assert sqlite_api.http.get("/v1/usage", params={"to": "2020-01-01"}).json()["data"] == []
    assert sqlite_api.http.get("/v1/usage", params={"agent": "claude"}).json()["totals"]["turns"] == 0


def test_another_tenant_sees_nothing_of_it(sqlite_api):
    session = spend(sqlite_api, 0.1)
    other = sqlite_api.client(tenant="ten_other")

    assert other.get("/v1/usage").json()["data"] == []
    refused = other.get("/v1/usage", params={"session_id": session})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "session_id")
    assert sqlite_api.http.get("/v1/usage", params={"session_id": session}).json()["totals"]["turns"] == 1


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"group_by": "colour"}, "group_by"),
        ({"from": "2026-02-01", "to": "2026-01-31"}, "from"),
        ({"from": "yesterday"}, "from"),
        ({"to": "20260131"}, "to"),
        ({"to": "2026-02-30"}, "to"),
        ({"session_id": "ses_nobodys"}, "session_id"),
        ({"limit": "-1"}, "limit"),
        ({"limit": "0"}, "limit"),
        ({"cursor": "%%%"}, "cursor"),
        ({"cursor": "bm9uZQ"}, "cursor"),
        ({"since": "2026-01-01"}, "since"),
    ],
)
def test_bad_questions_are_told_by_their_field(sqlite_api, query, field):
    refused = sqlite_api.http.get("/v1/usage", params=query)

    assert refused.status_code == 422, refused.text
    assert [error["field"] for error in refused.json()["errors"]] == [field]
