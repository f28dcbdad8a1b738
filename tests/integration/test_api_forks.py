"""Fork, resume and attach over HTTP: what is made, what is refused, and that nothing is left of what was refused."""

from __future__ import annotations

import pytest

from shared.agents.registry import DRIVERS
from shared.domain.event import Draft, EventType
from shared.domain.ids import SessionId
from shared.domain.session import SessionStatus
from shared.store import heads, ownership, sessions, transcripts
from shared.store.tables import sessions as table
from tests.fixtures.api import Api, StandIn

ENTRY = {"type": "user", "text": "say the word is quince"}
FOREIGN = "conversation-of-yesterday"


def post(api: Api, session: str, what: str, **body: object):
    return api.http.post(f"/v1/sessions/{session}/{what}", json=body or None)


def spoken(api: Api, **wishes: object) -> tuple[str, StandIn]:
    """A hosted session that has had one turn, with a conversation of its own."""
    made = api.create("one", **wishes)
    host = api.host(made["id"])
    host.up()
    host.start(made["turn"]["id"])

    def effect(connection) -> None:
        session = SessionId(made["id"])
        sessions.set_agent_session(connection, session, "demo-source")
        sessions.add_usage(connection, session, turns=1)
        transcripts.append(connection, session, "demo-source", ['{"type":"user","text":"one"}'])

    host.tell(effect=effect)
    host.finish(made["turn"]["id"])
    return str(made["id"]), host


def parked(api: Api) -> str:
    session, host = spoken(api)
    host.tell(
        Draft(EventType.SESSION_PARKED, {"reason": "idle"}),
        effect=lambda connection: (
            heads.set_done_input(connection, SessionId(session), 1),
            ownership.release(connection, SessionId(session), host.epoch, SessionStatus.PARKED),
        ),
    )
    return session


def test_a_fork_is_a_new_session_with_the_old_ones_wishes(api):
    wishes = {"title": "plum", "metadata": {"team": "red"}, "mode": "accept_edits", "env": {"SECRET": "shh"}}
    session, _ = spoken(api, **wishes, limits={"max_turns": 9})

    answer = post(api, session, "fork")

    made = answer.json()
    assert answer.status_code == 201
    assert made["id"] != session
    assert answer.headers["location"] == f"/v1/sessions/{made['id']}"
    assert (made["forked_from"], made["status"], made["turns_started"], made["cost_usd"]) == (session, "starting", 0, 0)
    assert (made["title"], made["metadata"], made["mode"]) == ("plum", {"team": "red"}, "accept_edits")
    assert made["limits"]["max_turns"] == 9
    assert made["workspace"] == {"kind": "folder", "spec": {"kind": "folder", "copy_of": session}}
    with api.edge.context.db.read() as connection:
        stored = sessions.get_any(connection, SessionId(made["id"]), api.edge.context.sealer)
        assert stored is not None
        assert stored.spec.env == {"SECRET": "shh"}
        assert (stored.volume_id, stored.conversation) == ("vol", "demo-source")
        assert transcripts.read(connection, stored.id, "demo-source") == ['{"type":"user","text":"one"}']
    assert api.inputs(made["id"]) == ["start"]
    assert api.http.get(f"/v1/sessions/{session}").json()["status"] == "idle"


def test_a_fork_may_differ(api):
    session, _ = spoken(api, title="plum", metadata={"team": "red"})

    made = post(
        api, session, "fork", title=None, metadata={}, mode="plan", model="demo-2", prompt="recall", source="dashboard"
    ).json()

    assert (made["title"], made["metadata"], made["mode"], made["model"]) == (None, {}, "plan", "demo-2")
    assert (made["turn"]["text"], made["turn"]["source"]) == ("recall", "dashboard")


def test_a_session_that_never_ran_forks_into_a_fresh_one(api):
    session = api.create()["id"]

    made = post(api, session, "fork").json()

    assert made["workspace"]["spec"] == {"kind": "folder"}
    assert made["forked_from"] == session


def test_a_session_whose_turn_runs_is_not_forked(api):
    made = api.create("one")
    host = api.host(made["id"])
    host.up()
    host.start(made["turn"]["id"])

    answer = post(api, made["id"], "fork")

    assert (answer.status_code, answer.json()["code"]) == (409, "session_busy")
    assert len(api.http.get("/v1/sessions").json()["data"]) == 1


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"mode": "bypass"}, "unsupported"),
        ({"mode": "god"}, "invalid_request"),
        ({"agent": "claude"}, "invalid_request"),
        ({"prompt": " "}, "invalid_request"),
    ],
)
def test_a_fork_that_cannot_be_is_refused(sqlite_api, body, code):
    session, _ = spoken(sqlite_api)

    answer = post(sqlite_api, session, "fork", **body)

    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert len(sqlite_api.http.get("/v1/sessions").json()["data"]) == 1


