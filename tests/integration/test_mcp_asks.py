"""A human's answer over MCP: a form where the client can show one, asks to answer where it cannot."""

from __future__ import annotations

import asyncio

import pytest
from mcp_types import ElicitResult

from shared.domain.ask import AskKind
from shared.domain.event import Draft, EventType
from shared.domain.tenant import Scope
from tests.fixtures.api import api_running
from tests.fixtures.mcp_clients import HANDSHAKE, MODERN, SSE, WAYS, phone
from tests.fixtures.waiting import eventually_async


@pytest.fixture
def mcp(sqlite_url, valkey_url):
    with api_running(sqlite_url, valkey_url, CORRAL_MCP_TOOLS="corral,poke") as running:
        yield running


def waiting_session(api):
    """A session that waits for a permission."""
    session = api.create()["id"]
    host = api.host(session)
    host.up()
    return session, host, host.ask().id


def status_of(api, ask):
    return api.http.get(f"/v1/asks/{ask}").json()["status"]


def human(*answers, asked=None):
    """Somebody at the client who fills in forms in this order."""
    left = list(answers)

    async def fill(_, params):
        if asked is not None:
            asked.append(params)
        return left.pop(0)

    return fill


@pytest.mark.parametrize("way", [MODERN, SSE])
def test_a_client_that_shows_forms_asks_its_human(mcp, way):
    session, host, ask = waiting_session(mcp)
    asked: list[object] = []
    said = ElicitResult(action="accept", content={"decision": "allow", "message": "go on"})

    async def scene():
        async with phone(mcp.url, mcp.key, way, elicitation_callback=human(said, asked=asked)) as caller:
            async with asyncio.TaskGroup() as group:
                arguments = {"sessionId": session, "since": 10**6, "timeoutMs": 60_000}
                waiting = group.create_task(caller.call("session_wait", **arguments))
                await eventually_async(lambda: status_of(mcp, ask) == "answered", about="an answer")
                host.tell(Draft(EventType.MESSAGE, {"text": "done as allowed"}))
                host.end()
            return waiting.result()

    told = asyncio.run(scene())

    assert told["asks"] == []
    assert asked[0].message == 'The agent asks to use Bash: {"command": "ls"}'
    assert asked[0].requested_schema["properties"]["decision"]["enum"] == ["allow", "allow_always", "deny"]
    answered = mcp.http.get(f"/v1/asks/{ask}").json()
    assert answered["answer"] == {"decision": "allow", "message": "go on"}
    assert answered["answered_via"] == "mcp"


@pytest.mark.parametrize("way", WAYS)
def test_a_client_without_forms_is_handed_what_waits(mcp, way):
    session, _, ask = waiting_session(mcp)

    async def scene():
        async with phone(mcp.url, mcp.key, way) as caller:
            told = await caller.call("session_wait", sessionId=session, since=10**6, timeoutMs=60_000)
            listed = await caller.call("session_asks")
            answered = await caller.call("session_answer", askId=told["asks"][0]["askId"], decision="deny")
            late = await caller.fail("session_answer", askId=ask, decision="allow")
            return told, listed, answered, late

    told, listed, answered, late = asyncio.run(scene())

    assert [one["askId"] for one in told["asks"]] == [one["askId"] for one in listed["asks"]] == [ask]
    assert (answered["status"], answered["answer"]) == ("answered", {"decision": "deny"})
    assert (late["error"], late["details"]["answered_via"]) == ("ask_closed", "mcp")


def test_a_stateless_handshake_has_no_way_back_to_the_human_and_says_so_by_handing_over(mcp):
    session, _, ask = waiting_session(mcp)

    async def scene():
        fill = human(ElicitResult(action="accept", content={"decision": "allow"}))
        async with phone(mcp.url, mcp.key, HANDSHAKE, elicitation_callback=fill) as caller:
            return await caller.call("session_wait", sessionId=session, timeoutMs=60_000)

    assert asyncio.run(scene())["asks"][0]["askId"] == ask
    assert status_of(mcp, ask) == "open"


@pytest.mark.parametrize(
    ("action", "status", "answer"), [("decline", "answered", {"decision": "deny"}), ("cancel", "open", None)]
)
@pytest.mark.parametrize("way", [MODERN, SSE])
def test_a_human_who_refuses_the_form_denies_and_one_who_shuts_it_leaves_the_ask_open(mcp, way, action, status, answer):
    session, _, ask = waiting_session(mcp)

    async def scene():
        fill = human(ElicitResult(action=action))
        async with phone(mcp.url, mcp.key, way, elicitation_callback=fill) as caller:
            return await caller.call("session_wait", sessionId=session, since=10**6, timeoutMs=1)

    asyncio.run(scene())

    now = mcp.http.get(f"/v1/asks/{ask}").json()
    assert (now["status"], now["answer"]) == (status, answer)


def test_a_form_with_what_cannot_be_is_refused_like_any_answer(mcp):
    session, _, ask = waiting_session(mcp)

    async def scene():
        fill = human(ElicitResult(action="accept", content={"decision": "perhaps"}))
        async with phone(mcp.url, mcp.key, MODERN, elicitation_callback=fill) as caller:
            return await caller.fail("session_wait", sessionId=session, timeoutMs=1000)

    assert asyncio.run(scene())["errors"][0]["field"] == "decision"
    assert status_of(mcp, ask) == "open"


def test_a_key_that_may_only_read_shows_no_form_and_answers_nothing(mcp):
    session, _, ask = waiting_session(mcp)
    reader = mcp.client(Scope.READ).headers["authorization"].removeprefix("Bearer ")

    async def scene():
        fill = human(ElicitResult(action="accept", content={"decision": "allow"}))
        async with phone(mcp.url, reader, MODERN, elicitation_callback=fill) as caller:
            return await caller.call("session_wait", sessionId=session, timeoutMs=60_000)

    assert asyncio.run(scene())["asks"][0]["askId"] == ask
    assert status_of(mcp, ask) == "open"


def test_a_model_may_keep_the_asks_for_itself(mcp):
    session, _, ask = waiting_session(mcp)

    async def scene():
        async with phone(mcp.url, mcp.key, MODERN, elicitation_callback=human()) as caller:
            return await caller.call("session_wait", sessionId=session, timeoutMs=60_000, askHuman=False)

    assert asyncio.run(scene())["asks"][0]["askId"] == ask


def test_a_plan_of_another_kind_of_ask_is_not_approved(mcp):
    session, host, ask = waiting_session(mcp)
    host.ask(AskKind.QUESTION)

    async def scene():
        async with phone(mcp.url, mcp.key) as caller:
            return await caller.fail("approve_plan", sessionId=session)

    assert asyncio.run(scene())["error"] == "no_open_plan"
    assert status_of(mcp, ask) == "open"
