"""MCP: whatever client, version and transport, the same operations with the same keys, and the truth told."""

from __future__ import annotations

import asyncio
import json
import time

import httpx
import pytest

from shared.domain.event import Draft, EventType
from shared.domain.tenant import Scope
from shared.settings.entry import SettingError
from tests.fixtures.api import api_running
from tests.fixtures.mcp_clients import HANDSHAKE, MODERN, WAYS, modern_request, phone
from tests.fixtures.waiting import eventually_async

ACCEPT = {"Accept": "application/json, text/event-stream"}


@pytest.fixture
def mcp(sqlite_url, valkey_url):
    with api_running(sqlite_url, valkey_url, CORRAL_MCP_TOOLS="corral,poke", CORRAL_MCP_AGENT="demo") as running:
        yield running


def post(api, method, params=None, *, headers=None, client=None):
    """One request of the newest protocol, without an SDK."""
    named, body = modern_request(method, params or {})
    return (client or api.http).post("/mcp", json=body, headers={**named, **(headers or {})})


def handshake_request(api, method, params):
    """One request of a 2025 client, without having shaken hands with this process."""
    answer = api.http.post(
        "/mcp",
        json={"jsonrpc": "2.0", "id": 1, "method": method, "params": params},
        headers={**ACCEPT, "MCP-Protocol-Version": "2025-11-25"},
    )
    assert answer.status_code == 200, answer.text
    data = next(line for line in answer.text.splitlines() if line.startswith("data: "))
    return json.loads(data.removeprefix("data: "))


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_speaking_reaches_the_same_tools(mcp, way):
    async def scene():
        async with phone(mcp.url, mcp.key, way) as caller:
            listed = (await caller.client.list_tools()).tools
            started = await caller.call("session_start", waitMs=0)
            shown = await caller.call("session_list")
            return {tool.name for tool in listed}, started, shown

    names, started, shown = asyncio.run(scene())

    assert {"session_start", "session_wait", "start_session", "read_session_file"} <= names
    assert [one["sessionId"] for one in shown["sessions"]] == [started["sessionId"]]
    assert mcp.http.get(f"/v1/sessions/{started['sessionId']}").json()["agent"] == "demo"


def test_no_request_needs_another_before_it(mcp):
    modern = post(mcp, "tools/call", {"name": "session_list", "arguments": {}}).json()
    older = handshake_request(mcp, "tools/call", {"name": "session_list", "arguments": {}})

    assert (
        modern["result"]["structuredContent"]
        == older["result"]["structuredContent"]
        == {
            "sessions": [],
            "nextCursor": None,
        }
    )


def test_there_is_no_session_to_get_or_delete(mcp):
    for method in ("GET", "DELETE"):
        answer = mcp.http.request(method, "/mcp", headers=ACCEPT)

        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("path", ["/mcp", "/messages?session_id=00", "/sse"])
def test_without_a_key_nobody_gets_in(mcp, path):
    method = "GET" if path == "/sse" else "POST"

    answer = httpx.request(method, f"{mcp.url}{path}", headers=ACCEPT)

    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_key_sees_and_does_what_its_scopes_allow(mcp):
    reader = mcp.client(Scope.READ)
    session = mcp.create()["id"]

    listed = post(mcp, "tools/list", client=reader).json()["result"]["tools"]
    call = {"name": "session_kill", "arguments": {"sessionId": session}}
    refused = post(mcp, "tools/call", call, client=reader).json()["result"]

    assert {"session_wait", "read_file"} <= {tool["name"] for tool in listed}
    assert all(tool["annotations"]["readOnlyHint"] for tool in listed)
    assert refused["isError"]
    assert json.loads(refused["content"][0]["text"])["error"] == "forbidden"
    assert mcp.http.get(f"/v1/sessions/{session}").json()["status"] == "starting"


def test_a_foreign_session_does_not_exist(mcp):
    session = mcp.create()["id"]
    stranger = mcp.client(tenant="ten_other").headers["authorization"].removeprefix("Bearer ")

    async def scene():
        async with phone(mcp.url, stranger) as caller:
            named = {"sessionId": session}
            calls = [
                ("session_get", named),
                ("session_wait", named),
                ("session_kill", named),
                ("send_prompt", {**named, "prompt": "hello"}),
                ("read_session_file", {**named, "path": "x"}),
                ("delete_workspace", named),
            ]
            return [(await caller.fail(name, **arguments))["error"] for name, arguments in calls]

    assert asyncio.run(scene()) == ["not_found"] * 6


def test_ids_are_looked_up_and_never_paths(mcp):
    async def scene():
        async with phone(mcp.url, mcp.key) as caller:
            for name in ("read_session_file", "get_session_file_info"):
                told = await caller.fail(name, sessionId="../../../..", path="etc/hostname")
                assert told["error"] == "not_found"
            assert (await caller.fail("delete_workspace", sessionId="../victim"))["error"] == "not_found"
            assert (await caller.fail("read_file", path="/etc/hostname"))["error"] == "no_session_holds_path"

    asyncio.run(scene())


