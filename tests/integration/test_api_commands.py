"""Slash commands and steering over HTTP: what is accepted, what is refused and with which words."""

from __future__ import annotations

import pytest

from shared.agents.registry import DRIVERS
from shared.domain.ids import SessionId
from shared.store.tables import sessions
from tests.fixtures.api import Api


def command(api: Api, session: str, name: str, **more: object):
    return api.http.post(f"/v1/sessions/{session}/commands", json={"name": name, **more})


def steer(api: Api, session: str, text: str = "faster"):
    return api.http.post(f"/v1/sessions/{session}/prompts", json={"text": text, "when_busy": "steer"})


def running(api: Api) -> tuple[str, str]:
    made = api.create("one")
    host = api.host(made["id"])
    host.up()
    host.start(made["turn"]["id"])
    return made["id"], made["turn"]["id"]


def session_of(api: Api, agent: str) -> str:
    """A session of an agent whose program need not be there."""
    session = api.create()["id"]
    with api.edge.context.db.write() as connection:
        connection.execute(sessions.update().where(sessions.c.id == SessionId(session)).values(agent=agent))
    return str(session)


def test_a_command_is_a_turn_in_the_line(api):
    session = api.create("one")["id"]

    answer = command(api, session, "compact", args="keep the names")

    turn = answer.json()
    assert answer.status_code == 202
    assert (turn["text"], turn["command"], turn["queue_position"]) == ("/compact keep the names", "compact", 1)
    assert answer.headers["location"] == f"/v1/turns/{turn['id']}"
    queued = api.http.get(f"/v1/sessions/{session}/events", params={"types": "turn_queued"}).json()["data"][-1]
    assert queued["data"] == {"text": "/compact keep the names", "source": "api", "command": "compact"}
    assert api.inputs(session) == ["prompt", "prompt"]


def test_a_prompt_is_no_command(api):
    assert api.create("/compact")["turn"]["command"] is None


def test_a_slash_before_the_name_does_no_harm(api):
    assert command(api, api.create()["id"], "/context").json()["command"] == "context"


@pytest.mark.parametrize("agent", sorted(DRIVERS))
def test_a_command_the_agent_lacks_is_refused_with_those_it_has(api, agent):
    session = session_of(api, agent)
    before = api.inputs(session)

    answer = command(api, session, "make-coffee")

    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, "unsupported_command")
    assert problem["details"]["has"] == ", ".join(sorted(DRIVERS[agent].abilities.commands))
    assert api.inputs(session) == before
    assert api.http.get(f"/v1/sessions/{session}/turns").json()["data"] == []


def test_an_ended_session_takes_no_command(api):
    session = api.create()["id"]
    api.http.post(f"/v1/sessions/{session}/terminate")

    answer = command(api, session, "compact")

    assert (answer.status_code, answer.json()["code"]) == (409, "session_ended")


def test_a_repeated_command_is_accepted_once(api):
    session = api.create()["id"]
    headers = {"Idempotency-Key": "once"}
    path = f"/v1/sessions/{session}/commands"

    first, second = (api.http.post(path, json={"name": "clear"}, headers=headers) for _ in range(2))

    assert first.json()["id"] == second.json()["id"]
    assert len(api.http.get(f"/v1/sessions/{session}/turns").json()["data"]) == 1


def test_a_queued_command_is_moved_and_withdrawn_but_not_edited(api):
    session = api.create("one")["id"]
    turn = command(api, session, "clear").json()["id"]

    edited = api.http.patch(f"/v1/turns/{turn}", json={"text": "/compact"})
    moved = api.http.patch(f"/v1/turns/{turn}", json={"queue_position": 0})
    withdrawn = api.http.post(f"/v1/turns/{turn}/cancel")

    assert (edited.status_code, edited.json()["code"]) == (422, "unsupported")
    assert moved.json()["queue_position"] == 0
    assert withdrawn.json()["status"] == "cancelled"


@pytest.mark.parametrize("body", [{}, {"name": ""}, {"name": "a\nb"}, {"name": "compact", "args": 7}, {"nam": "x"}])
def test_a_malformed_command_is_refused(api, body):
    session = api.create()["id"]

    answer = api.http.post(f"/v1/sessions/{session}/commands", json=body)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


def test_agents_tell_their_commands(api):
    told = {agent["name"]: agent for agent in api.http.get("/v1/agents").json()["data"]}

    for name, driver in DRIVERS.items():
        assert told[name]["commands"] == sorted(driver.abilities.commands)
        assert told[name]["abilities"]["steer"] is driver.abilities.steer


def test_a_steer_waits_at_the_front_of_the_line_until_the_agent_took_it(api):
    session, _ = running(api)
    api.http.post(f"/v1/sessions/{session}/prompts", json={"text": "waits"})

    answer = steer(api, session)

    turn = answer.json()
    assert (answer.status_code, turn["status"], turn["queue_position"]) == (202, "queued", 0)
    assert api.inputs(session) == ["prompt", "prompt", "steer"]


@pytest.mark.parametrize("agent", sorted(name for name, driver in DRIVERS.items() if not driver.abilities.steer))
def test_an_agent_that_cannot_be_steered_is_not(api, agent):
    session = session_of(api, agent)
    before = api.inputs(session)

    answer = steer(api, session)

    assert (answer.status_code, answer.json()["code"]) == (422, "unsupported")
    assert api.inputs(session) == before
