"""Sessions over HTTP: created, listed, changed and ended, on both databases."""

from __future__ import annotations

from tests.fixtures.api import Api, register_worker


def types_of(api: Api, session: str) -> list[str]:
    return [event["type"] for event in api.http.get(f"/v1/sessions/{session}/events").json()["data"]]


def test_a_session_with_a_prompt_is_one_fact_and_waits_for_a_worker(api):
    made = api.create("hello", title="first", metadata={"team": "red"})

    assert made["status"] == "starting"
    assert made["turn"]["status"] == "queued"
    assert made["queue_position"] == 0
    assert api.inputs(made["id"]) == ["prompt"]
    events = api.http.get(f"/v1/sessions/{made['id']}/events").json()["data"]
    assert [event["type"] for event in events] == ["turn_queued"]
    assert events[0]["data"] == {"text": "hello", "source": "api"}
    assert events[0]["turn_id"] == made["turn"]["id"]
    assert events[0]["id"] == f"evt_{made['id'].removeprefix('ses_')}_1"


def test_a_session_without_a_prompt_asks_for_its_agent_to_be_brought_up(api):
    made = api.create()

    assert made["turn"] is None
    assert api.inputs(made["id"]) == ["start"]
    assert types_of(api, made["id"]) == []


def test_sessions_that_wait_are_told_how_many_wait_before_them(api):
    first, second = api.create(), api.create()

    assert first["queue_position"] == 0
    assert second["queue_position"] == 1


def test_secrets_of_a_session_are_never_shown(api):
    made = api.create(env={"TOKEN": "s3cret-value"}, mcp_servers={"x": {"headers": {"a": "s3cret-value"}}})

    shown = api.http.get(f"/v1/sessions/{made['id']}").text + api.http.get("/v1/sessions").text

    assert "s3cret-value" not in shown


def test_the_webhook_of_a_session_is_made_with_it_and_its_secret_told_once(api):
    made = api.create("hi", webhook={"url": "http://127.0.0.1:9/hook", "events": ["turn_*"]})

    assert made["webhook"]["secret"].startswith("whsec_")
    found = api.http.get(f"/v1/webhooks/{made['webhook']['id']}").json()
    assert found["session_id"] == made["id"]
    assert found["events"] == ["turn_*"]
    assert "secret" not in found


def test_a_list_of_sessions_is_paged_newest_first_and_filtered(api):
    made = [api.create(title=f"t{number}", metadata={"n": str(number % 2)})["id"] for number in range(5)]

    first = api.http.get("/v1/sessions", params={"limit": 3}).json()
    rest = api.http.get("/v1/sessions", params={"limit": 3, "cursor": first["next_cursor"]}).json()
    odd = api.http.get("/v1/sessions", params={"metadata.n": "1"}).json()["data"]
    named = api.http.get("/v1/sessions", params={"title": "t4", "status": "starting,idle", "agent": "demo"}).json()

    assert [one["id"] for one in first["data"] + rest["data"]] == made[::-1]
    assert rest["next_cursor"] is None
    assert {one["id"] for one in odd} == {made[1], made[3]}
    assert [one["id"] for one in named["data"]] == [made[4]]


def test_a_change_names_the_version_it_was_made_for(api):
    made = api.create("hi")
    path = f"/v1/sessions/{made['id']}"

    changed = api.http.patch(path, json={"title": "new", "mode": "plan"}, headers={"If-Match": f'"{made["version"]}"'})
    stale = api.http.patch(path, json={"title": "newer"}, headers={"If-Match": f'"{made["version"]}"'})

    assert changed.status_code == 200
    assert changed.json()["title"] == "new"
    assert changed.headers["etag"] == f'"{changed.json()["version"]}"'
    assert stale.status_code == 409
    assert stale.json()["code"] == "version_mismatch"
    assert stale.json()["details"] == {"actual": changed.json()["version"]}
    assert api.http.get(path).json()["title"] == "new"


def test_mode_model_and_limits_become_inputs_in_the_order_of_the_calls(api):
    session = api.create("hi")["id"]
    path = f"/v1/sessions/{session}"

    for body in ({"mode": "plan"}, {"model": "m"}, {"limits": {"turn_s": 5}}, {"title": "no input"}):
        assert api.http.patch(path, json=body).status_code == 200

    assert api.inputs(session) == ["prompt", "mode", "model", "limits"]
    shown = api.http.get(path).json()
    assert shown["limits"]["turn_s"] == 5
    assert shown["limits"]["idle_s"] == 1800, "a bound that was not named stays"


def test_a_session_nobody_hosts_ends_at_once_and_its_open_turns_first(api):
    made = api.create("hi")

    ended = api.http.post(f"/v1/sessions/{made['id']}/terminate")

    assert ended.status_code == 202
    assert ended.json()["status"] == "ended"
    assert ended.json()["end_reason"] == "terminated"
    assert types_of(api, made["id"]) == ["turn_queued", "turn_ended", "session_ended"]
    assert api.http.get(f"/v1/turns/{made['turn']['id']}").json()["status"] == "cancelled"


def test_terminating_is_safe_to_repeat(api):
    session = api.create("hi")["id"]

    answers = [api.http.post(f"/v1/sessions/{session}/terminate") for _ in range(2)]

    assert [answer.status_code for answer in answers] == [202, 202]
    assert types_of(api, session).count("session_ended") == 1


def test_a_hosted_session_is_ended_by_its_host(api):
    session = api.create("hi")["id"]
    api.host(session)

    answer = api.http.post(f"/v1/sessions/{session}/terminate")
    removed = api.http.delete(f"/v1/sessions/{session}")

    assert answer.json()["status"] != "ended"
    assert removed.status_code == 202
    assert api.inputs(session) == ["prompt", "stop", "stop"]


def test_an_ended_session_takes_nothing_more(api):
    session = api.create("hi")["id"]
    api.http.post(f"/v1/sessions/{session}/terminate")

    prompt = api.http.post(f"/v1/sessions/{session}/prompts", json={"text": "more"})
    mode = api.http.patch(f"/v1/sessions/{session}", json={"mode": "plan"})
    title = api.http.patch(f"/v1/sessions/{session}", json={"title": "still mine"})

    assert (prompt.status_code, prompt.json()["code"]) == (409, "session_ended")
    assert (mode.status_code, mode.json()["code"]) == (409, "session_ended")
    assert title.status_code == 200


def test_agents_are_ready_where_a_live_worker_has_their_program(api):
    before = {one["name"]: one for one in api.http.get("/v1/agents").json()["data"]}
    register_worker(api.edge, "a")
    after = {one["name"]: one for one in api.http.get("/v1/agents").json()["data"]}

    assert before["demo"]["ready"] is False
    found = after["demo"].pop("found")
    assert [(one["worker"], one["ready"], one["path"]) for one in found] == [("a", True, None)]
    assert after["demo"] | {"abilities": {}, "modes": [], "commands": []} == {
        "name": "demo",
        "ready": True,
        "workers": ["a"],
        "version": "1.0",
        "problem": None,
        "modes": [],
        "commands": [],
        "abilities": {},
        "tested": {"oldest": "1.0", "newest": "1.0"},
        "is_tested": True,
        "logged_in": None,
        "models": ["demo-1"],
        "models_bounded": False,
    }
    assert after["claude"]["problem"] == "not found"
    refused = api.http.post("/v1/sessions", json={"agent": "claude"})
    assert (refused.status_code, refused.json()["code"]) == (422, "agent_not_ready")
    assert api.http.get("/v1/sessions").json()["data"] == []
