"""A host with real demo agents: texts that go into the running turn, and commands, which are turns."""

from __future__ import annotations

import pytest

from shared.domain.input import InputKind
from shared.domain.session import OnWorkerLoss
from tests.fixtures.hosts import Stage, play

pytestmark = pytest.mark.timeout(60)


def _steer(stage: Stage, session, text: str):
    return stage.prompt(session, text, kind=InputKind.STEER)


def test_a_steer_goes_into_the_running_turn_and_ends_as_steered(database_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session(prompt="say I listen; heed; say done")
        await stage.event(session, "message")
        steered = _steer(stage, session, "say as you steer")
        ended = await stage.event(session, "turn_ended", 2)
        await stage.event(session, "session_idle")
        return stage.turn(steered), ended, stage.told(session, "message"), stage.told(session, "turn_ended")

    turn, last, messages, ends = play(database_url, tmp_path, story)

    assert [message["text"] for message in messages] == ["I listen", "as you steer", "done"]
    assert (turn.status, turn.stop_reason, turn.started_at) == ("completed", "steered", None)
    assert [end["stop_reason"] for end in ends] == ["steered", "end_turn"]
    assert ends[0]["steered_into"].startswith("trn_")
    assert last["result_text"] == "done"


def test_a_steer_that_meets_no_turn_runs_as_one(database_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session(prompt="say one")
        await stage.event(session, "turn_ended")
        steered = _steer(stage, session, "say alone")
        await stage.event(session, "turn_ended", 2)
        return stage.turn(steered)

    turn = play(database_url, tmp_path, story)

    assert (turn.stop_reason, turn.result_text) == ("end_turn", "alone")


def test_a_steer_into_a_turn_that_is_cancelled_runs_next(sqlite_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session()
        first = stage.prompt(session, "ignore-interrupt; say deaf; run sleep 30")
        await stage.event(session, "message")
        stage.wish(session, InputKind.CANCEL, turn=first)
        steered = _steer(stage, session, "say next")
        await stage.event(session, "turn_ended", 2)
        return stage.turn(first), stage.turn(steered)

    first, steered = play(sqlite_url, tmp_path, story)

    assert first.status == "cancelled"
    assert (steered.stop_reason, steered.result_text) == ("end_turn", "next")


def test_a_steer_whose_agent_dies_runs_next(sqlite_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session(prompt="say I work; run sleep 0.5; crash")
        await stage.event(session, "message")
        steered = _steer(stage, session, "say next")
        await stage.event(session, "turn_ended", 2)
        return stage.turn(steered), stage.told(session, "turn_ended")

    turn, ends = play(sqlite_url, tmp_path, story)

    # Taken or not when the agent died, it has one end; what was not taken is carried out.
    assert turn.stop_reason in {"steered", "end_turn"}
    assert sorted(end["status"] for end in ends) == ["completed", "failed"]


def test_a_withdrawn_steer_is_not_said(sqlite_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session(prompt="say I listen; heed 0.5")
        await stage.event(session, "message")
        turn = stage.seeds.turn(session, "say never", kind=InputKind.STEER)
        stage.withdraw(turn)
        stage.host.look(session)
        await stage.event(session, "turn_ended")
        await stage.event(session, "session_idle")
        return stage.turn(turn), stage.told(session, "message")

    turn, messages = play(sqlite_url, tmp_path, story)

    assert turn.status == "cancelled"
    assert [message["text"] for message in messages] == ["I listen"]


def test_a_steer_outlives_its_host(sqlite_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session(prompt="say I work; sleep 30", on_worker_loss=OnWorkerLoss.INTERRUPT)
        await stage.event(session, "message")
        # Accepted, and the host goes before it has looked.
        return session, stage.seeds.turn(session, "say after all", kind=InputKind.STEER)

    session, turn = play(sqlite_url, tmp_path, story)

    async def afterwards(stage: Stage):
        stage.host.offer()
        await stage.event(session, "turn_ended", 2)
        return stage.turn(turn), stage.told(session, "turn_ended")

    steered, ends = play(sqlite_url, tmp_path, afterwards)

    assert (steered.stop_reason, steered.result_text) == ("end_turn", "after all")
    assert [end["status"] for end in ends] == ["interrupted", "completed"]


def test_commands_are_turns(database_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session(prompt=f"say {'long ' * 40}")
        await stage.event(session, "turn_ended")
        for name in ("compact", "context", "clear", "context"):
            stage.prompt(session, f"/{name}", command=name)
        stage.prompt(session, "/model demo-2", command="model")
        await stage.event(session, "turn_ended", 6)
        return stage.log(session), stage.stored(session)

    log, session = play(database_url, tmp_path, story)

    messages = [data["text"] for kind, data in log if kind == "message"][1:]
    notices = [data["kind"] for kind, data in log if kind == "notice"]
    started = next(data for kind, data in log if kind == "session_started")
    assert messages == ["I remember 1 prompts, 15 tokens.", "I remember 0 prompts, 0 tokens.", "My model is demo-2."]
    assert notices == ["compacted", "conversation_reset"]
    assert session.agent_session_id != started["agent_session_id"]
    assert {data["status"] for kind, data in log if kind == "turn_ended"} == {"completed"}


def test_a_command_of_another_release_fails_its_turn_alone(sqlite_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session()
        stage.prompt(session, "/make-coffee", command="make-coffee")
        stage.prompt(session, "say alive")
        await stage.event(session, "turn_ended", 2)
        return stage.told(session, "turn_ended")

    first, second = play(sqlite_url, tmp_path, story)

    assert (first["status"], first["stop_reason"]) == ("failed", "unsupported_command")
    assert second["result_text"] == "alive"
