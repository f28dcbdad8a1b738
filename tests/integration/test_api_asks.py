"""Asks over HTTP: the first answer wins, and it fits the ask."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from shared.domain import clock
from shared.domain.ask import AskKind, checkpoint_ref
from shared.domain.session import SessionStatus
from shared.store import ownership


def test_the_first_answer_wins_and_later_ones_learn_who_gave_it(api):
    session = api.create("hi")["id"]
    ask = api.host(session).ask().id

    first = api.http.post(f"/v1/asks/{ask}/answer", json={"decision": "allow", "message": "go"})
    second = api.http.post(f"/v1/asks/{ask}/answer", json={"decision": "deny"})

    assert first.status_code == 200
    assert first.json()["status"] == "answered"
    assert first.json()["answer"] == {"decision": "allow", "message": "go"}
    assert (second.status_code, second.json()["code"]) == (409, "ask_closed")
    assert second.json()["details"]["answered_by"] == "test"
    assert second.json()["details"]["answered_via"] == "api"
    assert api.inputs(session) == ["prompt", "answer"]
    events = api.http.get(f"/v1/sessions/{session}/events", params={"types": "ask_resolved"}).json()["data"]
    assert [event["data"]["status"] for event in events] == ["answered"]


def test_of_many_answers_at_once_one_is_taken(api):
    session = api.create("hi")["id"]
    ask = api.host(session).ask().id

    def answer(number: int) -> int:
        said = {"decision": "allow" if number % 2 else "deny"}
        return int(api.http.post(f"/v1/asks/{ask}/answer", json=said).status_code)

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(answer, range(20)))

    assert sorted(statuses) == [200] + [409] * 19
    assert api.inputs(session) == ["prompt", "answer"]


def test_an_answer_that_does_not_fit_the_ask_is_refused_and_leaves_it_open(api):
    session = api.create("hi")["id"]
    host = api.host(session)
    permission, question = host.ask().id, host.ask(AskKind.QUESTION).id

    wrong = [
        api.http.post(f"/v1/asks/{permission}/answer", json={"verdict": "approve"}),
        api.http.post(f"/v1/asks/{permission}/answer", json={"decision": "maybe"}),
        api.http.post(f"/v1/asks/{permission}/answer", json={}),
        api.http.post(f"/v1/asks/{question}/answer", json={"decision": "allow"}),
        api.http.post(f"/v1/asks/{question}/answer", json={"answers": {"q": 1}}),
    ]

    assert {answer.status_code for answer in wrong} == {422}
    assert all(answer.json()["errors"] for answer in wrong)
    assert {one["status"] for one in api.http.get("/v1/asks").json()["data"]} == {"open"}
    assert api.inputs(session) == ["prompt"]


def test_asks_are_listed_by_session_and_state(api):
    first, second = api.create("hi")["id"], api.create("hi")["id"]
    mine = api.host(first).ask().id
    api.host(second).ask()
    api.http.post(f"/v1/asks/{mine}/answer", json={"decision": "deny"})

    of_first = api.http.get(f"/v1/sessions/{first}/asks").json()["data"]
    still_open = api.http.get("/v1/asks", params={"status": "open"}).json()["data"]

    assert [one["id"] for one in of_first] == [mine]
    assert [one["session_id"] for one in still_open] == [second]
    assert api.http.get(f"/v1/asks/{mine}").json()["status"] == "answered"


def test_an_ask_of_a_session_that_ends_is_lost_before_its_turn_ends(api):
    made = api.create("hi")
    host = api.host(made["id"])
    host.start(made["turn"]["id"])
    ask = host.ask(turn=made["turn"]["id"]).id
    with api.edge.context.db.write() as connection:
        ownership.hand_over(connection, host.session, host.epoch, SessionStatus.PARKED, clock.now())

    api.http.post(f"/v1/sessions/{made['id']}/terminate")

    assert api.http.get(f"/v1/asks/{ask}").json()["status"] == "lost"
    events = api.http.get(f"/v1/sessions/{made['id']}/events", params={"after": 3}).json()["data"]
    assert [event["type"] for event in events] == ["ask_resolved", "turn_ended", "session_ended"]
    late = api.http.post(f"/v1/asks/{ask}/answer", json={"decision": "allow"})
    assert (late.status_code, late.json()["code"]) == (409, "ask_closed")


def test_a_checkpoint_is_about_one_prompt_as_it_is(sqlite_api):
    api = sqlite_api
    made = api.create("confirm: run it")
    host, turn = api.host(made["id"]), made["turn"]["id"]
    host.start(turn)
    ask = host.ask(turn=turn, data={"tool_name": "prompt", "input": {"text": "run it"}}, ref=checkpoint_ref(turn)).id
    link = api.http.post(f"/v1/asks/{ask}/links", json={}).json()["url"].rpartition("/")[2]

    page = api.http.get(f"/a/{link}").text
    refused = [
        api.http.post(f"/v1/asks/{ask}/answer", json={"decision": "allow_always"}),
        api.http.post(f"/v1/asks/{ask}/answer", json={"decision": "allow", "input": {"text": "run that"}}),
    ]
    taken = api.http.post(f"/v1/asks/{ask}/answer", json={"decision": "allow"})

    assert [answer.json()["code"] for answer in refused] == ["unsupported"] * 2
    assert "Shall this prompt run?" in page
    assert "run it" in page
    assert "Allow for the session" not in page
    assert taken.status_code == 200
