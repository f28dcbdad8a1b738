"""Prompts and turns over HTTP: the line of a session, what jumps it, what leaves it."""

from __future__ import annotations

import pytest

from tests.fixtures.api import Api, api_running


def send(api: Api, session: str, text: str = "more", **more: object):
    return api.http.post(f"/v1/sessions/{session}/prompts", json={"text": text, **more})


def line_of(api: Api, session: str) -> list[str]:
    turns = api.http.get(f"/v1/sessions/{session}/turns", params={"status": "queued"}).json()["data"]
    return [turn["text"] for turn in sorted(turns, key=lambda turn: turn["queue_position"])]


@pytest.fixture
def session(api: Api) -> str:
    return str(api.create("one")["id"])


def test_prompts_wait_in_line_in_the_order_they_came(api, session):
    answers = [send(api, session, text) for text in ("two", "three")]

    assert [answer.status_code for answer in answers] == [202, 202]
    assert [answer.json()["queue_position"] for answer in answers] == [1, 2]
    assert line_of(api, session) == ["one", "two", "three"]
    assert api.inputs(session) == ["prompt", "prompt", "prompt"]


def test_a_busy_session_refuses_with_reject_and_nothing_is_left(api, session):
    answer = send(api, session, when_busy="reject")

    assert (answer.status_code, answer.json()["code"]) == (409, "session_busy")
    assert line_of(api, session) == ["one"]
    assert api.inputs(session) == ["prompt"]


def test_an_idle_session_takes_a_prompt_with_reject(api):
    session = api.create()["id"]

    assert send(api, session, when_busy="reject").status_code == 202


def test_interrupt_cancels_the_running_turn_and_goes_next(api):
    made = api.create("one")
    host = api.host(made["id"])
    host.up()
    host.start(made["turn"]["id"])
    send(api, made["id"], "waits")

    answer = send(api, made["id"], "now", when_busy="interrupt")

    assert answer.json()["queue_position"] == 0
    assert line_of(api, made["id"]) == ["now", "waits"]
    assert api.inputs(made["id"]) == ["prompt", "prompt", "cancel", "prompt"]


def test_a_queued_turn_may_be_edited_and_moved(api, session):
    two, three = send(api, session, "two").json(), send(api, session, "three").json()

    edited = api.http.patch(f"/v1/turns/{two['id']}", json={"text": "second"})
    moved = api.http.patch(f"/v1/turns/{three['id']}", json={"queue_position": 0})

    assert edited.json()["text"] == "second"
    assert moved.json()["queue_position"] == 0
    assert line_of(api, session) == ["three", "one", "second"]


def test_a_withdrawn_turn_ends_once_and_at_once(api, session):
    turn = send(api, session, "two").json()["id"]

    answer = api.http.post(f"/v1/turns/{turn}/cancel")
    again = api.http.post(f"/v1/turns/{turn}/cancel")

    assert answer.status_code == 202
    assert answer.json()["status"] == "cancelled"
    assert answer.json()["stop_reason"] == "cancelled"
    assert (again.status_code, again.json()["code"]) == (409, "turn_over")
    events = api.http.get(f"/v1/sessions/{session}/events").json()["data"]
    assert [event["type"] for event in events if event["turn_id"] == turn] == ["turn_queued", "turn_ended"]


def test_a_running_turn_is_cancelled_by_name(api):
    made = api.create("one")
    host = api.host(made["id"])
    host.start(made["turn"]["id"])
    path = f"/v1/sessions/{made['id']}/cancel"

    answer = api.http.post(path)
    host.finish(made["turn"]["id"])
    nothing = api.http.post(path)
    edit = api.http.patch(f"/v1/turns/{made['turn']['id']}", json={"text": "late"})

    assert answer.status_code == 202
    assert answer.json()["id"] == made["turn"]["id"]
    assert api.inputs(made["id"]) == ["prompt", "cancel"]
    assert (nothing.status_code, nothing.json()["code"]) == (409, "nothing_running")
    assert (edit.status_code, edit.json()["code"]) == (409, "turn_over")


def test_the_line_of_a_session_has_an_end(sqlite_url, valkey_url):
    with api_running(sqlite_url, valkey_url, CORRAL_QUEUE_LIMIT="2") as api:
        session = api.create("one")["id"]
        send(api, session)

        full = send(api, session)

    assert (full.status_code, full.json()["code"]) == (409, "queue_full")
    assert full.json()["details"]["limit"] == 2


def test_a_callback_is_an_endpoint_that_is_nobodys_to_change(api, session):
    answer = send(api, session, callback_url="http://127.0.0.1:9/done")

    assert answer.status_code == 202
    assert answer.json()["callback_url"] == "http://127.0.0.1:9/done"
    assert api.http.get("/v1/webhooks").json()["data"] == []


def test_a_prompt_with_a_checkpoint_loses_its_prefix_and_says_so(sqlite_api):
    api = sqlite_api
    session = api.create("CONFIRM: first")["id"]

    made = [
        send(api, session, " confirm:\n second"),
        send(api, session, "third", confirm=True),
        send(api, session, "I confirm: fourth"),
    ]
    turn = made[2].json()["id"]
    edited = api.http.patch(f"/v1/turns/{turn}", json={"text": "confirm: fifth"}).json()
    again = api.http.patch(f"/v1/turns/{turn}", json={"text": "sixth"}).json()

    assert [answer.status_code for answer in made] == [202] * 3
    assert [(one.json()["text"], one.json()["confirm"]) for one in made] == [
        ("second", True),
        ("third", True),
        ("I confirm: fourth", False),
    ]
    assert (edited["text"], edited["confirm"], again["text"], again["confirm"]) == ("fifth", True, "sixth", True)
    log = api.http.get(f"/v1/sessions/{session}/events", params={"types": "turn_queued"}).json()["data"]
    assert [(event["data"]["text"], event["data"].get("confirm")) for event in log] == [
        ("first", True),
        ("second", True),
        ("third", True),
        ("I confirm: fourth", None),
    ]


def test_a_checkpoint_before_nothing_or_in_mid_turn_is_refused(sqlite_api):
    api = sqlite_api
    session = api.create("one")["id"]

    answers = [
        send(api, session, "confirm:  "),
        send(api, session, "confirm: x", when_busy="steer"),
        send(api, session, "x", confirm=True, when_busy="steer"),
        send(api, session, "x", confirm="yes"),
        api.http.post("/v1/sessions", json={"agent": "demo", "prompt": "Confirm:"}),
    ]

    assert [answer.status_code for answer in answers] == [422] * 5
    assert [answer.json()["errors"][0]["field"] for answer in answers] == [
        "text",
        "when_busy",
        "when_busy",
        "confirm",
        "text",
    ]
    assert line_of(api, session) == ["one"]
    assert len(api.http.get("/v1/sessions").json()["data"]) == 1
