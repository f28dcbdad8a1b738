"""A whole conversation from a phone: start, prompt, question, permission, plan, files, terminate, with a real agent."""

from __future__ import annotations

import asyncio

import pytest

from tests.fixtures.fleet import CALM
from tests.fixtures.mcp_clients import HANDSHAKE, MODERN, SSE, phone

ALL = {"CORRAL_MCP_TOOLS": "corral,poke", "CORRAL_MCP_AGENT": "demo", **CALM}


async def until_asked(caller, session, since=0):
    """Wait as a phone does: again and again, each time behind what it has."""
    while True:
        told = await caller.call("session_wait", sessionId=session, since=since, until="turn", askHuman=False)
        if told["asks"] or told["turn"]["status"] in {"completed", "failed", "cancelled"}:
            return told
        since = told["offset"]


@pytest.mark.parametrize("way", [MODERN, HANDSHAKE, SSE])
def test_a_phone_leads_a_session_from_start_to_end(fleet_on_sqlite, way):
    api = fleet_on_sqlite.up("a", **ALL)

    async def conversation():
        async with phone(api.url, api.key, way) as poke:
            started = await poke.call("start_session", permissionMode="acceptEdits")
            session = {"sessionId": started["sessionId"]}

            await poke.call("send_prompt", **session, prompt="ask Which colour? | blue | green; write colour.txt blue")
            (question,) = (await until_asked(poke, session["sessionId"]))["asks"]
            assert question["data"]["questions"][0]["question"] == "Which colour?"
            await poke.call("answer_question", **session, questionId=question["askId"], answer="blue")
            assert (await until_asked(poke, session["sessionId"]))["turn"]["status"] == "completed"

            await poke.call("send_prompt", **session, prompt="permission Deploy now; say deployed")
            (permission,) = (await until_asked(poke, session["sessionId"]))["asks"]
            decided = await poke.call(
                "respond_to_permission", **session, permissionId=permission["askId"], decision="allow"
            )
            assert decided["decision"] == "allow"
            assert (await until_asked(poke, session["sessionId"]))["turn"]["status"] == "completed"

            await poke.call("send_prompt", **session, prompt="plan Build a bridge; write bridge.txt built")
            assert (await until_asked(poke, session["sessionId"]))["asks"][0]["kind"] == "plan"
            assert (await poke.call("approve_plan", **session, acceptEdits=True))["status"] == "plan_approved"
            assert (await until_asked(poke, session["sessionId"]))["turn"]["status"] == "completed"
            assert (await poke.fail("approve_plan", **session))["error"] == "no_open_plan"

            sent = await poke.call("send_slash_command", **session, command="compact")
            assert sent["command"] == "/compact"
            assert (await until_asked(poke, session["sessionId"]))["turn"]["status"] == "completed"
            lacking = await poke.fail("send_slash_command", **session, command="make-coffee")
            assert lacking["error"] == "unsupported_command"

            assert (await poke.call("list_session_files", **session))["files"] == ["bridge.txt", "colour.txt"]
            assert (await poke.call("read_session_file", **session, path="colour.txt"))["content"] == "blue"
            first = await poke.call("read_message_history", **session)
            assert "deployed" in first["chunks"]
            assert await poke.call("read_message_history", **session) == first

            await poke.call("terminate_session", **session)
            assert (await poke.call("session_kill", **session))["status"] == "ended"
            assert (await poke.call("get_session_info", **session))["session"]["status"] == "terminated"
            stale = await poke.call("list_stale_workspaces")
            assert [one["sessionId"] for one in stale["workspaces"]] == [started["sessionId"]]
            assert (await poke.call("delete_workspace", **session))["status"] == "deleted"
            assert (await poke.call("list_stale_workspaces"))["count"] == 0
            assert (await poke.fail("send_prompt", **session, prompt="hello?"))["error"] == "session_ended"

    asyncio.run(conversation())