def test_an_ask_of_another_session_cannot_be_answered_in_this_ones_name(mcp):
    mine, other = mcp.create()["id"], mcp.create()["id"]
    ask = mcp.host(other).ask()

    async def scene():
        async with phone(mcp.url, mcp.key) as caller:
            return await caller.fail("respond_to_permission", sessionId=mine, permissionId=ask.id, decision="allow")

    assert asyncio.run(scene())["error"] == "not_found"
    assert mcp.http.get(f"/v1/asks/{ask.id}").json()["status"] == "open"


def test_bad_arguments_are_told_where_the_model_reads_them(mcp):
    async def scene():
        async with phone(mcp.url, mcp.key) as caller:
            return (
                await caller.fail("session_send", sessionId="ses_x", message="  ", wenBusy="queue"),
                await caller.fail("session_start", cwd="relative/path"),
                await caller.fail("start_session", permissionMode="bypassPermissions"),
                await caller.fail("session_start", agent="nobody"),
            )

    sent, relative, bypass, unknown = asyncio.run(scene())

    assert sent["error"] == "invalid_request"
    assert {one["field"] for one in sent["errors"]} == {"message", "wenBusy"}
    assert relative["errors"] == [{"field": "workspace.path", "message": "must be absolute, such as /srv/projects/app"}]
    assert bypass["error"] == "unsupported"
    assert unknown["error"] == "unknown_agent"
    assert mcp.http.get("/v1/sessions").json()["data"] == []


def test_an_unknown_tool_is_an_error_of_the_protocol(mcp):
    answer = post(mcp, "tools/call", {"name": "rm_rf", "arguments": {}})

    assert answer.json()["error"]["code"] == -32602


def test_a_wait_wakes_with_the_first_line(mcp):
    session = mcp.create()["id"]
    host = mcp.host(session)
    host.up()

    async def scene():
        async with phone(mcp.url, mcp.key) as caller:
            seen: list[str | None] = []

            async def note(progress, total, message):
                seen.append(message)

            before = await caller.call("session_output", sessionId=session)
            arguments = {"sessionId": session, "since": before["offset"], "timeoutMs": 60_000}
            async with asyncio.TaskGroup() as group:
                waiting = group.create_task(caller.client.call_tool("session_wait", arguments, progress_callback=note))
                await eventually_async(lambda: waits_open(mcp) == 1, about="a wait")
                said = time.monotonic()
                host.tell(Draft(EventType.NOTICE, {"text": "nothing to see"}))
                await eventually_async(lambda: seen, about="progress")
                host.tell(Draft(EventType.MESSAGE, {"text": "here I am"}))
                told = (await waiting).structured_content
            return told, time.monotonic() - said, seen

    told, waited_s, seen = asyncio.run(scene())

    assert told["output"] == "here I am"
    assert waited_s < 20, "far from the minute it might have waited"
    assert seen[0] == "notice"


def test_a_wait_tells_nothing_to_a_key_that_was_revoked_meanwhile(mcp):
    session = mcp.create()["id"]
    host = mcp.host(session)
    host.up()
    made = mcp.http.post("/v1/keys", json={"name": "leaving", "scopes": ["read"]}).json()

    async def scene():
        async with phone(mcp.url, made["key"]) as caller, asyncio.TaskGroup() as group:
            arguments = {"sessionId": session, "since": 1, "timeoutMs": 60_000}
            waiting = group.create_task(caller.fail("session_wait", **arguments))
            await eventually_async(lambda: waits_open(mcp) == 1, about="a wait")
            assert mcp.http.delete(f"/v1/keys/{made['id']}").status_code == 204
            host.tell(Draft(EventType.MESSAGE, {"text": "a secret"}))
            return await waiting

    assert asyncio.run(scene())["error"] == "unauthenticated"


def waits_open(api):
    line = next(line for line in api.http.get("/metrics").text.splitlines() if line.startswith("corral_waits_open "))
    return float(line.split()[1])


def test_offsets_are_absolute_and_what_is_gone_is_counted(mcp):
    session = mcp.create()["id"]
    host = mcp.host(session)
    host.chunks(11_000)

    async def scene():
        async with phone(mcp.url, mcp.key) as caller:
            first = await caller.call("session_output", sessionId=session, maxLines=10)
            last = await caller.call("session_output", sessionId=session, since=10_995)
            beyond = await caller.call("session_output", sessionId=session, since=99_999)
            return first, last, beyond

    first, last, beyond = asyncio.run(scene())

    assert (first["dropped"], first["first"], first["offset"], first["hasMore"]) == (1000, 1000, 1010, True)
    assert first["output"].splitlines()[0] == f"{1000:010d}"
    assert (last["offset"], last["dropped"], last["hasMore"]) == (11_000, 0, False)
    assert len(last["output"].splitlines()) == 5
    assert (beyond["output"], beyond["offset"]) == ("", 11_000)


