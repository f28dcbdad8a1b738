"""Hooks over HTTP: what an agent that Corral does not host reports becomes its session's log, once."""

from __future__ import annotations

import json
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.domain.ids import SessionId
from shared.store import ownership
from shared.store.external_tables import metadata
from tests.fixtures.api import Api, register_worker
from tests.fixtures.reporting import Outsider, outsider

WHOLE_TURN = [
    "session_started",
    "turn_queued",
    "turn_started",
    "tool_call",
    "tool_result",
    "message",
    "turn_ended",
    "session_idle",
]


@pytest.fixture
def agent(api: Api) -> Outsider:
    return outsider(api)


@pytest.fixture
def sqlite_agent(sqlite_api: Api) -> Outsider:
    return outsider(sqlite_api)


def whole_turn(agent: Outsider, text: str = "make it") -> None:
    agent.prompt(text)
    agent.call("t1", command="make")
    agent.result("t1", {"stdout": "ok", "stderr": ""}, command="make")
    agent.stop("It is made.")


def test_a_turn_arrives_in_order_as_events_of_a_session_like_any_other(agent):
    assert agent.seen()["status"] == "starting"

    whole_turn(agent)

    assert agent.kinds() == WHOLE_TURN
    (ended,) = agent.data("turn_ended")
    assert (ended["status"], ended["stop_reason"], ended["result_text"]) == ("completed", "end_turn", "It is made.")
    seen = agent.seen()
    assert (seen["external"], seen["status"], seen["turns_started"]) == (True, "idle", 1)
    assert seen["agent_session_id"] == agent.conversation
    http = agent.api.http
    (turn,) = http.get(f"/v1/sessions/{agent.session}/turns").json()["data"]
    assert (turn["status"], turn["text"], turn["source"]) == ("completed", "make it", "hook")
    said = [
        (one["direction"], one["text"]) for one in http.get(f"/v1/sessions/{agent.session}/messages").json()["data"]
    ]
    assert said == [("in", "make it"), ("out", "It is made.")]
    (tool,) = http.get(f"/v1/sessions/{agent.session}/tools").json()["data"]
    assert (tool["name"], tool["status"], tool["result"], tool["duration_s"]) == ("Bash", "completed", "ok", 0.05)
    assert agent.session in [one["id"] for one in http.get("/v1/sessions").json()["data"]]


def test_the_same_report_again_changes_nothing_and_is_answered_the_same(agent):
    whole_turn(agent)
    before = agent.events()
    bodies = [("PostToolUse", {"tool_name": "Bash", "tool_use_id": "t2", "tool_input": {}, "tool_response": "x"})]
    first = [agent.tell(event, **fields) for event, fields in bodies]

    again = [agent.tell(event, **fields) for event, fields in bodies]
    agent.tell("UserPromptSubmit", prompt="make it")
    agent.stop("It is made.")

    assert [answer.json() for answer in again] == [answer.json() for answer in first]
    assert again[0].headers["Idempotent-Replayed"] == "true"
    assert again[0].headers["Corral-Report"] == first[0].headers["Corral-Report"]
    assert agent.kinds() == [event["type"] for event in before] + ["tool_call", "tool_result"]


def test_of_reports_sent_at_once_each_is_taken_once(agent):
    agent.prompt("go")
    calls = [{"tool_name": "Bash", "tool_use_id": f"t{n // 2}", "tool_input": {}} for n in range(12)]

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda fields: agent.tell("PreToolUse", **fields), calls))

    assert sorted(data["tool_call_id"] for data in agent.data("tool_call")) == [f"t{n}" for n in range(6)]
    assert sum("Idempotent-Replayed" in answer.headers for answer in answers) == 6


def test_conversations_begun_at_once_become_one_session_each(agent):
    conversations = [str(uuid.uuid4()) for _ in range(3)]
    others = [outsider_of(agent, conversation) for conversation in conversations for _ in range(3)]

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda one: one[1].tell("Notification", message=f"n{one[0]}"), enumerate(others)))

    sessions = {
        (other.conversation, answer.headers["Corral-Session"]) for other, answer in zip(others, answers, strict=True)
    }
    assert len(sessions) == 3
    assert agent.session in {session for _, session in sessions}


def outsider_of(agent: Outsider, conversation: str) -> Outsider:
    return Outsider(agent.api, agent.session, agent.token, agent.http, conversation)


