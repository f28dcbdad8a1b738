"""How hosted sessions leave: parked and resumed, terminated whatever the agent thinks of it, past their lifetime."""

from __future__ import annotations

import asyncio
import subprocess
from datetime import timedelta

import pytest

from shared.domain import clock
from shared.domain.input import InputKind
from shared.domain.session import Limits
from shared.store import heads, ownership
from tests.fixtures.hosts import TIMES, Stage, play
from tests.fixtures.waiting import eventually
from workers.host import tree

pytestmark = pytest.mark.timeout(60)


def test_an_idle_session_is_parked_and_remembers_when_it_comes_back(database_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session(prompt="say remember", limits=Limits(idle_s=0.2))
        await stage.status(session, "parked")
        parked = stage.head(session)
        await stage.until(lambda: not stage.processes(session))
        await stage.until(lambda: session not in stage.host.hosted)
        stage.prompt(session, "recall 1")
        ended = await stage.event(session, "turn_ended", 2)
        return parked, ended, stage.log(session)

    parked, ended, log = play(database_url, tmp_path, story)

    assert (parked.owner, parked.wanted_at) == (None, None)
    assert "say remember" in ended["result_text"]
    assert ("session_parked", {"reason": "idle"}) in log
    assert [data["resumed"] for kind, data in log if kind == "session_started"] == [False, True]


def test_a_mode_asked_for_while_parked_is_told_and_the_session_stays_parked(sqlite_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session(prompt="say hello", limits=Limits(idle_s=0.1))
        await stage.status(session, "parked")
        await stage.until(lambda: session not in stage.host.hosted)
        stage.wish(session, InputKind.MODE, data={"mode": "plan"})
        await stage.event(session, "mode_changed")
        await stage.until(lambda: stage.head(session).owner is None)
        kinds = stage.types(session)
        stage.prompt(session, "mode")
        return kinds, await stage.event(session, "turn_ended", 2)

    kinds, ended = play(sqlite_url, tmp_path, story)

    assert kinds.count("session_started") == kinds.count("session_parked") == 1
    assert "plan" in ended["result_text"]


def test_a_terminated_session_ends_its_turns_first(database_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session(prompt="sleep 20")
        stage.prompt(session, "say never")
        await stage.event(session, "turn_started")
        stage.wish(session, InputKind.STOP)
        await stage.status(session, "ended", timeout_s=4)
        return stage.log(session), stage.head(session), stage.processes(session), stage.workspace(session).is_dir()

    log, head, left, has_files = play(database_url, tmp_path, story)

    assert [kind for kind, _ in log][-3:] == ["turn_ended", "turn_ended", "session_ended"]
    ended = [(data["status"], data["stop_reason"]) for kind, data in log if kind == "turn_ended"]
    assert ended == [("cancelled", "session_terminated")] * 2
    assert (head.end_reason, head.owner, head.done_input) == ("terminated", None, head.last_input)
    assert not left
    assert has_files


@pytest.mark.parametrize(
    "prompt", ["ignore-term; count n.txt 20", "orphan n.txt; hang", "ignore-term; orphan-holding n.txt; hang"]
)
def test_an_agent_that_will_not_go_is_gone_within_the_stop_time_and_a_second(database_url, tmp_path, prompt):
    async def story(stage: Stage):
        session = stage.session(prompt=prompt)
        counter = stage.workspace(session) / "n.txt"
        await stage.until(lambda: counter.exists() and counter.read_text())
        loop = asyncio.get_running_loop()
        began = loop.time()
        stage.wish(session, InputKind.STOP)
        await stage.status(session, "ended", timeout_s=5)
        took_s = loop.time() - began
        stood_at = counter.read_text()
        await stage.until(lambda: loop.time() - began > took_s + 0.3)
        return took_s, stood_at == counter.read_text(), stage.processes(session)

    took_s, stands_still, left = play(database_url, tmp_path, story)

    assert took_s < TIMES.stop_s + 1
    assert stands_still
    assert not left


def test_a_session_told_to_end_while_its_agent_starts_ends(sqlite_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session(prompt="say never")
        await stage.until(lambda: session in stage.host.hosted)
        stage.wish(session, InputKind.STOP)
        await stage.status(session, "ended", timeout_s=5)
        return stage.told(session, "turn_ended"), stage.processes(session)

    ended, left = play(sqlite_url, tmp_path, story, commands={"demo": "sh -c 'sleep 60'"})

    assert [turn["stop_reason"] for turn in ended] == ["session_terminated"]
    assert not left


def test_a_workspace_is_removed_where_that_was_asked_for(database_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session(prompt="write a.txt hello", limits=Limits(idle_s=0.1))
        await stage.status(session, "parked")
        await stage.until(lambda: session not in stage.host.hosted)
        had = stage.workspace(session).is_dir()
        stage.wish(session, InputKind.STOP, data={"remove_workspace": True})
        await stage.status(session, "ended")
        return had, stage.workspace(session).exists(), stage.home(session).exists(), stage.types(session)

    had, has, has_home, kinds = play(database_url, tmp_path, story)

    assert (had, has, has_home) == (True, False, False)
    assert kinds.count("session_started") == 1


def test_a_session_past_its_lifetime_ends(sqlite_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session(prompt="sleep 20")
        await stage.event(session, "turn_started")
        with stage.database.write() as connection:
            heads.set_end_by(connection, session, clock.now() + timedelta(seconds=0.3))
        stage.wish(session, InputKind.LIMITS)
        await stage.status(session, "ended", timeout_s=5)
        return stage.told(session, "turn_ended"), stage.head(session)

    ended, head = play(sqlite_url, tmp_path, story)

    assert [(turn["status"], turn["stop_reason"]) for turn in ended] == [("failed", "session_lifetime_reached")]
    assert head.end_reason == "lifetime_reached"


def test_a_prompt_that_comes_while_a_session_parks_is_not_lost(database_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session(prompt="say 0", limits=Limits(idle_s=0.02))
        for n in range(1, 8):
            stage.prompt(session, f"say {n}")
            await stage.event(session, "turn_ended", n + 1)
        return stage.told(session, "turn_ended")

    ended = play(database_url, tmp_path, story)

    assert [turn["result_text"] for turn in ended] == [str(n) for n in range(8)]


def test_leftovers_of_an_earlier_host_are_killed_before_the_agent_comes_up(sqlite_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session(prompt="say hello", limits=Limits(idle_s=0.1))
        await stage.status(session, "parked")
        stray = orphan_marked(session)
        found = stage.processes(session)
        stage.prompt(session, "say again")
        await stage.event(session, "turn_ended", 2)
        return stray, found, tree.look(stray)

    stray, found, left = play(sqlite_url, tmp_path, story)

    assert found == {stray}
    assert left is None or left.state in tree.DEAD


def orphan_marked(session):
    """A process that bears the session's mark and descends from nobody here, as a dead worker leaves it; its pid."""
    tree._LIBC.prctl(tree._PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
    try:
        script = "setsid sleep 60 >/dev/null 2>&1 & echo $!"
        made = subprocess.run(
            ["sh", "-c", script], env={"CORRAL_SESSION_ID": session}, stdout=subprocess.PIPE, text=True, check=True
        )
    finally:
        tree.adopt_orphans()
    pid = int(made.stdout)
    eventually(lambda: tree.marks(pid) == session)
    return pid


def test_a_released_session_has_no_owner_and_its_slot_is_free(database_url, tmp_path):
    async def story(stage: Stage):
        sessions = [stage.session(prompt="say hello", limits=Limits(idle_s=0.1)) for _ in range(4)]
        for session in sessions:
            await stage.status(session, "parked")
        with stage.database.read() as connection:
            return ownership.owned_by(connection, stage.world.incarnation), stage.slots()

    owned, used = play(database_url, tmp_path, story)

    assert list(owned) == []
    assert used == 0
