"""An agent without a network goes out through its session's proxy alone, and a human opens domains while it works."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace

import pytest

from shared.domain.domains import AllowList
from shared.domain.session import Limits, Mode
from tests.fixtures.cut import NetworkCut
from tests.fixtures.egress import GOOD, names, reaching, serving
from tests.fixtures.hosts import Stage, hosting, play
from workers.host.egress.policy import Policy
from workers.host.egress.request import Authority

pytestmark = pytest.mark.timeout(60)

DIRECT = 'import socket\\; socket.create_connection(("%s", %s), 5)'


def held(policy: Policy, leading: dict[str, list[list[str]]]):
    """A world whose agents are held to `policy`, its volume's walls cutting the network."""
    return {"egress": replace(policy, networks=reaching(GOOD)), "resolve": names(leading), "walls": NetworkCut()}


def test_a_blocked_domain_is_asked_for_and_opens_at_once_for_the_session(sqlite_url, tmp_path):
    async def story(stage: Stage):
        async with serving(GOOD) as good:
            there, elsewhere = f"http://new.test:{good.port}/", f"http://{GOOD}:{good.port}/"
            session = stage.session(prompt=f"fetch {there}; fetch {there}; fetch {elsewhere}", mode=Mode.INTERACTIVE)
            asked = await stage.event(session, "permission_request")
            await stage.status(session, "waiting")
            stage.answer(asked["ask_id"], {"decision": "allow"})
            await stage.event(session, "turn_ended")
            return asked, stage.log(session), len(good.heard), good.port

    asked, log, heard, port = play(sqlite_url, tmp_path, story, **held(Policy(), {"new.test": [[GOOD]]}))

    assert (asked["tool_name"], asked["domain"], asked["port"]) == ("Network", "new.test", port)
    results = [data["output"] for kind, data in log if kind == "tool_result"]
    assert [output.split(" ")[0] for output in results] == ["200", "200", "403"]
    assert heard == 2
    assert [kind for kind, _ in log].count("permission_request") == 1
    blocked = [data for kind, data in log if kind == "notice"]
    assert [(one["kind"], one["host"], one["port"], one["reason"]) for one in blocked] == [
        ("network_blocked", GOOD, port, "no_name")
    ]
    assert [data["status"] for kind, data in log if kind == "ask_resolved"] == ["applied"]


def test_what_was_said_of_a_domain_outlives_the_agent(sqlite_url, tmp_path):
    async def story(stage: Stage):
        async with serving(GOOD) as good:
            prompt = f"fetch http://new.test:{good.port}/; fetch https://no.test/"
            session = stage.session(prompt=prompt, mode=Mode.INTERACTIVE, limits=Limits(idle_s=0.1))
            for count, said in ((1, "allow"), (2, "deny")):
                asked = await stage.event(session, "permission_request", count)
                stage.answer(asked["ask_id"], {"decision": said})
            await stage.event(session, "turn_ended")
            await stage.status(session, "parked")
            stage.prompt(session, prompt)
            await stage.event(session, "turn_ended", 2)
            return [data["output"] for data in stage.told(session, "tool_result")], stage.types(session)

    results, types = play(sqlite_url, tmp_path, story, **held(Policy(), {"new.test": [[GOOD]]}))

    assert [result.split(" ")[0] == "200" for result in results] == [True, False, True, False]
    assert "403" in results[1]
    assert "403" in results[3]
    assert types.count("permission_request") == 2


def test_without_a_human_to_ask_only_lists_open_and_no_other_way_is_there(sqlite_url, tmp_path):
    async def story():
        async with serving(GOOD) as good, serving("127.0.0.1") as model:
            listed = AllowList.read([f"everyone.test:{good.port}"])
            policy = Policy(listed, named=frozenset({Authority("127.0.0.1", model.port)}))
            leading = {f"{name}.test": [[GOOD]] for name in ("everyone", "session", "other")}
            tried = [
                *(f"fetch http://{name}.test:{good.port}/" for name in ("everyone", "session", "other", "other")),
                # The operator's own, at the same port of the agent's loopback; nothing else of this machine is there.
                f"fetch http://127.0.0.1:{model.port}/",
                f"run {sys.executable} -c '{DIRECT % (GOOD, good.port)}'",
            ]
            async with hosting(sqlite_url, tmp_path, **held(policy, leading)) as stage:
                domains = (f"session.test:{good.port}",)
                session = stage.session(prompt="; ".join(tried), mode=Mode.BYPASS, allowed_domains=domains)
                await stage.event(session, "turn_ended")
                return stage.log(session), len(good.heard), len(model.heard)

    log, heard, model = asyncio.run(story())

    results = [data["output"] for kind, data in log if kind == "tool_result"]
    assert [output.split(" ")[0] for output in results[:5]] == ["200", "200", "403", "403", "200"]
    assert "Connection refused" in results[5]
    assert (heard, model) == (2, 1)
    assert [data["host"] for kind, data in log if kind == "notice"] == ["other.test"]


def test_a_list_that_no_wall_holds_is_refused_at_the_start(sqlite_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session(prompt="say hello", allowed_domains=("example.org",))
        return await stage.event(session, "session_ended")

    ended = play(sqlite_url, tmp_path, story)

    assert ended["reason"] == "start_failed"
    assert "allowed_domains" in ended["detail"]