def test_a_report_with_a_name_of_its_own_is_taken_once_by_that_name(sqlite_agent):
    sqlite_agent.tell("Notification", message="a", key="k-1")
    sqlite_agent.tell("Notification", message="b", event_id="k-2")

    same = sqlite_agent.tell("Notification", message="a", key="k-1")
    other = sqlite_agent.post("Notification", message="c", event_id="k-2")

    assert same.headers["Idempotent-Replayed"] == "true"
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
    assert [data["message"] for data in sqlite_agent.data("notice")] == ["a", "b"]


def test_an_event_nobody_knows_is_kept_as_a_notice(sqlite_agent):
    sqlite_agent.tell("TeammateIdle", teammate="Ann")

    assert sqlite_agent.data("notice") == [{"kind": "hook", "event": "TeammateIdle", "fields": {"teammate": "Ann"}}]


def test_a_failed_tool_one_without_a_call_and_one_without_a_result_have_their_pair_in_the_log(sqlite_agent):
    sqlite_agent.prompt("go")
    sqlite_agent.call("denied")
    fields = {"tool_name": "Bash", "tool_use_id": "failed", "tool_input": {}, "error": "exit 1", "duration_ms": 3}
    sqlite_agent.tell("PostToolUseFailure", **fields)
    sqlite_agent.stop()

    results = {data["tool_call_id"]: data["is_error"] for data in sqlite_agent.data("tool_result")}
    assert results == {"failed": True, "denied": True}
    assert [data["tool_call_id"] for data in sqlite_agent.data("tool_call")] == ["denied", "failed"]


def test_a_prompt_while_a_turn_runs_ends_that_one(sqlite_agent):
    sqlite_agent.prompt("first")
    sqlite_agent.prompt("second")

    begun = ["turn_queued", "turn_started"]
    assert sqlite_agent.kinds() == ["session_started", *begun, "turn_ended", *begun]
    assert [data["stop_reason"] for data in sqlite_agent.data("turn_ended")] == ["superseded"]
    assert sqlite_agent.seen()["status"] == "running"


def test_a_turn_the_model_failed_has_failed(sqlite_agent):
    sqlite_agent.prompt("go")
    sqlite_agent.tell("StopFailure", error="rate_limit", error_details="try later")

    (ended,) = sqlite_agent.data("turn_ended")
    assert (ended["status"], ended["error"]) == ("failed", "rate_limit: try later")


def test_nine_mebibytes_of_result_come_back_whole(api):
    agent = outsider(api)
    agent.prompt("go")
    output = "0123456789abcdef " * (9 * 1024 * 1024 // 17)

    agent.result("big", output, command="cat")

    (result,) = agent.data("tool_result")
    link = result["truncated"]["output"]
    assert link["size"] == len(output)
    assert agent.api.http.get(link["url"]).text == output


def test_a_body_above_the_limit_is_refused(sqlite_agent):
    answer = sqlite_agent.post("Stop", last_assistant_message="x" * (10 * 1024 * 1024))

    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


def test_without_a_hook_token_the_limit_is_that_of_every_route(sqlite_api):
    answer = sqlite_api.http.post("/v1/hooks/claude/Stop", json={"last_assistant_message": "x" * (2 * 1024 * 1024)})

    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("content", "status"),
    [(b"{", 400), (b"[1]", 422), (b'"x"', 422), (b'{"a": NaN}', 400), (b'{"event_id": "with space"}', 422)],
)
def test_what_is_no_report_is_a_problem_and_changes_nothing(sqlite_agent, content, status):
    answer = sqlite_agent.http.post(
        "/v1/hooks/claude/Stop", content=content, headers={"Content-Type": "application/json"}
    )

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert sqlite_agent.kinds() == []


def test_a_body_nested_without_end_is_refused(sqlite_agent):
    answer = sqlite_agent.http.post(
        "/v1/hooks/claude/Stop",
        content=b'{"a":' + b"[" * 500 + b"]" * 500 + b"}",
        headers={"Content-Type": "application/json"},
    )

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field")


@pytest.mark.parametrize("path", ["/v1/hooks/nobody/Stop", "/v1/hooks/demo/Stop"])
def test_an_agent_that_does_not_report_is_not_found(sqlite_agent, path):
    assert sqlite_agent.http.post(path, json={}).status_code == 404


@pytest.mark.parametrize("name", ["a b", "x" * 65, "-"])
def test_a_strange_event_name_is_refused(sqlite_agent, name):
    assert sqlite_agent.http.post(f"/v1/hooks/claude/{name}", json={}).status_code == 422


# --- who may report


