"""Checkpoints: a turn is held before its prompt reaches any agent, and let go once, by a human."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from shared.domain.ids import AskId
from shared.domain.input import InputKind
from shared.domain.session import Limits
from shared.store import asks
from tests.fixtures.hosts import SPEC, Stage, hosting, play

pytestmark = pytest.mark.timeout(60)


def row(stage, ask):
    with stage.database.read() as connection:
        return asks.get_any(connection, AskId(ask))


def held(stage, text="say hello", **wishes):
    """A new session whose first turn stops at its checkpoint."""
    session = stage.seeds.session(replace(SPEC, **wishes), is_wanted=False)
    return session, stage.prompt(session, text, confirm=True)


def kinds(stage, session):
    return [kind for kind in stage.types(session) if kind not in {"message_chunk", "usage"}]


def test_an_allowed_prompt_runs_and_no_agent_was_there_before(database_url, tmp_path):
    async def story(stage: Stage):
        session, turn = held(stage)
        asked = await stage.event(session, "permission_request")
        await stage.status(session, "waiting")
        before = (kinds(stage, session), stage.turn(turn).status, stage.processes(session))
        stage.answer(asked["ask_id"], {"decision": "allow"})
        ended = await stage.event(session, "turn_ended")
        await stage.status(session, "idle")
        return asked, before, ended, kinds(stage, session), row(stage, asked["ask_id"]), stage.stored(session)

    asked, before, ended, after, ask, session = play(database_url, tmp_path, story)

    assert before == (["turn_started", "permission_request"], "waiting", set())
    assert (asked["checkpoint"], asked["tool_name"], asked["input"]) == (True, "prompt", {"text": "say hello"})
    assert after[:2] == before[0]
    assert after[2:] == ["ask_resolved", "session_started", "message", "turn_ended", "session_idle"]
    assert (ended["status"], ended["result_text"]) == ("completed", "hello")
    assert (ask.status, session.turns_started) == ("applied", 1)


@pytest.mark.parametrize(("said", "error"), [({"decision": "deny", "message": "not now"}, "not now"), (None, None)])
def test_a_denied_or_forgotten_prompt_never_runs_and_the_line_goes_on(database_url, tmp_path, said, error):
    async def story(stage: Stage):
        session, turn = held(stage, ask_timeout_s=30 if said else 0.5)
        behind = stage.prompt(session, "say behind")
        asked = await stage.event(session, "permission_request")
        if said:
            stage.answer(asked["ask_id"], said)
        ended = await stage.event(session, "turn_ended")
        await stage.event(session, "turn_ended", 2)
        return ended, stage.turn(turn), stage.turn(behind), row(stage, asked["ask_id"]), stage.log(session)

    ended, turn, behind, ask, log = play(database_url, tmp_path, story)

    reason, status = ("denied", "applied") if said else ("expired", "expired")
    assert (ended["status"], ended["stop_reason"]) == ("cancelled", reason)
    assert (turn.status, turn.error) == ("cancelled", error or "Nobody answered in time.")
    assert ask.status == status
    assert [data["status"] for kind, data in log if kind == "ask_resolved"] == [status]
    assert behind.result_text == "behind"
    assert [data["text"] for kind, data in log if kind == "message"] == ["behind"]


def test_a_parked_session_stays_parked_when_its_prompt_is_denied(sqlite_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session(prompt="say first", limits=Limits(idle_s=0.2))
        await stage.event(session, "session_parked")
        stage.prompt(session, "say second", confirm=True)
        asked = await stage.event(session, "permission_request")
        stage.answer(asked["ask_id"], {"decision": "deny"})
        await stage.event(session, "session_parked", 2)
        await stage.until(lambda: stage.head(session).owner is None)
        return stage.types(session), stage.head(session).status, stage.stored(session).turns_started

    types, status, turns = play(sqlite_url, tmp_path, story)

    assert (types.count("session_started"), status, turns) == (1, "parked", 1)


def test_a_cancel_ends_a_held_turn_and_closes_its_ask(database_url, tmp_path):
    async def story(stage: Stage):
        session, turn = held(stage)
        asked = await stage.event(session, "permission_request")
        stage.wish(session, InputKind.CANCEL, turn=turn)
        ended = await stage.event(session, "turn_ended")
        return ended, row(stage, asked["ask_id"]), stage.types(session)

    ended, ask, types = play(database_url, tmp_path, story)

    assert (ended["status"], ended["stop_reason"], ask.status) == ("cancelled", "cancelled", "lost")
    assert types.index("ask_resolved") < types.index("turn_ended")
    assert "message" not in types


def test_the_clock_of_a_held_turn_stands(sqlite_url, tmp_path):
    async def story(stage: Stage):
        session, _ = held(stage, limits=Limits(turn_s=0.5, idle_s=0.3))
        asked = await stage.event(session, "permission_request")
        began = asyncio.get_running_loop().time()
        await stage.until(lambda: asyncio.get_running_loop().time() - began > 1.0)
        types = stage.types(session)
        stage.answer(asked["ask_id"], {"decision": "deny"})
        return types, await stage.event(session, "turn_ended")

    types, ended = play(sqlite_url, tmp_path, story)

    assert types[-1] == "permission_request"
    assert ended["stop_reason"] == "denied"


@pytest.mark.parametrize("decision", ["allow", "deny"])
def test_a_held_turn_outlives_its_worker_and_an_answer_given_in_between_is_applied(database_url, tmp_path, decision):
    async def story():
        async with hosting(database_url, tmp_path) as first:
            session, turn = held(first)
            asked = await first.event(session, "permission_request")
        # Nobody hosts it now: the first host was drained.
        async with hosting(database_url, tmp_path) as second:
            await second.until(lambda: second.head(session).owner == second.world.incarnation)
            second.answer(asked["ask_id"], {"decision": decision})
            ended = await second.event(session, "turn_ended")
            return ended, second.turn(turn), second.log(session), row(second, asked["ask_id"])

    ended, turn, log, ask = asyncio.run(story())

    assert ended["stop_reason"] == ("end_turn" if decision == "allow" else "denied")
    assert (turn.attempt, ask.status) == (1, "applied")
    types = [kind for kind, _ in log]
    types = types[: types.index("turn_ended")]
    assert [types.count(kind) for kind in ("permission_request", "ask_resolved", "session_parked")] == [1, 1, 0]


def test_an_answer_that_finds_nobody_is_applied_by_the_next_host(sqlite_url, tmp_path):
    async def story():
        async with hosting(sqlite_url, tmp_path) as first:
            session, _ = held(first)
            asked = await first.event(session, "permission_request")
        async with hosting(sqlite_url, tmp_path / "other", capacity=0) as idle:
            idle.answer(asked["ask_id"], {"decision": "allow"})
            waiting = (idle.head(session).status, idle.head(session).owner)
        async with hosting(sqlite_url, tmp_path) as second:
            return waiting, await second.event(session, "turn_ended")

    waiting, ended = asyncio.run(story())

    assert waiting == ("waiting", None)
    assert ended["result_text"] == "hello"