def test_one_failure_of_a_batch_harms_no_other(mcp):
    session, ended = mcp.create()["id"], mcp.create()["id"]
    mcp.http.post(f"/v1/sessions/{ended}/terminate")

    async def scene():
        async with phone(mcp.url, mcp.key) as caller:
            prompts = [{"sessionId": one, "prompt": "go"} for one in (ended, session, "../x")]
            sent = await caller.call("batch_send_prompts", prompts=prompts)
            infos = await caller.call("batch_get_session_info", sessionIds=[session, "ses_none"])
            return sent, infos

    sent, infos = asyncio.run(scene())

    assert [one["status"] for one in sent["results"]] == ["error", "prompt_sent", "error"]
    assert sent["results"][0]["error"].startswith("session_ended: ")
    assert sent["summary"] == {"successful": 1, "failed": 2, "total": 3}
    assert infos["summary"] == {"found": 1, "notFound": 1, "total": 2}
    assert mcp.http.get(f"/v1/sessions/{session}/turns").json()["data"][0]["source"] == "mcp"


def test_what_does_not_exist_is_not_invented(mcp):
    mcp.host(mcp.create()["id"])
    session = mcp.create()["id"]

    async def scene():
        async with phone(mcp.url, mcp.key) as caller:
            stats = await caller.call("get_pool_stats")
            server = {"sessionId": session, "name": "x", "config": {"type": "stdio", "command": "x"}}
            return stats, await caller.fail("add_mcp_server", **server)

    stats, refused = asyncio.run(scene())

    assert stats["capacity"] == 100
    assert "warm" not in stats
    assert refused["error"] == "unsupported"


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Host": "evil.example"}, 421, "foreign_host"),
        ({"Origin": "https://evil.example"}, 403, "foreign_origin"),
        ({"Host": "corral.example:8420"}, 200, None),
        ({"Origin": "https://ui.example"}, 200, None),
        ({"Origin": "http://localhost:6274"}, 200, None),
    ],
)
def test_only_hosts_and_origins_the_operator_allows_get_in(sqlite_url, valkey_url, headers, status, code):
    named = {"CORRAL_MCP_HOSTS": "corral.example:*", "CORRAL_PUBLIC_URL": "https://ui.example"}
    with api_running(sqlite_url, valkey_url, **named) as api:
        answer = post(api, "tools/list", headers=headers)

    assert answer.status_code == status
    assert answer.json().get("code") == code


def test_the_rate_limit_counts_tools_as_it_counts_requests(sqlite_url, valkey_url):
    with api_running(sqlite_url, valkey_url, CORRAL_RATE_LIMIT="2") as api:
        answers = [post(api, "tools/list").status_code for _ in range(2)]
        limited = post(api, "tools/list")

    assert answers == [200, 200]
    assert (limited.status_code, limited.json()["code"]) == (429, "rate_limited")
    assert int(limited.headers["retry-after"]) > 0


def test_a_tool_nobody_knows_stops_the_start(sqlite_url, valkey_url):
    with (
        pytest.raises(SettingError, match="CORRAL_MCP_TOOLS: there is no tool or family 'pook'"),
        api_running(sqlite_url, valkey_url, CORRAL_MCP_TOOLS="pook"),
    ):
        pass


def test_switched_off_there_is_no_mcp(sqlite_url, valkey_url):
    with api_running(sqlite_url, valkey_url, CORRAL_MCP_TOOLS="none") as api:
        assert [post(api, "tools/list").status_code, api.http.get("/sse").status_code] == [404, 404]


def test_the_operator_chooses_what_is_shown(sqlite_url, valkey_url):
    with api_running(sqlite_url, valkey_url, CORRAL_MCP_TOOLS="pokeclaw,get_pool_stats") as api:
        names = [tool["name"] for tool in post(api, "tools/list").json()["result"]["tools"]]
        hidden = post(api, "tools/call", {"name": "start_session", "arguments": {}}).json()

    assert sorted(names) == sorted(
        [
            "session_start", "session_send", "session_output", "session_wait", "session_list", "session_kill",
            "read_file", "list_directory", "get_pool_stats",
        ]
    )  # fmt: skip
    assert hidden["error"]["code"] == -32602


@pytest.mark.parametrize("way", [MODERN, HANDSHAKE])
def test_a_body_beyond_the_limit_is_refused(sqlite_url, valkey_url, way):
    with api_running(sqlite_url, valkey_url, CORRAL_BODY_LIMIT="2000") as api:
        named, body = modern_request("tools/call", {"name": "session_list", "arguments": {"x": "y" * 3000}})
        if way == HANDSHAKE:
            named["MCP-Protocol-Version"] = "2025-11-25"
        answer = api.http.post("/mcp", json=body, headers=named)

    assert answer.status_code == 413
