"""A whole conversation from a phone with the real Claude Code: every step is a tool call of the official MCP client."""

from __future__ import annotations

import asyncio

from tests.fixtures.mcp_clients import phone


async def until_asked(caller, session):
    """Wait as a phone does: again and again, each time behind what it has."""
    since = 0
    while True:
        told = await caller.call("session_wait", sessionId=session, since=since, until="turn", askHuman=False)
        if told["asks"] or told["turn"]["status"] in {"completed", "failed", "cancelled"}:
            return told
        since = told["offset"]


def test_a_phone_leads_claude_from_start_to_end(house):
    async def conversation():
        async with phone(house.client.url, house.client.key) as poke:
            started = await poke.call("start_session")
            session = {"sessionId": started["sessionId"]}

            await poke.call("send_prompt", **session, prompt="[[ask]]")
            (question,) = (await until_asked(poke, started["sessionId"]))["asks"]
            assert question["data"]["questions"][0]["question"] == "Which database should we use?"
            await poke.call("answer_question", **session, questionId=question["askId"], answer="Postgres")
            assert (await until_asked(poke, started["sessionId"]))["turn"]["status"] == "completed"

            await poke.call("send_prompt", **session, prompt="[[bash:echo blue > colour.txt]]")
            (permission,) = (await until_asked(poke, started["sessionId"]))["asks"]
            assert permission["data"]["input"]["command"] == "echo blue > colour.txt"
            await poke.call("respond_to_permission", **session, permissionId=permission["askId"], decision="allow")
            assert (await until_asked(poke, started["sessionId"]))["turn"]["status"] == "completed"

            await poke.call("enter_plan_mode", **session)
            await poke.call("send_prompt", **session, prompt="[[plan]]")
            assert (await until_asked(poke, started["sessionId"]))["asks"][0]["kind"] == "plan"
            assert (await poke.call("approve_plan", **session))["status"] == "plan_approved"
            assert (await until_asked(poke, started["sessionId"]))["turn"]["status"] == "completed"

            assert "colour.txt" in (await poke.call("list_session_files", **session))["files"]
            assert (await poke.call("read_session_file", **session, path="colour.txt"))["content"] == "blue\n"
            await poke.call("terminate_session", **session)
            assert (await poke.call("session_kill", **session))["status"] == "ended"
            assert (await poke.fail("send_prompt", **session, prompt="hello?"))["error"] == "session_ended"

    asyncio.run(conversation())
