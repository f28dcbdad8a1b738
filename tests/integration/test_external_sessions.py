"""External sessions: their life between reports, and permissions granted from afar."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from shared.domain import clock
from shared.domain.errors import NotFound
from shared.domain.event import Draft, EventType
from shared.domain.ids import SessionId
from shared.events import front
from shared.store import external
from tests.fixtures.api import Api
from tests.fixtures.reporting import Outsider, fall_silent, outsider, sweep
from tests.fixtures.waiting import eventually


@pytest.fixture
def agent(api: Api) -> Outsider:
    return outsider(api, heartbeat_s=60)


@pytest.fixture
def sqlite_agent(sqlite_api: Api) -> Outsider:
    return outsider(sqlite_api, heartbeat_s=60)


@pytest.fixture
def asking(sqlite_api: Api) -> Outsider:
    """An agent whose permissions are granted here."""
    return outsider(sqlite_api, remote_approval=True)


def beat(agent: Outsider, session: str | None = None):
    return agent.http.post(f"/v1/sessions/{session or agent.session}/heartbeat")


# --- registering


def test_registering_twice_with_one_key_registers_once_and_shows_the_same_token(api):
    body = {"title": "mine", "metadata": {"team": "red"}, "folder": "/elsewhere"}

    first, again = (
        api.http.post("/v1/external-sessions", json=body, headers={"Idempotency-Key": "k"}) for _ in range(2)
    )

    assert first.json() == again.json()
    made = first.json()
    assert (made["title"], made["metadata"], made["status"]) == ("mine", {"team": "red"}, "starting")
    assert made["workspace"] == {"kind": "external", "spec": {"folder": "/elsewhere"}}
    assert made["hook"]["path"] == "/v1/hooks/claude"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"heartbeat_s": -1}, "heartbeat_s"),
        ({"ask_timeout_s": 1000}, "ask_timeout_s"),
        ({"workspace": {}}, "workspace"),
        ({"webhook": {"url": "ftp://x"}}, "webhook.url"),
    ],
)
def test_what_cannot_be_registered_is_said_by_field(sqlite_api, body, field):
    answer = sqlite_api.http.post("/v1/external-sessions", json=body)

    assert answer.status_code == 422
    assert [one["field"] for one in answer.json()["errors"]] == [field]
    assert sqlite_api.http.get("/v1/sessions").json()["data"] == []


# --- silence


def test_a_session_that_falls_silent_ends_and_its_turn_with_it(agent):
    agent.prompt("go")

    fall_silent(agent)

    assert agent.kinds()[-2:] == ["turn_ended", "session_ended"]
    assert agent.data("turn_ended")[0]["status"] == "interrupted"
    assert agent.data("session_ended")[0]["reason"] == "heartbeat_lost"
    assert sweep(agent.api) == 0


def test_what_was_only_out_of_sight_goes_on_in_another_session(agent):
    agent.prompt("go")
    fall_silent(agent)

    onward = agent.tell("Notification", message="here again").headers["Corral-Session"]

    assert onward != agent.session
    assert agent.kinds(onward) == ["session_started", "notice"]
    assert agent.seen(onward)["agent_session_id"] == agent.conversation
    assert agent.kinds()[-1] == "session_ended"


def test_every_report_and_every_heartbeat_keeps_it_alive(agent):
    agent.tell("SessionStart", source="startup", model="m")
    with agent.api.edge.context.db.write() as connection:
        external.hear(connection, SessionId(agent.session), clock.now() - timedelta(seconds=1))

    heard = beat(agent).json()

    assert sweep(agent.api) == 0
    assert heard["status"] == "idle"
    assert clock.from_text(heard["lapses_at"]) > clock.now() + timedelta(seconds=30)


def test_one_that_never_reported_waits_for_its_agent_as_long_as_it_takes(sqlite_agent):
    assert sweep(sqlite_agent.api) == 0
    assert sqlite_agent.seen()["status"] == "starting"


def test_a_session_without_a_heartbeat_never_lapses(sqlite_api):
    agent = outsider(sqlite_api, heartbeat_s=0)
    agent.prompt("go")

    assert beat(agent).json()["lapses_at"] is None


def test_a_heartbeat_is_for_its_own_living_external_session_alone(sqlite_api):
    mine, other = outsider(sqlite_api), outsider(sqlite_api)
    hosted = sqlite_api.create()["id"]

    assert beat(mine, other.session).status_code == 404
    assert beat(mine, hosted).json()["code"] == "unsupported"
    assert sqlite_api.http.post(f"/v1/sessions/{mine.session}/heartbeat").status_code == 200
    mine.tell("SessionEnd", reason="other")
    assert beat(mine).json()["code"] == "session_ended"


# --- one session a conversation


def test_the_agents_leaving_ends_the_session_and_too_late_is_said(agent):
    agent.prompt("go")

    agent.tell("SessionEnd", reason="prompt_input_exit")
    late = agent.post("Notification", message="late")

    assert agent.data("session_ended") == [{"reason": "agent_left", "detail": "prompt_input_exit"}]
    assert (late.status_code, late.json()["code"]) == (409, "session_ended")
    assert agent.kinds()[-1] == "session_ended"


def test_the_next_run_of_the_agent_is_the_next_session(sqlite_agent):
    sqlite_agent.prompt("go")
    sqlite_agent.tell("SessionEnd", reason="other")
    following = Outsider(sqlite_agent.api, sqlite_agent.session, sqlite_agent.token, sqlite_agent.http)

    begun = following.tell("SessionStart", source="startup", model="m").headers["Corral-Session"]
    following.prompt("more")

    assert begun != sqlite_agent.session
    assert following.kinds(begun) == ["session_started", "turn_queued", "turn_started"]
    assert following.data("session_started", begun) == [
        {"agent": "claude", "resumed": False, "source": "startup", "model": "m", "cwd": "/elsewhere/project"}
    ]


def test_a_conversation_that_is_resumed_goes_on_in_another_session(sqlite_agent):
    sqlite_agent.prompt("go")
    sqlite_agent.tell("SessionEnd", reason="other")

    onward = sqlite_agent.tell("SessionStart", source="resume").headers["Corral-Session"]
    replayed = sqlite_agent.tell("SessionEnd", reason="other")

    assert onward != sqlite_agent.session
    assert replayed.headers["Corral-Session"] == sqlite_agent.session
    assert sqlite_agent.seen(onward)["status"] == "idle"
    assert sqlite_agent.data("session_started", onward)[0]["resumed"] is True


# --- its log is written by reports, and no other is


def test_no_report_reaches_a_session_that_is_hosted(sqlite_api):
    hosted = SessionId(sqlite_api.create()["id"])

    with pytest.raises(NotFound), sqlite_api.edge.context.db.write() as connection:
        front.report(connection, hosted, [Draft(EventType.NOTICE, {"kind": "x"})])


def test_no_report_tells_what_only_a_host_knows(sqlite_agent):
    session = SessionId(sqlite_agent.session)

    with pytest.raises(ValueError, match="session_parked"), sqlite_agent.api.edge.context.db.write() as connection:
        front.report(connection, session, [Draft(EventType.SESSION_PARKED, {"reason": "idle"})])


# --- permissions from afar


def wanted(agent: Outsider, wait_s: float = 30, command: str = "make"):
    return agent.post("PermissionRequest", wait_s=wait_s, tool_name="Bash", tool_input={"command": command})


def open_ask(agent: Outsider) -> str:
    def found():
        return agent.api.http.get("/v1/asks", params={"status": "open"}).json()["data"]

    eventually(found, about="the ask")
    return found()[0]["id"]


def answer(agent: Outsider, ask: str, **said):
    return agent.api.http.post(f"/v1/asks/{ask}/answer", json=said)


def test_the_hook_waits_for_the_answer_and_carries_it(api):
    asking = outsider(api, remote_approval=True)
    asking.prompt("go")
    asking.call("t1")
    with ThreadPoolExecutor(1) as pool:
        hook = pool.submit(wanted, asking)
        ask = open_ask(asking)
        waiting = asking.seen()["status"]
        answered = answer(asking, ask, decision="deny", message="no")
        reply = hook.result(20)

    assert (waiting, answered.status_code, asking.seen()["status"]) == ("waiting", 200, "running")
    decision = {"behavior": "deny", "message": "no"}
    assert reply.json() == {"hookSpecificOutput": {"hookEventName": "PermissionRequest", "decision": decision}}
    assert asking.data("permission_request")[0]["tool_call_id"] == "t1"
    assert [data["status"] for data in asking.data("ask_resolved")] == ["answered", "applied"]
    assert wanted(asking).json() == reply.json()


def test_the_next_call_is_asked_about_anew_though_it_is_the_same(asking):
    asking.prompt("go")
    asking.call("t1")
    wanted(asking, wait_s=0.1)
    asking.call("t2")
    wanted(asking, wait_s=0.1)
    wanted(asking, wait_s=0.1)

    assert [data["tool_call_id"] for data in asking.data("permission_request")] == ["t1", "t2"]


def test_without_an_answer_the_agent_asks_its_own_user(asking):
    asking.prompt("go")
    began = time.monotonic()

    reply = wanted(asking, wait_s=0.4)

    assert reply.json() == {}
    assert time.monotonic() - began >= 0.3
    ask = asking.api.http.get("/v1/asks").json()["data"][0]["id"]
    assert answer(asking, ask, decision="allow").json()["code"] == "ask_closed"
    eventually(lambda: sweep(asking.api) or asking.data("ask_resolved"), about="the ask's expiry")
    assert [data["status"] for data in asking.data("ask_resolved")] == ["expired"]
    assert asking.seen()["status"] == "running"


def test_what_was_allowed_at_the_terminal_is_no_longer_asked_here(asking):
    asking.prompt("go")
    asking.call("t1")
    with ThreadPoolExecutor(1) as pool:
        hook = pool.submit(wanted, asking)
        ask = open_ask(asking)
        asking.result("t1")
        reply = hook.result(20)

    assert reply.json() == {}
    assert [data["reason"] for data in asking.data("ask_resolved")] == ["decided_elsewhere"]
    assert answer(asking, ask, decision="deny").status_code == 409


def test_nobody_is_asked_where_the_hook_does_not_wait_or_approval_was_not_wished(sqlite_api):
    asking, plain = outsider(sqlite_api, remote_approval=True), outsider(sqlite_api)

    asking.tell("PermissionRequest", tool_name="Bash", tool_input={})
    plain.tell("PermissionRequest", tool_name="Bash", tool_input={}, wait_s=5)

    assert [asking.data("notice"), plain.data("notice")] == [[{"kind": "waits_for_user", "tool_name": "Bash"}]] * 2


def test_a_decision_is_shown_to_its_own_reporter_alone(sqlite_api):
    asking, other = outsider(sqlite_api, remote_approval=True), outsider(sqlite_api)
    wanted(asking, wait_s=0.1)
    ask = sqlite_api.http.get("/v1/asks").json()["data"][0]["id"]
    path = f"/v1/hooks/claude/PermissionRequest/decisions/{ask}"

    assert other.http.get(path).status_code == 404
    assert asking.http.get(path).json() == {}
