"""A host with real demo agents: what prompts become, in which order, and that each turn ends exactly once."""

from __future__ import annotations

import pytest

from shared.domain.input import InputKind
from shared.domain.session import Limits, Mode
from shared.domain.turn import TurnStatus
from tests.fixtures.hosts import Stage, play

pytestmark = pytest.mark.timeout(60)


def test_a_prompt_becomes_its_events_in_order(database_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session(prompt="say hello")
        await stage.event(session, "session_idle")
        return stage.log(session), stage.head(session), stage.stored(session)

    log, head, session = play(database_url, tmp_path, story)

    assert [kind for kind, _ in log] == [
        "session_started",
        "turn_started",
        "message_chunk",
        "message",
        "usage",
        "turn_ended",
        "session_idle",
    ]
    told = dict(log)
    assert told["session_started"] | {"model": ""} == {
        "agent": "demo",
        "model": "",
        "version": "1.0",
        "agent_session_id": session.agent_session_id,
        "resumed": False,
    }
    assert told["turn_started"] == {"attempt": 1}
    assert told["turn_ended"]["status"] == "completed"
    assert told["turn_ended"]["result_text"] == "hello"
    assert told["turn_ended"]["duration_s"] >= 0
    assert head.done_input == head.last_input == 1
    assert (head.status, session.turns_started) == ("idle", 1)
    assert session.cost_usd == pytest.approx(told["turn_ended"]["cost_usd"])


def test_prompts_run_one_after_the_other_in_the_order_of_the_line(database_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session(prompt="sleep 0.2")
        line = [stage.prompt(session, f"say number {n}") for n in range(5)]
        await stage.event(session, "turn_ended", 6)
        return [stage.turn(turn) for turn in line], stage.log(session)

    turns, log = play(database_url, tmp_path, story)

    assert [turn.result_text for turn in turns] == [f"number {n}" for n in range(5)]
    assert [kind for kind, _ in log if kind.startswith("turn_")] == ["turn_started", "turn_ended"] * 6


def test_a_session_without_a_prompt_comes_up_and_waits(database_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session()
        await stage.event(session, "session_idle")
        stage.prompt(session, "mode")
        await stage.event(session, "turn_ended")
        return stage.types(session)

    kinds = play(database_url, tmp_path, story)

    assert kinds[:3] == ["session_started", "session_idle", "turn_started"]


@pytest.mark.parametrize("prompt", ["stream 1000 10", "run sleep 20", "rate 100 20", "sleep 20"])
def test_a_cancelled_turn_ends_cancelled_and_the_session_lives_on(sqlite_url, tmp_path, prompt):
    async def story(stage: Stage):
        session = stage.session()
        turn = stage.prompt(session, prompt)
        await stage.event(session, "turn_started")
        stage.wish(session, InputKind.CANCEL, turn=turn)
        ended = await stage.event(session, "turn_ended", timeout_s=3)
        stage.prompt(session, "say alive")
        again = await stage.event(session, "turn_ended", 2)
        return ended, again, stage.types(session)

    ended, again, kinds = play(sqlite_url, tmp_path, story)

    assert (ended["status"], ended["stop_reason"], ended["error"]) == ("cancelled", "cancelled", None)
    assert again["result_text"] == "alive"
    assert kinds.count("session_started") == 1


def test_an_agent_deaf_to_cancel_is_ended_and_the_next_prompt_resumes_it(database_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session(prompt="say first")
        await stage.event(session, "turn_ended")
        turn = stage.prompt(session, "hang")
        await stage.event(session, "thinking_chunk")
        stage.wish(session, InputKind.CANCEL, turn=turn)
        ended = await stage.event(session, "turn_ended", 2, timeout_s=6)
        stage.prompt(session, "recall 1")
        again = await stage.event(session, "turn_ended", 3)
        return ended, again, stage.told(session, "session_started")

    ended, again, starts = play(database_url, tmp_path, story)

    assert (ended["status"], ended["stop_reason"]) == ("cancelled", "cancelled")
    assert "say first" in again["result_text"]
    assert [start["resumed"] for start in starts] == [False, True]


def test_a_cancel_of_an_earlier_turn_hits_nothing(sqlite_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session()
        over = stage.prompt(session, "say one")
        await stage.event(session, "turn_ended")
        stage.prompt(session, "sleep 0.3; say two")
        stage.wish(session, InputKind.CANCEL, turn=over)
        return await stage.event(session, "turn_ended", 2)

    assert play(sqlite_url, tmp_path, story)["status"] == "completed"


def test_a_turn_beyond_its_limit_is_interrupted(sqlite_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session(prompt="sleep 20", limits=Limits(turn_s=0.3))
        return await stage.event(session, "turn_ended")

    ended = play(sqlite_url, tmp_path, story)

    assert (ended["status"], ended["stop_reason"]) == ("interrupted", "turn_limit")


def test_a_session_ends_after_its_last_turn_and_so_does_the_line(database_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session(prompt="sleep 0.2", limits=Limits(max_turns=2))
        for text in ("say two", "say three"):
            stage.prompt(session, text)
        await stage.status(session, "ended")
        return stage.told(session, "turn_ended"), stage.log(session)[-1]

    ended, last = play(database_url, tmp_path, story)

    assert [turn["status"] for turn in ended] == ["completed", "completed", "failed"]
    assert last == ("session_ended", {"reason": "max_turns_reached", "detail": None})


def test_a_session_that_spent_its_money_ends_after_the_turn(sqlite_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session(prompt="usage 10 10 0.75", limits=Limits(max_cost_usd=0.5))
        await stage.status(session, "ended")
        return stage.head(session).end_reason, stage.types(session)

    reason, kinds = play(sqlite_url, tmp_path, story)

    assert reason == "max_cost_reached"
    assert kinds.count("turn_ended") == 1


@pytest.mark.parametrize("how", ["crash 3", "crash SEGV", "crash KILL"])
def test_a_crash_fails_the_turn_and_the_next_prompt_works(database_url, tmp_path, how):
    async def story(stage: Stage):
        session = stage.session(prompt="say before")
        stage.prompt(session, f"say half; {how}")
        stage.prompt(session, "recall 1")
        await stage.event(session, "turn_ended", 3)
        return stage.told(session, "turn_ended"), stage.told(session, "session_started")

    ended, starts = play(database_url, tmp_path, story)

    assert [turn["status"] for turn in ended] == ["completed", "failed", "completed"]
    assert ended[1]["stop_reason"] == "agent_exited"
    assert "say before" in ended[2]["result_text"]
    assert [start["resumed"] for start in starts] == [False, True]


def test_a_crash_in_the_first_turn_does_not_end_the_session(sqlite_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session(prompt="crash 1")
        stage.prompt(session, "say still here")
        return await stage.event(session, "turn_ended", 2)

    assert play(sqlite_url, tmp_path, story)["result_text"] == "still here"


def test_whatever_an_agent_prints_is_stored_and_the_turn_ends(database_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session(prompt="garbage; say fine")
        ended = await stage.event(session, "turn_ended")
        return ended, stage.log(session)

    ended, log = play(database_url, tmp_path, story)

    assert ended["status"] == "completed"
    assert any("\\u0000" in data.get("text", "") for kind, data in log if kind == "message")
    assert {data["kind"] for kind, data in log if kind == "notice"} >= {"unreadable_line", "unknown_frame"}


def test_a_mode_asked_for_before_a_prompt_holds_for_it_and_is_told(database_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session(prompt="sleep 0.2; mode")
        await stage.event(session, "turn_started")
        stage.wish(session, InputKind.MODE, data={"mode": "plan"})
        stage.prompt(session, "mode")
        await stage.event(session, "turn_ended", 2)
        return stage.log(session), stage.stored(session)

    log, session = play(database_url, tmp_path, story)

    said = [data["result_text"] for kind, data in log if kind == "turn_ended"]
    assert ["bypass" in said[0], "plan" in said[1]] == [True, True]
    assert ("mode_changed", {"mode": "plan"}) in log
    assert ("plan_mode_change", {"in_plan_mode": True}) in log
    assert session.spec.mode is Mode.PLAN


def test_a_model_asked_for_holds_from_the_next_turn(sqlite_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session(prompt="model")
        await stage.event(session, "turn_ended")
        stage.wish(session, InputKind.MODEL, data={"model": "demo-large"})
        stage.prompt(session, "model")
        return await stage.event(session, "turn_ended", 2)

    assert "demo-large" in play(sqlite_url, tmp_path, story)["result_text"]


def test_a_withdrawn_turn_is_passed_over(sqlite_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session(prompt="sleep 0.3")
        withdrawn = stage.prompt(session, "say never")
        stage.prompt(session, "say after")
        stage.withdraw(withdrawn)
        await stage.event(session, "turn_ended", 2)
        return stage.told(session, "turn_ended"), stage.turn(withdrawn), stage.told(session, "turn_started")

    ended, withdrawn, started = play(sqlite_url, tmp_path, story)

    assert [turn["result_text"] for turn in ended][-1] == "after"
    assert withdrawn.status is TurnStatus.CANCELLED
    assert len(started) == 2
