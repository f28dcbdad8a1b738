"""Idempotency-Key: the same key and body happen once and are answered alike, on both databases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.fixtures.api import client_for

BODY = {"agent": "demo", "prompt": "hi", "webhook": {"url": "http://127.0.0.1:9/"}}


def key(name: str) -> dict[str, str]:
    return {"Idempotency-Key": name}


def test_fifty_requests_at_once_make_one_session(api):
    with client_for(api.url, api.key) as http, ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: http.post("/v1/sessions", json=BODY, headers=key("k")), range(50)))

    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == 1, "all get the same bytes"
    assert len({(answer.headers["location"], answer.headers["etag"]) for answer in answers}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1
    assert len(api.http.get("/v1/sessions").json()["data"]) == 1
    assert api.inputs(answers[0].json()["id"]) == ["prompt"]


def test_the_same_key_with_another_body_is_refused(api):
    first = api.http.post("/v1/sessions", json=BODY, headers=key("k"))
    other = api.http.post("/v1/sessions", json={**BODY, "prompt": "other"}, headers=key("k"))

    assert first.status_code == 201
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
    assert len(api.http.get("/v1/sessions").json()["data"]) == 1


def test_the_same_key_on_another_route_or_of_another_tenant_is_another_key(api):
    stranger = api.client(tenant="ten_other")
    session = api.http.post("/v1/sessions", json=BODY, headers=key("k")).json()["id"]

    prompt = api.http.post(f"/v1/sessions/{session}/prompts", json={"text": "x"}, headers=key("k"))
    theirs = stranger.post("/v1/sessions", json=BODY, headers=key("k"))

    assert prompt.status_code == 202
    assert theirs.status_code == 201
    assert theirs.json()["id"] != session


def test_a_refused_request_leaves_its_key_free(api):
    refused = api.http.post("/v1/sessions", json={"agent": "ghost"}, headers=key("k"))
    again = api.http.post("/v1/sessions", json=BODY, headers=key("k"))

    assert refused.status_code == 422
    assert again.status_code == 201
    assert "idempotent-replayed" not in again.headers


def test_a_prompt_is_sent_once_and_may_be_awaited_again(api):
    session = api.create()["id"]
    path = f"/v1/sessions/{session}/prompts"
    first = api.http.post(path, json={"text": "x"}, headers=key('"quoted"'))
    host = api.host(session)
    host.start(first.json()["id"])
    host.finish(first.json()["id"])

    again = api.http.post(path, json={"text": "x"}, headers=key("quoted"), params={"wait_s": 5})

    assert again.headers["idempotent-replayed"] == "true"
    assert again.json()["id"] == first.json()["id"]
    assert (again.status_code, again.json()["status"]) == (200, "completed")
    assert api.inputs(session) == ["start", "prompt"]


def test_no_secret_lies_open_in_what_is_kept_for_repetition(api):
    made = api.http.post("/v1/keys", json={"name": "n", "scopes": ["read"]}, headers=key("k")).json()
    with api.edge.context.db.read() as connection:
        kept = connection.exec_driver_sql("SELECT reply FROM idempotency").scalars().all()

    again = api.http.post("/v1/keys", json={"name": "n", "scopes": ["read"]}, headers=key("k")).json()

    assert len(kept) == 1
    assert made["key"] not in kept[0]
    assert again["key"] == made["key"]


@pytest.mark.parametrize("wished", ["", "x" * 256, "with space", "käse".encode()])
def test_a_key_that_is_none_is_refused(sqlite_api, wished):
    answer = sqlite_api.http.post("/v1/sessions", json=BODY, headers={"Idempotency-Key": wished})

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field")
    assert sqlite_api.http.get("/v1/sessions").json()["data"] == []