@pytest.mark.parametrize("agent", sorted(DRIVERS))
def test_forks_and_attached_sessions_need_an_agent_that_can(sqlite_api, agent):
    session, _ = spoken(sqlite_api)
    with sqlite_api.edge.context.db.write() as connection:
        connection.execute(table.update().where(table.c.id == session).values(agent=agent))
    body = {"agent": agent, "agent_session_id": FOREIGN, "transcript": [ENTRY]}

    fork, attached = post(sqlite_api, session, "fork"), sqlite_api.http.post("/v1/sessions", json=body)

    abilities = DRIVERS[agent].abilities
    assert (fork.json().get("code") == "unsupported") is not abilities.fork
    assert (attached.json().get("code") == "unsupported") is not abilities.attach


def test_a_repeated_fork_is_made_once(sqlite_api):
    session, _ = spoken(sqlite_api)
    path, headers = f"/v1/sessions/{session}/fork", {"Idempotency-Key": "once"}

    first, second = (sqlite_api.http.post(path, json={}, headers=headers) for _ in range(2))

    assert first.json() == second.json()
    assert len(sqlite_api.http.get("/v1/sessions").json()["data"]) == 2


def test_another_tenants_session_is_neither_forked_nor_resumed(sqlite_api):
    session, _ = spoken(sqlite_api)
    other = sqlite_api.client(tenant="ten_other")

    answers = [other.post(f"/v1/sessions/{session}/{what}") for what in ("fork", "resume")]

    assert [answer.status_code for answer in answers] == [404, 404]


def test_a_parked_session_is_wanted_again(api):
    session = parked(api)

    answer = post(api, session, "resume")

    assert (answer.status_code, answer.json()["id"], answer.json()["status"]) == (202, session, "parked")
    assert api.inputs(session) == ["prompt", "start"]


def test_a_session_that_is_up_is_left_alone(api):
    session, _ = spoken(api)

    answer = post(api, session, "resume")

    assert (answer.status_code, answer.json()["status"]) == (202, "idle")
    assert api.inputs(session) == ["prompt"]


def test_an_ended_session_is_continued_by_a_new_one(api):
    session, host = spoken(api, title="plum")
    host.end()
    before = api.http.get(f"/v1/sessions/{session}/events").json()["data"]

    answer = post(api, session, "resume")

    made = answer.json()
    assert answer.status_code == 201
    assert (made["forked_from"], made["title"], made["id"] == session) == (session, "plum", False)
    with api.edge.context.db.read() as connection:
        stored = sessions.get_any(connection, SessionId(made["id"]), api.edge.context.sealer)
    assert stored is not None
    assert stored.origin is not None
    assert (stored.origin.fork, stored.conversation) == (False, "demo-source")
    assert api.http.get(f"/v1/sessions/{session}/events").json()["data"] == before


def test_a_foreign_conversation_comes_with_its_transcript(api):
    made = api.create(agent_session_id=FOREIGN, transcript=[ENTRY, {"type": "assistant", "text": "ü\n"}])

    with api.edge.context.db.read() as connection:
        lines = transcripts.read(connection, SessionId(made["id"]), FOREIGN)
    assert lines == ['{"type":"user","text":"say the word is quince"}', '{"type":"assistant","text":"\\u00fc\\n"}']
    assert made["forked_from"] is None


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"agent_session_id": FOREIGN}, "unsupported"),
        ({"transcript": [ENTRY]}, "invalid_field"),
        ({"agent_session_id": "../../etc/passwd", "transcript": [ENTRY]}, "invalid_request"),
        ({"agent_session_id": "--evil-option", "transcript": [ENTRY]}, "invalid_request"),
        ({"agent_session_id": "short", "transcript": [ENTRY]}, "invalid_request"),
        ({"agent_session_id": FOREIGN, "transcript": ["text"]}, "invalid_request"),
        ({"agent_session_id": FOREIGN, "transcript": ENTRY}, "invalid_request"),
        ({"workspace": {"kind": "folder", "copy_of": "ses_somebody"}}, "invalid_field"),
    ],
)
def test_a_foreign_conversation_that_cannot_be_gone_on_with_is_refused(sqlite_api, body, code):
    answer = sqlite_api.http.post("/v1/sessions", json={"agent": "demo", **body})

    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert sqlite_api.http.get("/v1/sessions").json()["data"] == []
