"""`/v1/agents`: versions, accounts and models as workers and operator say; where programs lie is for admins."""

from __future__ import annotations

import pytest

from shared.domain.tenant import Scope
from tests.fixtures.api import api_running, register_worker

CLAUDE = {"ready": True, "version": "9.9.9 (Claude Code)", "problem": None, "path": "/opt/claude", "logged_in": False}


@pytest.fixture
def bounded(sqlite_url, valkey_url):
    with api_running(sqlite_url, valkey_url, CORRAL_CLAUDE_MODELS="sonnet, claude-haiku-*") as running:
        register_worker(running.edge, agents={"claude": CLAUDE, "demo": {"ready": True}})
        yield running


def test_an_agent_tells_version_account_and_models_and_where_it_is_to_admins_alone(bounded):
    shown = bounded.http.get("/v1/agents/claude").json()
    reader = bounded.client(Scope.READ).get("/v1/agents/claude")

    assert (shown["version"], shown["is_tested"], shown["logged_in"]) == ("9.9.9 (Claude Code)", False, False)
    assert (shown["models"], shown["models_bounded"]) == (["sonnet", "claude-haiku-*"], True)
    assert shown["found"] == [{"worker": "a", **CLAUDE}]
    assert reader.json()["found"] is None
    assert "/opt" not in reader.text
    demo = bounded.http.get("/v1/agents/demo").json()
    assert (demo["version"], demo["is_tested"], demo["logged_in"], demo["models_bounded"]) == (None, None, None, False)


@pytest.mark.parametrize(
    ("model", "status"), [("sonnet", 201), ("claude-haiku-5", 201), (None, 201), ("opus", 422), ("Sonnet", 422)]
)
def test_a_model_the_operator_does_not_allow_is_refused(bounded, model, status):
    answer = bounded.http.post("/v1/sessions", json={"agent": "claude", "model": model})

    assert answer.status_code == status, answer.text
    if status == 422:
        assert answer.json()["code"] == "model_not_allowed"
        assert answer.json()["details"]["allowed"] == "sonnet, claude-haiku-*"
        assert bounded.http.get("/v1/sessions").json()["data"] == []


def test_a_fork_cannot_go_on_with_such_a_model(bounded):
    session = bounded.create(agent="claude", model="sonnet")["id"]

    refused = bounded.http.post(f"/v1/sessions/{session}/fork", json={"model": "opus"})
    made = bounded.http.post(f"/v1/sessions/{session}/fork", json={"model": "claude-haiku-5"})

    assert (refused.status_code, refused.json()["code"]) == (422, "model_not_allowed")
    assert (made.status_code, made.json()["model"]) == (201, "claude-haiku-5")
    assert len(bounded.http.get("/v1/sessions").json()["data"]) == 2


def test_a_session_cannot_be_moved_to_such_a_model_and_a_batch_item_is_named(bounded):
    session = bounded.create(agent="claude", model="sonnet")["id"]

    moved = bounded.http.patch(f"/v1/sessions/{session}", json={"model": "opus"})
    item = {"kind": "session", "agent": "claude", "model": "opus", "prompt": "x"}
    batch = bounded.http.post("/v1/batches", json={"items": [item]})

    assert (moved.status_code, moved.json()["code"]) == (422, "model_not_allowed")
    assert bounded.http.get(f"/v1/sessions/{session}").json()["model"] == "sonnet"
    assert batch.status_code == 422
    assert batch.json()["errors"][0]["field"] == "items[0].model"
    assert bounded.http.patch(f"/v1/sessions/{session}", json={"model": None}).status_code == 200
