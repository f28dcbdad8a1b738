"""Who hosts what: never more than fit, never what is somebody else's, and all of it handed over in the end."""

from __future__ import annotations

import asyncio

import pytest

from shared.domain import clock
from shared.domain.input import InputKind, Wish
from shared.domain.session import Limits, Mode, OnWorkerLoss
from shared.store import heads, inputs, ownership
from shared.store.sealing import Sealer
from tests.fixtures.hosts import Stage, play
from workers.host import hosting as one_session

pytestmark = pytest.mark.timeout(90)


def take_away(stage, session):
    """A peer takes the session from this host behind its back."""
    with stage.database.write() as connection:
        assert ownership.take_over(connection, session, stage.world.incarnation) is not None
        heads.set_wanted(connection, session, None)


def test_a_fenced_host_kills_the_agent_and_writes_nothing(database_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session(prompt="rate 100 20")
        await stage.event(session, "tool_output_chunk")
        take_away(stage, session)
        before = stage.head(session).last_seq
        await stage.until(lambda: session not in stage.host.hosted, timeout_s=5)
        left = stage.processes(session)
        return before, stage.head(session), left

    before, head, left = play(database_url, tmp_path, story)

    assert not left
    assert (head.last_seq, head.status) == (before, "running")


def test_surrendered_sessions_are_killed_and_nothing_of_them_is_written(database_url, tmp_path):
    async def story(stage: Stage):
        gone = [stage.session(prompt="rate 200 20") for _ in range(3)]
        kept = stage.session(prompt="sleep 0.5; say kept")
        for session in gone:
            await stage.event(session, "tool_output_chunk")
            take_away(stage, session)
        before = [stage.head(session).last_seq for session in gone]
        stage.host.surrender(gone)
        await stage.until(lambda: stage.host.hosted == {kept}, timeout_s=5)
        left = [pid for session in gone for pid in stage.processes(session)]
        ended = await stage.event(kept, "turn_ended")
        return before, [stage.head(session).last_seq for session in gone], left, ended

    before, after, left, ended = play(database_url, tmp_path, story)

    assert before == after
    assert left == []
    assert ended["status"] == "completed"


def test_never_more_sessions_run_than_fit(database_url, tmp_path):
    async def story(stage: Stage):
        most = 0
        sessions = [stage.session(prompt="sleep 0.3", limits=Limits(idle_s=0.0)) for _ in range(18)]
        over = set()
        while len(over) < len(sessions):
            for session in set(sessions) - over:
                if stage.told(session, "turn_ended"):
                    over.add(session)
            with stage.database.read() as connection:
                most = max(most, len(ownership.owned_by(connection, stage.world.incarnation)))
            await asyncio.sleep(0.02)
        return most

    assert play(database_url, tmp_path, story, capacity=3) == 3


def test_a_full_host_parks_the_longest_idle_session_for_one_that_waits(database_url, tmp_path):
    async def story(stage: Stage):
        first = stage.session(prompt="say first")
        await stage.event(first, "session_idle")
        second = stage.session(prompt="say second")
        await stage.event(second, "session_idle")
        await stage.until(lambda: stage.host.has_room)
        third = stage.session(prompt="say third")
        await stage.event(third, "turn_ended")
        return [stage.head(session).status for session in (first, second, third)], stage.told(first, "session_parked")

    statuses, parked = play(database_url, tmp_path, story, capacity=2)

    assert statuses[0] == "parked"
    assert "parked" not in statuses[1:]
    assert parked == [{"reason": "capacity"}]


def test_a_full_and_busy_host_says_that_it_has_no_room(sqlite_url, tmp_path):
    rooms = []

    async def story(stage: Stage):
        stage.host._on_room = rooms.append
        session = stage.session(prompt="sleep 0.4", limits=Limits(idle_s=0.0))
        await stage.event(session, "turn_started")
        full = stage.host.has_room
        await stage.status(session, "parked")
        await stage.until(lambda: stage.host.has_room)
        return full

    assert play(sqlite_url, tmp_path, story, capacity=1) is False
    assert rooms[:2] == [False, True]


def test_a_drained_host_lets_a_turn_end_and_hands_the_line_over(database_url, tmp_path):
    async def story(stage: Stage):
        running = stage.session(prompt="sleep 0.5; say done")
        queued = stage.prompt(running, "say later")
        idle = stage.session(prompt="say hello")
        await stage.event(idle, "session_idle")
        await stage.event(running, "turn_started")
        await stage.host.drain(10.0)
        return [stage.head(running), stage.head(idle)], stage.told(running, "turn_ended"), stage.turn(queued)

    (running, idle), ended, queued = play(database_url, tmp_path, story)

    assert [turn["result_text"] for turn in ended] == ["done"]
    assert queued.status == "queued"
    assert (running.owner, running.status, running.wanted_at is not None) == (None, "parked", True)
    assert (idle.owner, idle.status, idle.wanted_at) == (None, "parked", None)


def test_a_turn_that_outlasts_the_grace_is_interrupted(database_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session(prompt="sleep 30")
        await stage.event(session, "turn_started")
        await stage.host.drain(0.2)
        return stage.told(session, "turn_ended"), stage.head(session), stage.processes(session)

    ended, head, left = play(database_url, tmp_path, story)

    assert [(turn["status"], turn["stop_reason"]) for turn in ended] == [("interrupted", "worker_lost")]
    assert (head.owner, head.status) == (None, "parked")
    assert not left


def test_a_turn_that_shall_continue_goes_back_into_the_line(database_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session(on_worker_loss=OnWorkerLoss.CONTINUE)
        turn = stage.prompt(session, "sleep 30")
        await stage.event(session, "turn_started")
        await stage.host.drain(0.2)
        return stage.turn(turn), stage.types(session), stage.head(session)

    turn, kinds, head = play(database_url, tmp_path, story)

    assert (turn.status, turn.attempt) == ("queued", 2)
    assert "turn_ended" not in kinds
    assert (head.owner, head.wanted_at is not None) == (None, True)


def test_a_session_is_resumed_by_the_next_host_of_the_volume(database_url, tmp_path):
    async def before(stage: Stage):
        session = stage.session(prompt="say remember me")
        await stage.event(session, "turn_ended")
        return session

    session = play(database_url, tmp_path, before)

    async def after(stage: Stage):
        stage.prompt(session, "recall 1")
        return await stage.event(session, "turn_ended", 2)

    assert "remember me" in play(database_url, tmp_path, after)["result_text"]


def test_a_lost_warden_fails_the_turns_and_the_next_prompt_works(sqlite_url, tmp_path):
    async def story(stage: Stage):
        sessions = [stage.session(prompt="say begun; sleep 60") for _ in range(3)]
        for session in sessions:
            # A prompt that its agent had not read would go to the next agent, as if nothing had happened.
            await stage.event(session, "message_chunk")
        stage.host._keeper._program.kill()
        ended = [await stage.event(session, "turn_ended") for session in sessions]
        left = [pid for session in sessions for pid in stage.processes(session)]
        stage.prompt(sessions[0], "say alive")
        return ended, left, await stage.event(sessions[0], "turn_ended", 2)

    ended, left, again = play(sqlite_url, tmp_path, story)

    assert {(turn["status"], turn["stop_reason"]) for turn in ended} == {("failed", "agent_exited")}
    assert left == []
    assert again["result_text"] == "alive"


def test_a_frozen_session_goes_on_when_it_is_still_ours(sqlite_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session(prompt="count n.txt 20")
        counter = stage.workspace(session) / "n.txt"
        await stage.until(lambda: stage.host.beat() or (counter.exists() and counter.read_text()))
        await stage.until(lambda: stage.host._is_frozen, about="the warden's freeze", timeout_s=5)
        stood_at = counter.read_text()
        stage.host.beat()
        await stage.until(lambda: counter.read_text() not in {"", stood_at}, about="the count going on")
        return stage.host.hosted == {session}

    assert play(sqlite_url, tmp_path, story, freeze_s=0.5) is True


def test_a_frozen_session_that_is_somebody_elses_is_killed(sqlite_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session(prompt="count n.txt 20")
        counter = stage.workspace(session) / "n.txt"
        await stage.until(lambda: stage.host.beat() or (counter.exists() and counter.read_text()))
        await stage.until(lambda: stage.host._is_frozen, about="the warden's freeze", timeout_s=5)
        take_away(stage, session)
        before = stage.head(session).last_seq
        stage.host.beat()
        await stage.until(lambda: not stage.host.hosted, timeout_s=5)
        return stage.processes(session), before, stage.head(session).last_seq

    left, before, after = play(sqlite_url, tmp_path, story, freeze_s=0.5)

    assert not left
    assert before == after


def test_a_session_that_crashes_its_task_harms_no_other(database_url, tmp_path, monkeypatch):
    monkeypatch.setattr(one_session, "CRASH_PAUSE_S", 0.05)

    async def story(stage: Stage):
        other = stage.session(prompt="sleep 1; say fine")
        faulty = stage.session(prompt="sleep 20")
        await stage.event(faulty, "turn_started")
        with stage.database.write() as connection:
            # No release writes such an input: reading it fails in the session's own task.
            inputs.put(connection, Wish(faulty, InputKind.MODE, data={"mode": "sideways"}), clock.now())
        stage.host.look(faulty)
        ended = await stage.event(faulty, "turn_ended")
        await stage.status(faulty, "parked")
        left = stage.processes(faulty)
        stage.prompt(faulty, "say again")
        again = await stage.event(faulty, "turn_ended", 2)
        return ended, left, again, await stage.event(other, "turn_ended")

    ended, left, again, other = play(database_url, tmp_path, story)

    assert (ended["status"], ended["stop_reason"]) == ("failed", "internal_error")
    assert not left
    assert again["result_text"] == "again"
    assert other["status"] == "completed"


def test_a_session_whose_secrets_cannot_be_opened_fails_its_turn_and_waits_for_nobody(
    sqlite_url, tmp_path, monkeypatch
):
    monkeypatch.setattr(one_session, "CRASH_PAUSE_S", 0.05)

    async def story(stage: Stage):
        session = stage.session(prompt="say never")
        ended = await stage.event(session, "turn_ended")
        await stage.status(session, "parked")
        await stage.until(lambda: not stage.host.hosted)
        return ended, stage.head(session), stage.slots()

    ended, head, used = play(sqlite_url, tmp_path, story, sealer=Sealer("another secret of forty characters, say"))

    assert (ended["status"], ended["stop_reason"]) == ("failed", "internal_error")
    assert (head.owner, head.wanted_at, used) == (None, None, 0)


def test_a_session_that_was_claimed_and_forgotten_is_taken_up_when_it_is_looked_at(database_url, tmp_path):
    async def story(stage: Stage):
        session = stage.seeds.session()
        with stage.database.write() as connection:
            # As a COMMIT leaves it whose answer never came.
            assert ownership.claim(connection, stage.world.incarnation, stage.world.volume.id, session=session)
        stage.host.look(session)
        await stage.event(session, "session_idle")
        return stage.host.hosted == {session}

    assert play(database_url, tmp_path, story) is True


def test_turns_an_earlier_host_left_open_end_and_do_not_run_again(sqlite_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session(prompt="sleep 20", mode=Mode.INTERACTIVE)
        await stage.event(session, "turn_started")
        take_away(stage, session)
        stage.host.surrender([session])
        await stage.until(lambda: not stage.host.hosted)
        with stage.database.write() as connection:
            heads.set_wanted(connection, session, clock.now())
        stage.host.offer()
        ended = await stage.event(session, "turn_ended")
        await stage.until(lambda: stage.head(session).owner is None or "session_idle" in stage.types(session))
        return ended, stage.told(session, "turn_started")

    ended, started = play(sqlite_url, tmp_path, story)

    assert (ended["status"], ended["stop_reason"]) == ("interrupted", "worker_lost")
    assert len(started) == 1
