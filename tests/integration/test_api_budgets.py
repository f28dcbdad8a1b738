"""`/v1/budget`: set by admins, told to its tenant, and prompts are refused while it is spent."""

from __future__ import annotations

import pytest

from shared.domain.tenant import Scope
from tests.integration.test_api_usage import spend


def put(client, **body):
    return client.put("/v1/budget", json=body)


def test_prompts_are_refused_from_the_moment_the_day_is_spent(api):
    assert api.http.get("/v1/budget").json()["day_usd"] is None
    assert put(api.http, day_usd=1).json()["turn_usd"] == 0.05
    session = spend(api, 1.0)

    refused = api.http.post(f"/v1/sessions/{session}/prompts", json={"text": "more"})
    not_made = api.http.post("/v1/sessions", json={"agent": "demo", "prompt": "more"})

    assert [answer.status_code for answer in (refused, not_made)] == [409, 409]
    problem = refused.json()
    assert problem["code"] == not_made.json()["code"] == "budget_exhausted"
    now = api.http.get("/v1/budget").json()
    assert problem["details"] == {
        "scope": "tenant_day",
        "spent_usd": 1.0,
        "limit_usd": 1.0,
        "resets_at": now["resets_at"],
    }
    assert (now["spent_usd"], now["is_spent"], now["reserved_usd"]) == (1.0, True, 0.0)
    assert len(api.http.get("/v1/sessions").json()["data"]) == 1
    assert len(api.http.get(f"/v1/sessions/{session}/turns").json()["data"]) == 1
    assert api.create()["status"] == "starting"

    put(api.http, day_usd=2)
    assert api.http.post(f"/v1/sessions/{session}/prompts", json={"text": "more"}).status_code == 202
    put(api.http, day_usd=0.5, on_budget="ask")
    assert api.http.post(f"/v1/sessions/{session}/prompts", json={"text": "more"}).status_code == 202
    assert put(api.http, day_usd=None).json()["is_spent"] is False


def test_a_budget_is_its_tenants_and_only_admins_set_it(sqlite_api):
    put(sqlite_api.http, day_usd=1)
    reader, other = sqlite_api.client(Scope.READ, Scope.WRITE), sqlite_api.client(tenant="ten_other")

    assert put(reader, day_usd=2).status_code == 403
    assert reader.get("/v1/budget").json()["day_usd"] == 1.0
    assert other.get("/v1/budget").json()["day_usd"] is None


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "day_usd"),
        ({"day_usd": -1}, "day_usd"),
        ({"day_usd": 0}, "day_usd"),
        ({"day_usd": "1"}, "day_usd"),
        ({"day_usd": 1e9}, "day_usd"),
        ({"day_usd": 1, "turn_usd": 2}, "turn_usd"),
        ({"day_usd": 1, "turn_usd": -0.1}, "turn_usd"),
        ({"day_usd": 1, "on_budget": "shrug"}, "on_budget"),
        ({"day_usd": 1, "week_usd": 2}, "week_usd"),
    ],
)
def test_a_wrong_budget_is_told_by_its_field_and_changes_nothing(sqlite_api, body, field):
    refused = put(sqlite_api.http, **body)

    assert refused.status_code == 422, refused.text
    assert [error["field"] for error in refused.json()["errors"]] == [field]
    assert sqlite_api.http.get("/v1/budget").json()["day_usd"] is None


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({"on_budget": "maybe"}, "on_budget"),
        ({"limits": {"max_tokens": -1}}, "limits.max_tokens"),
        ({"limits": {"max_tokens": 0}}, "limits.max_tokens"),
        ({"limits": {"max_cost_usd": -0.5}}, "limits.max_cost_usd"),
    ],
)
def test_a_sessions_limits_are_checked_and_shown(sqlite_api, wish, field):
    refused = sqlite_api.http.post("/v1/sessions", json={"agent": "demo", **wish})

    assert refused.status_code == 422
    assert [error["field"] for error in refused.json()["errors"]] == [field]
    made = sqlite_api.create(on_budget="ask", limits={"max_tokens": 1000})
    assert (made["on_budget"], made["limits"]["max_tokens"]) == ("ask", 1000)