def test_only_its_own_token_reports(sqlite_api):
    agent = outsider(sqlite_api)
    mistyped = agent.token[:-1] + ("a" if agent.token[-1] != "a" else "b")

    for secret in (sqlite_api.key, mistyped, "crh_short", "nonsense"):
        answer = sqlite_api.http.post("/v1/hooks/claude/Stop", json={}, headers={"Authorization": f"Bearer {secret}"})
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")

    assert agent.kinds() == []


def test_a_hook_token_opens_nothing_else(sqlite_agent):
    assert sqlite_agent.http.get("/v1/sessions").status_code == 401
    assert sqlite_agent.http.post(f"/v1/sessions/{sqlite_agent.session}/terminate").status_code == 401
    assert sqlite_agent.http.post("/v1/external-sessions", json={}).status_code == 401


def test_the_token_is_in_no_row_of_the_database(api):
    agent = outsider(api)
    whole_turn(agent)
    with api.edge.context.db.read() as connection:
        rows = [str(tuple(row)) for table in metadata.sorted_tables for row in connection.execute(table.select())]

    assert [row for row in rows if agent.token in row or agent.token[4:] in row] == []


def test_terminating_the_session_withdraws_the_token(agent):
    agent.prompt("go")

    answer = agent.api.http.post(f"/v1/sessions/{agent.session}/terminate")

    assert (answer.status_code, answer.json()["status"]) == (202, "ended")
    assert [data["status"] for data in agent.data("turn_ended")] == ["cancelled"]
    assert agent.kinds()[-1] == "session_ended"
    assert agent.post("Stop").status_code == 401


def test_also_after_the_agent_has_left(sqlite_agent):
    sqlite_agent.tell("SessionEnd", reason="other")

    sqlite_agent.api.http.post(f"/v1/sessions/{sqlite_agent.session}/terminate")

    assert sqlite_agent.post("SessionStart", source="resume").status_code == 401


# --- secrets


def test_secrets_are_masked_before_anything_is_stored(api):
    agent = outsider(api)
    secret = "ghp_" + "0123456789abcdef" * 2
    agent.prompt(f"use {secret}")
    agent.call("t1", command=f"curl -H 'Authorization: Bearer {secret}'")
    agent.result("t1", {"stdout": f"GITHUB_TOKEN={secret}\n" * 3000, "stderr": ""}, command="env")
    agent.stop(f"Used {secret}.")

    text = json.dumps(agent.events())
    blob = agent.data("tool_result")[0]["truncated"]["output"]["url"]
    turns = api.http.get(f"/v1/sessions/{agent.session}/turns").text

    assert secret not in text + turns + api.http.get(blob).text
    assert "use [masked:github]" in text


# --- what an external session does not take


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/prompts", {"text": "hi"}),
        ("POST", "/prompts", {"text": "hi", "when_busy": "interrupt"}),
        ("POST", "/cancel", None),
        ("PATCH", "", {"mode": "plan"}),
        ("PATCH", "", {"model": "m"}),
        ("PATCH", "", {"limits": {"turn_s": 5}}),
    ],
)
def test_nothing_can_be_asked_of_its_agent(sqlite_agent, method, path, body):
    sqlite_agent.prompt("go")

    answer = sqlite_agent.api.http.request(method, f"/v1/sessions/{sqlite_agent.session}{path}", json=body)

    assert (answer.status_code, answer.json()["code"]) == (409, "external_session")
    assert sqlite_agent.kinds() == ["session_started", "turn_queued", "turn_started"]


def test_its_running_turn_cannot_be_cancelled(sqlite_agent):
    sqlite_agent.prompt("go")
    (turn,) = sqlite_agent.api.http.get(f"/v1/sessions/{sqlite_agent.session}/turns").json()["data"]

    answer = sqlite_agent.api.http.post(f"/v1/turns/{turn['id']}/cancel")

    assert (answer.status_code, answer.json()["code"]) == (409, "external_session")


def test_its_title_and_metadata_can_be_changed(sqlite_agent):
    answer = sqlite_agent.api.http.patch(
        f"/v1/sessions/{sqlite_agent.session}", json={"title": "mine", "metadata": {"a": "b"}}
    )

    assert (answer.status_code, answer.json()["title"]) == (200, "mine")


def test_no_worker_ever_claims_it(agent):
    agent.prompt("go")
    worker = register_worker(agent.api.edge)
    with agent.api.edge.context.db.write() as connection:
        claimed = ownership.claim(connection, worker, "vol", session=SessionId(agent.session))

    assert claimed is None
