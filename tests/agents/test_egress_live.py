"""The real Claude Code without a network: its model through the operator's door, the web through its proxy."""

from __future__ import annotations

import asyncio

import pytest

from shared.domain.session import Mode
from tests.fixtures.agents import claude_program
from tests.fixtures.cut import NetworkCut
from tests.fixtures.egress import GOOD, names, reaching, serving
from tests.fixtures.hosts import hosting
from workers.host.egress import policy
from workers.host.egress.policy import Policy

pytestmark = pytest.mark.timeout(120)


def test_claude_reaches_its_model_and_asks_for_the_web(sqlite_url, tmp_path, claude_binary, model_server):
    program = claude_program(claude_binary, model_server)
    held = Policy(networks=reaching(GOOD), named=policy.named_by(program.environment, []))

    async def story():
        async with (
            serving(GOOD) as good,
            hosting(
                sqlite_url,
                tmp_path,
                agents={"claude": {"ready": True}},
                commands={"claude": str(claude_binary)},
                child_env=dict(program.environment),
                egress=held,
                resolve=names({"new.test": [[GOOD]]}),
                walls=NetworkCut(),
                agent_start_s=60.0,
            ) as stage,
        ):
            prompt = f"[[bash:curl -sS http://new.test:{good.port}/]]"
            session = stage.session(prompt=prompt, agent="claude", mode=Mode.INTERACTIVE)
            asked = []
            while "Network" not in asked:
                ask = await stage.event(session, "permission_request", len(asked) + 1, timeout_s=60)
                asked.append(ask["tool_name"])
                stage.answer(ask["ask_id"], {"decision": "allow"})
            await stage.event(session, "turn_ended", timeout_s=60)
            return asked, stage.log(session), len(good.heard)

    asked, log, heard = asyncio.run(story())

    assert asked == ["Bash", "Network"]
    assert [data["output"] for kind, data in log if kind == "tool_result"] == ["ok"]
    assert heard == 1
    assert dict(log)["turn_ended"]["status"] == "completed"
    # Nothing it does by itself needs leave.
    assert [data for kind, data in log if kind == "notice" and data["kind"] == "network_blocked"] == []
