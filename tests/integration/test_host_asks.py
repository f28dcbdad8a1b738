"""Asks of a hosted session: each is told once, reaches the agent or is closed, and stops the clocks meanwhile."""

from __future__ import annotations

import asyncio

import pytest

from shared.agents.driver import AskOpen
from shared.domain.ask import AskKind
from shared.domain.ids import AskId
from shared.domain.input import InputKind
from shared.domain.session import Limits, Mode, SessionStatus
from shared.store import asks, heads
from shared.store.database import Database
from tests.fixtures.hosts import Stage, play
from tests.fixtures.store_rows import ACME, T0, add_session, add_tenants
from workers.host import facts
from workers.host.pending import Pending

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def db(database_url):
    database = Database(database_url)
    with database.write() as connection:
        add_tenants(connection)
    yield database
    database.close()


def row(stage, ask):
    with stage.database.read() as connection:
        return asks.get_any(connection, AskId(ask))


def test_an_allowed_permission_reaches_the_agent_and_the_turn_goes_on(database_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session(prompt="run echo done", mode=Mode.INTERACTIVE)
        asked = await stage.event(session, "permission_request")
        await stage.status(session, "waiting")
        stage.answer(asked["ask_id"], {"decision": "allow"})
        await stage.event(session, "session_idle")
        return asked, stage.log(session), row(stage, asked["ask_id"])

    asked, log, ask = play(database_url, tmp_path, story)

    assert asked["tool_name"] == "Bash"
    assert asked["expires_at"] > "2026"
    (resolved,) = [data for kind, data in log if kind == "ask_resolved"]
    assert resolved == {"ask_id": asked["ask_id"], "kind": "permission", "status": "applied"}
    assert ask.status == "applied"
    assert dict(log)["tool_result"]["output"].startswith("done\n")
    assert dict(log)["turn_ended"]["status"] == "completed"


def test_a_session_that_asks_between_two_turns_waits_and_then_is_idle_again(db):
    pending = Pending(300.0)
    with db.write() as connection:
        session = add_session(connection)
        heads.set_status(connection, session, SessionStatus.IDLE)
        said = AskOpen("1", AskKind.PERMISSION, {"tool_name": "Bash", "input": {}})
        ask = pending.open(said, session, None, at=T0, now=0.0)
        seen = []
        for fact in (facts.ask_opens(ask, ACME), facts.goes_on(session, None)):
            for effect in fact.effects:
                effect(connection)
            seen.append(heads.get(connection, session).status)

    assert seen == [SessionStatus.WAITING, SessionStatus.IDLE]


def test_a_denied_permission_still_ends_the_turn(sqlite_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session(prompt="run echo done; say after", mode=Mode.INTERACTIVE)
        asked = await stage.event(session, "permission_request")
        stage.answer(asked["ask_id"], {"decision": "deny", "message": "not today"})
        await stage.event(session, "turn_ended")
        return stage.told(session, "tool_result"), stage.told(session, "turn_ended")

    (result,), (ended,) = play(sqlite_url, tmp_path, story)

    assert (result["is_error"], "not today" in result["output"]) == (True, True)
    assert ended["status"] == "completed"


def test_a_question_is_answered(sqlite_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session(prompt="ask Which colour? | blue | green")
        asked = await stage.event(session, "question")
        stage.answer(asked["ask_id"], {"answers": {"Which colour?": "green"}})
        return asked, await stage.event(session, "turn_ended")

    asked, ended = play(sqlite_url, tmp_path, story)

    assert asked["questions"][0]["question"] == "Which colour?"
    assert "green" in ended["result_text"]


def test_an_approved_plan_changes_the_mode(database_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session(prompt="plan # Do it; mode", mode=Mode.PLAN)
        asked = await stage.event(session, "plan_proposed")
        stage.answer(asked["ask_id"], {"verdict": "approve", "next_mode": "accept_edits"})
        ended = await stage.event(session, "turn_ended")
        return asked, ended, stage.log(session), stage.stored(session)

    asked, ended, log, session = play(database_url, tmp_path, story)

    assert asked["plan"] == "# Do it"
    assert "accept_edits" in ended["result_text"]
    assert ("mode_changed", {"mode": "accept_edits"}) in log
    assert ("plan_mode_change", {"in_plan_mode": False}) in log
    assert session.spec.mode is Mode.ACCEPT_EDITS


def test_an_ask_nobody_answers_expires_as_a_denial(database_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session(prompt="run echo done; say after", mode=Mode.INTERACTIVE, ask_timeout_s=0.4)
        ended = await stage.event(session, "turn_ended")
        (asked,) = stage.told(session, "permission_request")
        return ended, stage.log(session), row(stage, asked["ask_id"])

    ended, log, ask = play(database_url, tmp_path, story)

    (resolved,) = [data for kind, data in log if kind == "ask_resolved"]
    assert (resolved["status"], resolved["reason"]) == ("expired", "expired")
    assert ask.status == "expired"
    assert dict(log)["tool_result"]["is_error"] is True
    assert ended["status"] == "completed"


def test_an_ask_without_a_time_out_waits_and_the_clocks_stand_still(sqlite_url, tmp_path):
    async def story(stage: Stage):
        limits = Limits(turn_s=3.0, idle_s=0.3)
        session = stage.session(prompt="run echo done", mode=Mode.INTERACTIVE, ask_timeout_s=0, limits=limits)
        asked = await stage.event(session, "permission_request")
        began = asyncio.get_running_loop().time()
        await stage.until(lambda: asyncio.get_running_loop().time() - began > 3.5)
        kinds = stage.types(session)
        stage.answer(asked["ask_id"], {"decision": "allow"})
        return asked, kinds, await stage.event(session, "turn_ended")

    asked, kinds, ended = play(sqlite_url, tmp_path, story)

    assert "expires_at" not in asked
    assert kinds[-1] == "permission_request"
    assert ended["status"] == "completed"


@pytest.mark.parametrize("prompt", ["run echo done", "ask Which? | a | b", "plan # Do it"])
def test_a_cancel_closes_the_ask_and_ends_the_turn(sqlite_url, tmp_path, prompt):
    async def story(stage: Stage):
        session = stage.session(mode=Mode.INTERACTIVE)
        turn = stage.prompt(session, prompt)
        await stage.status(session, "waiting")
        stage.wish(session, InputKind.CANCEL, turn=turn)
        ended = await stage.event(session, "turn_ended", timeout_s=3)
        (resolved,) = stage.told(session, "ask_resolved")
        await stage.status(session, "idle")
        return ended, resolved, row(stage, resolved["ask_id"])

    ended, resolved, ask = play(sqlite_url, tmp_path, story)

    assert (ended["status"], ended["stop_reason"]) == ("cancelled", "cancelled")
    assert (resolved["status"], ask.status) == ("lost", "lost")


def test_an_agent_that_dies_while_it_asks_closes_the_ask(database_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session(prompt="run echo done", mode=Mode.INTERACTIVE)
        asked = await stage.event(session, "permission_request")
        keeper = stage.host._keeper
        await keeper.kill(session)
        ended = await stage.event(session, "turn_ended")
        return ended, stage.told(session, "ask_resolved"), row(stage, asked["ask_id"])

    ended, resolved, ask = play(database_url, tmp_path, story)

    assert (ended["status"], ended["stop_reason"]) == ("failed", "agent_exited")
    assert [one["status"] for one in resolved] == ["lost"]
    assert ask.status == "lost"


def test_an_ask_too_long_to_be_shown_is_denied_and_the_turn_goes_on(sqlite_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session(prompt="long-ask 40000000; say after", mode=Mode.INTERACTIVE)
        return await stage.event(session, "turn_ended"), stage.told(session, "notice")

    ended, notices = play(sqlite_url, tmp_path, story)

    assert ended["status"] == "completed"
    assert {notice["kind"] for notice in notices} >= {"line_cut", "ask_denied"}
