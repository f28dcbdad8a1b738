"""`wait_s`: callers wait for a change without holding a thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import httpx
import pytest

from api.shell import ShellOptions
from shared.domain.event import Draft, EventType
from tests.fixtures.api import Api, api_running, client_for
from tests.fixtures.waiting import eventually


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(40) as made:
        yield made


def waits_open(api: Api) -> float:
    line = next(line for line in api.http.get("/metrics").text.splitlines() if line.startswith("corral_waits_open "))
    return float(line.split()[1])


def waiting(api: Api, pool: ThreadPoolExecutor, ask: Callable[[], httpx.Response]) -> Future[httpx.Response]:
    """The answer to come of a request that is waiting now."""
    future = pool.submit(ask)
    eventually(lambda: future.done() or waits_open(api) >= 1, about="a waiting request")
    assert not future.done(), future.result().text
    return future


def test_a_prompt_is_answered_with_the_finished_turn(api, pool):
    session = api.create()["id"]
    host = api.host(session)
    host.up()
    path = f"/v1/sessions/{session}/prompts"
    answer = waiting(api, pool, lambda: api.http.post(path, json={"text": "go"}, params={"wait_s": 20}))
    turn = api.http.get(f"/v1/sessions/{session}/turns").json()["data"][0]["id"]

    host.start(turn)
    assert not answer.done(), "a running turn is not over"
    host.finish(turn, "all done")

    told = answer.result(10)
    assert told.status_code == 200
    assert (told.json()["status"], told.json()["result_text"]) == ("completed", "all done")
    assert "corral-wait" not in told.headers


def test_a_prompt_that_is_not_over_in_time_is_answered_as_it_then_is(api):
    session = api.create()["id"]

    began = time.monotonic()
    answer = api.http.post(f"/v1/sessions/{session}/prompts", json={"text": "go"}, params={"wait_s": 0.3})

    assert answer.status_code == 202
    assert answer.json()["status"] == "queued"
    assert 0.3 <= time.monotonic() - began < 5


def test_a_session_is_created_and_its_first_turn_awaited(api, pool):
    body = {"agent": "demo", "prompt": "hi", "webhook": {"url": "http://127.0.0.1:9/"}}
    answer = waiting(api, pool, lambda: api.http.post("/v1/sessions", json=body, params={"wait_s": 20}))
    session = api.http.get("/v1/sessions").json()["data"][0]["id"]
    turn = api.http.get(f"/v1/sessions/{session}/turns").json()["data"][0]["id"]

    host = api.host(session)
    host.start(turn)
    host.finish(turn)

    told = answer.result(10)
    assert told.status_code == 201
    assert told.json()["turn"]["status"] == "completed"
    assert told.json()["status"] == "idle"
    assert told.json()["webhook"]["secret"].startswith("whsec_"), "what is told once is told here"


def test_the_next_change_of_a_sessions_state_is_awaited(api, pool):
    made = api.create("hi")
    path = f"/v1/sessions/{made['id']}"
    answer = waiting(api, pool, lambda: api.http.get(path, params={"wait_s": 20}))

    host = api.host(made["id"])
    host.up()

    assert answer.result(10).json()["status"] == "idle"


def test_termination_is_awaited(api, pool):
    session = api.create("hi")["id"]
    host = api.host(session)
    path = f"/v1/sessions/{session}/terminate"
    answer = waiting(api, pool, lambda: api.http.post(path, params={"wait_s": 20}))

    host.up()
    host.end()

    assert answer.result(10).status_code == 200
    assert answer.result().json()["status"] == "ended"


def test_a_line_of_output_is_awaited(api, pool):
    session = api.create()["id"]
    host = api.host(session)
    path = f"/v1/sessions/{session}/output"
    answer = waiting(api, pool, lambda: api.http.get(path, params={"wait_s": 20, "since": 0}))

    host.tell(Draft(EventType.MESSAGE, {"text": "here\nthere", "message_id": "m"}))

    assert answer.result(10).json()["lines"] == ["here", "there"]


def test_many_waiting_callers_hold_no_thread(sqlite_url, valkey_url, pool):
    with api_running(sqlite_url, valkey_url, options=ShellOptions(threads=2)) as api:
        session = api.create()["id"]
        host = api.host(session)
        http = client_for(api.url, api.key)
        http.timeout = 60
        path = f"/v1/sessions/{session}"
        with http:
            answers = [pool.submit(http.get, path, params={"wait_s": 30}) for _ in range(30)]
            eventually(lambda: waits_open(api) == 30, about="thirty waiting callers")
            assert api.http.get("/v1/me").status_code == 200, "two threads still serve others"
            host.up()
            told = [answer.result(20).json()["status"] for answer in answers]

    assert told == ["idle"] * 30


def test_a_waiting_caller_is_answered_when_the_process_stops(sqlite_url, valkey_url):
    told: list[int] = []
    with api_running(sqlite_url, valkey_url) as api:
        session = api.create()["id"]

        def ask() -> None:
            with client_for(api.url, api.key) as http:
                told.append(http.get(f"/v1/sessions/{session}", params={"wait_s": 30}).status_code)

        caller = threading.Thread(target=ask)
        caller.start()
        eventually(lambda: waits_open(api) == 1, about="a waiting caller")
    caller.join(10)

    assert told == [200]


def test_a_caller_that_left_is_forgotten(sqlite_api):
    session = sqlite_api.create()["id"]
    path = f"/v1/sessions/{session}"

    with pytest.raises(httpx.ReadTimeout):
        sqlite_api.http.get(path, params={"wait_s": 60}, timeout=0.5)

    eventually(lambda: waits_open(sqlite_api) == 0, about="nobody waiting")


@pytest.mark.parametrize("wait_s", ["-1", "61", "nan", "inf", "soon", ""])
def test_a_time_that_cannot_be_waited_is_refused_at_once(sqlite_api, wait_s):
    session = sqlite_api.create()["id"]

    answer = sqlite_api.http.get(f"/v1/sessions/{session}", params={"wait_s": wait_s})

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert answer.json()["errors"][0]["field"] == "wait_s"
