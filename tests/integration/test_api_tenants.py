"""Tenants and scopes: every route of the OpenAPI document, with foreign ids and with keys that lack the scope."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shared.domain.event import Draft, EventType
from shared.domain.tenant import Scope
from tests.fixtures.api import Api

DOCUMENT: dict[str, Any] = json.loads((Path(__file__).parents[2] / "docs/openapi.json").read_text(encoding="utf-8"))
ROUTES = [
    (method, path, operation)
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
    if "x-scope" in operation
]
WITH_ID = [(method, path) for method, path, _ in ROUTES if "_id}" in path]
BODIES: dict[str, Any] = {
    "/v1/sessions": {"agent": "demo"},
    "/v1/sessions/{session_id}/prompts": {"text": "x"},
    "/v1/sessions/{session_id}/commands": {"name": "compact"},
    "/v1/asks/{ask_id}/answer": {"decision": "allow"},
    "/v1/turns/{turn_id}": {"text": "x"},
    "/v1/batches": {"items": [{"kind": "terminate", "session_id": "ses_x"}]},
    "/v1/webhooks": {"url": "http://127.0.0.1:9/"},
    "/v1/webhooks/{webhook_id}/replay": {"dead_only": True},
    "/v1/keys": {"name": "n", "scopes": ["read"]},
}
MISSING = {
    "session_id": "ses_missing",
    "turn_id": "trn_missing",
    "ask_id": "ask_missing",
    "webhook_id": "whk_missing",
    "delivery_id": "dlv_missing",
    "key_id": "key_missing",
    "blob_id": "blb_missing",
    "batch_id": "bat_missing",
    "path": "a.txt",
    "name": "demo",
}


@pytest.fixture
def theirs(sqlite_api: Api) -> dict[str, str]:
    """One of everything, of the default tenant."""
    made = sqlite_api.create("hi")
    host = sqlite_api.host(made["id"])
    host.tell(Draft(EventType.MESSAGE, {"text": "x" * 100_000, "message_id": "m"}))
    events = sqlite_api.http.get(f"/v1/sessions/{made['id']}/events", params={"types": "message"}).json()
    webhook = sqlite_api.http.post("/v1/webhooks", json={"url": "http://127.0.0.1:9/"}).json()
    batch = sqlite_api.http.post("/v1/batches", json=BODIES["/v1/batches"]).json()
    delivery = sqlite_api.http.post(f"/v1/webhooks/{webhook['id']}/test").json()
    return {
        "session_id": made["id"],
        "turn_id": made["turn"]["id"],
        "ask_id": host.ask().id,
        "webhook_id": webhook["id"],
        "delivery_id": delivery["id"],
        "key_id": sqlite_api.http.get("/v1/me").json()["key_id"],
        "blob_id": events["data"][0]["data"]["truncated"]["text"]["blob_id"],
        "batch_id": batch["id"],
        "path": "a.txt",
        "name": "demo",
    }


def ask(http: Any, method: str, path: str, ids: dict[str, str], **more: Any) -> Any:
    body = BODIES.get(path, {}) if method in {"post", "patch"} else None
    return http.request(method.upper(), path.format(**ids), json=body, **more)


def test_another_tenants_ids_are_not_there_on_any_route(sqlite_api, theirs):
    stranger = sqlite_api.client(tenant="ten_stranger")
    before = sqlite_api.inputs(theirs["session_id"])

    answers = {f"{method} {path}": ask(stranger, method, path, theirs) for method, path in WITH_ID}
    missing = {f"{method} {path}": ask(stranger, method, path, MISSING) for method, path in WITH_ID}

    assert {route: answer.status_code for route, answer in answers.items()} == dict.fromkeys(answers, 404)
    for route, answer in answers.items():
        # A foreign thing and a missing one look alike but for the id the caller wrote itself.
        assert answer.json()["code"] == missing[route].json()["code"] == "not_found", route
    assert sqlite_api.inputs(theirs["session_id"]) == before
    assert sqlite_api.http.get("/v1/me").status_code == 200, "the key was not revoked by a stranger"


def test_another_tenants_stream_is_not_there(sqlite_api, theirs):
    stranger = sqlite_api.client(tenant="ten_stranger")

    answer = stranger.get(f"/v1/sessions/{theirs['session_id']}/events", headers={"Accept": "text/event-stream"})

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_lists_hold_nothing_of_another_tenant(sqlite_api, theirs):
    stranger = sqlite_api.client(tenant="ten_stranger")

    lists = [path for method, path, _ in ROUTES if method == "get" and "{" not in path]
    found = {path: stranger.get(path).text for path in lists}

    assert {"/v1/sessions", "/v1/asks", "/v1/events", "/v1/webhooks", "/v1/keys"} <= set(lists)
    for path, text in found.items():
        assert not [one for name, one in theirs.items() if name.endswith("_id") and one in text], path


def test_every_route_asks_for_the_scope_it_documents(sqlite_api, theirs):
    clients = {scope: sqlite_api.client(scope) for scope in Scope}
    lacking = {Scope.READ: {"write", "admin"}, Scope.WRITE: {"read", "admin"}, Scope.ADMIN: set()}

    refused = [
        (scope.value, method, path, answer.status_code)
        for scope, http in clients.items()
        for method, path, operation in ROUTES
        if operation["x-scope"] in lacking[scope] and (answer := ask(http, method, path, theirs)).status_code != 403
    ]
    admitted = [
        (method, path)
        for method, path, operation in ROUTES
        if operation["x-scope"] == "read" and ask(clients[Scope.READ], method, path, MISSING).status_code in {401, 403}
    ]

    assert refused == []
    assert admitted == []


def test_every_route_asks_for_a_key(sqlite_api):
    open_to_all = [
        (method, path)
        for method, path, _ in ROUTES
        if ask(sqlite_api.http, method, path, MISSING, headers={"Authorization": "none"}).status_code != 401
    ]

    assert open_to_all == []


def test_a_revoked_key_is_refused_at_once_where_it_was_revoked(sqlite_api):
    made = sqlite_api.http.post("/v1/keys", json={"name": "n", "scopes": ["read"]}).json()
    headers = {"Authorization": f"Bearer {made['key']}"}
    assert sqlite_api.http.get("/v1/me", headers=headers).status_code == 200

    revoked = sqlite_api.http.delete(f"/v1/keys/{made['id']}")

    assert revoked.status_code == 204
    assert sqlite_api.http.get("/v1/me", headers=headers).status_code == 401
    listed = {one["id"]: one for one in sqlite_api.http.get("/v1/keys").json()["data"]}
    assert listed[made["id"]]["revoked_at"] is not None
