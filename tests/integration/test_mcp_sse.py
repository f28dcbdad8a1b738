"""The older MCP transport: its stream lives in one process, for one key, and ends in good order."""

from __future__ import annotations

import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor

import httpx

from shared.domain.tenant import Scope
from tests.fixtures.api import api_running
from tests.fixtures.mcp_clients import SSE, phone
from tests.fixtures.waiting import eventually

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {"name": "old", "version": "1"}},
}


def opened(client, api):
    """An open stream and where its messages go."""
    stream = client.stream("GET", f"{api.url}/sse")
    answer = stream.__enter__()
    lines = answer.iter_lines()
    assert next(lines) == "event: endpoint"
    return stream, lines, next(lines).removeprefix("data: ")


def streams_open(api):
    text = api.http.get("/metrics").text
    line = next(line for line in text.splitlines() if line.startswith("corral_mcp_streams_open "))
    return float(line.split()[1])


def test_messages_of_another_key_or_another_process_find_no_stream(sqlite_url, valkey_url):
    with api_running(sqlite_url, valkey_url) as here, api_running(sqlite_url, valkey_url) as there:
        stream, lines, path = opened(here.http, here)
        stranger = here.client(Scope.READ)
        elsewhere = there.http.post(path, json=INITIALIZE, headers={"Authorization": f"Bearer {here.key}"})
        foreign = stranger.post(path, json=INITIALIZE)
        mine = here.http.post(path, json=INITIALIZE)
        answer = next(line for line in lines if line.startswith("data: "))
        stream.__exit__(None, None, None)

    assert (elsewhere.status_code, elsewhere.json()["code"]) == (404, "stream_elsewhere")
    assert (foreign.status_code, foreign.json()["code"]) == (404, "stream_elsewhere")
    assert mine.status_code == 202
    assert json.loads(answer.removeprefix("data: "))["result"]["serverInfo"]["name"] == "corral"


def test_a_process_serves_so_many_streams_and_takes_a_place_back(sqlite_url, valkey_url):
    with api_running(sqlite_url, valkey_url, CORRAL_MCP_STREAMS="1") as api:
        # httpx shuts a stream whose lines nobody holds any more.
        stream, _lines, _ = opened(api.http, api)
        full = api.http.get("/sse")
        stream.__exit__(None, None, None)
        eventually(lambda: streams_open(api) == 0, about="the place is free")
        again, _, path = opened(api.http, api)
        again.__exit__(None, None, None)

    assert (full.status_code, full.json()["code"]) == (503, "too_many_streams")
    assert path.startswith("/messages?session_id=")


def test_streams_and_waits_end_when_the_process_stops(sqlite_url, valkey_url):
    told: list[object] = []

    async def wait(api, session):
        async with phone(api.url, api.key) as caller:
            # The client holds answers against the schema, which it could not ask for later.
            await caller.client.list_tools()
            told.append(await caller.call("session_wait", sessionId=session, since=10, timeoutMs=60_000))

    with httpx.Client(timeout=60) as client, ThreadPoolExecutor(2) as pool:
        with api_running(sqlite_url, valkey_url) as api:
            client.headers["Authorization"] = f"Bearer {api.key}"
            session = api.create()["id"]
            _stream, lines, _ = opened(client, api)
            reading = pool.submit(list, lines)
            waiting = pool.submit(asyncio.run, wait(api, session))
            eventually(lambda: "corral_waits_open 1.0" in api.http.get("/metrics").text, about="a wait")
            stopping = time.monotonic()
        # Both were ended in good order, not cut off.
        reading.result(10)
        waiting.result(10)
        assert time.monotonic() - stopping < 30, "far from the minute it might have waited"

    assert told[0]["sessionId"] == session


def test_an_older_client_leads_a_session(sqlite_url, valkey_url):
    async def scene(api):
        async with phone(api.url, api.key, SSE) as caller:
            started = await caller.call("session_start", agent="demo", waitMs=0)
            assert (await caller.call("session_kill", sessionId=started["sessionId"]))["status"] == "ended"
            return caller.client.session.protocol_version

    with api_running(sqlite_url, valkey_url) as api:
        assert asyncio.run(scene(api)) == "2025-11-25"
