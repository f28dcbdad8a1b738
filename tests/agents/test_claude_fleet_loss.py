"""The real Claude Code on a worker that is killed or drained: what runs ends once, and the next worker goes on."""

from __future__ import annotations

import json
import shutil
import signal

import pytest

from shared.workspaces.volume import ID_FILE
from tests.fixtures.agents import claude_program
from tests.fixtures.live_session import live_fleet
from tests.fixtures.waiting import eventually

TIMES = {
    "CORRAL_BEAT_S": "0.3",
    "CORRAL_FREEZE_S": "1.5",
    "CORRAL_LAPSE_S": "2",
    "CORRAL_STOP_S": "5",
    "CORRAL_INTERRUPT_S": "10",
}
"""Quick, but not so quick that two starting agents on two cores look like a lost worker."""


@pytest.fixture
def losing(tmp_path, database_url, valkey_url, claude_binary, model_server):
    """A fleet on each database in turn, with one worker, whose losses are seen soon."""
    with live_fleet(
        tmp_path, database_url, valkey_url, claude_program(claude_binary, model_server), model_server, **TIMES
    ) as house:
        house.fleet.api()
        house.fleet.worker("a")
        yield house


@pytest.fixture
def losing_on_sqlite(tmp_path, sqlite_url, valkey_url, claude_binary, model_server):
    """The same on SQLite alone."""
    with live_fleet(
        tmp_path, sqlite_url, valkey_url, claude_program(claude_binary, model_server), model_server, **TIMES
    ) as house:
        house.fleet.api()
        house.fleet.worker("a")
        yield house


def _lost_in_its_second_turn(house):
    """A session that used a tool in turn 1 and whose worker was killed while it spoke in turn 2."""
    session = house.start("[[remember:plum]][[bash:echo from-the-tool > f.txt; cat f.txt]]", mode="bypass")
    session.over()
    turn = session.prompt("[[slow:200]]")
    session.hears("message_chunk", lambda data: data["text"].startswith("slow"))
    left = session.processes()
    session.worker.kill()
    return session, turn, left


def _recalls(session):
    """Ask for what turn 1 said to remember; the model refuses where a tool's result or a turn is missing."""
    turn = session.turn("[[recall]]")
    assert turn["status"] == "completed", turn
    assert "plum" in json.dumps(session.told("message", turn["id"]))
    assert "from-the-tool" in json.dumps(session.heard_by_the_model()[-1]["messages"])
    assert session.told("session_started")[-1]["resumed"] is True


def _ended(session, turn):
    return [one for one in session.log() if one["type"] == "turn_ended" and one["turn_id"] == turn]


def test_a_killed_workers_turn_ends_once_and_the_next_worker_resumes_from_the_home(losing_on_sqlite):
    losing_on_sqlite.fleet.worker("b")
    session, turn, left = _lost_in_its_second_turn(losing_on_sqlite)
    ended = session.over(turn)
    _recalls(session)

    assert left
    assert not left.keys() & session.processes().keys()
    assert (ended["status"], ended["stop_reason"]) == ("interrupted", "worker_lost")
    assert len(_ended(session, turn)) == 1
    log = session.log()
    assert [one["seq"] for one in log] == list(range(1, len(log) + 1))


def test_an_emptied_home_is_resumed_from_the_store(losing):
    session, turn, _ = _lost_in_its_second_turn(losing)
    losing.fleet.worker("b")
    assert session.over(turn)["status"] == "interrupted"
    shutil.rmtree(session.home)

    _recalls(session)


def test_a_disk_that_came_back_empty_under_another_path_is_resumed_from_the_store(losing_on_sqlite, tmp_path):
    session, turn, _ = _lost_in_its_second_turn(losing_on_sqlite)
    disk = tmp_path / "restored"
    disk.mkdir()
    shutil.copy(tmp_path / "volume" / ID_FILE, disk)
    losing_on_sqlite.fleet.worker("b", CORRAL_WORKSPACE_ROOT=str(disk))
    assert session.over(turn)["status"] == "interrupted"

    _recalls(session)
    assert (disk / "sessions" / session.id / "workspace").is_dir()


def test_a_conversation_survives_one_lost_worker_after_another(losing_on_sqlite):
    session = losing_on_sqlite.start("[[remember:w0]]")
    session.over()
    for number in (1, 2):
        losing_on_sqlite.fleet.worker(f"w{number}")
        session.worker.kill()
        shutil.rmtree(session.home)
        turn = session.turn(f"[[recall]] [[remember:w{number}]]")
        assert f"w{number - 1}" in json.dumps(session.told("message", turn["id"]))


def test_a_lost_turn_runs_again_where_the_session_says_so(losing_on_sqlite):
    losing_on_sqlite.fleet.worker("b")
    session = losing_on_sqlite.start("[[remember:plum]]", on_worker_loss="continue")
    session.over()
    turn = session.prompt("[[slow:30]][[recall]]")
    session.hears("message_chunk", lambda data: data["text"].startswith("slow"))
    session.worker.kill()
    ended = session.over(turn)

    assert ended["status"] == "completed"
    assert ended["attempt"] == 2
    assert "plum" in json.dumps(session.told("message", turn))
    assert len(_ended(session, turn)) == 1


def test_an_ask_of_a_lost_worker_is_lost_and_the_next_prompt_runs(losing_on_sqlite):
    losing_on_sqlite.fleet.worker("b")
    session = losing_on_sqlite.start("[[bash:touch f.txt]]")
    ask = session.ask()
    session.worker.kill()
    ended = session.over()
    late = losing_on_sqlite.client.ask("POST", f"/asks/{ask['id']}/answer", {"decision": "allow"})
    after = session.turn("go on")

    assert ended["status"] == "interrupted"
    assert session.asks()[0]["status"] == "lost"
    assert late.status_code == 409
    assert after["status"] == "completed"
    assert not (session.workspace / "f.txt").exists()


def test_a_drained_worker_hands_its_session_over(losing_on_sqlite):
    session = losing_on_sqlite.start("[[remember:plum]][[bash:echo from-the-tool]]", mode="bypass")
    session.over()
    first = session.worker
    losing_on_sqlite.fleet.worker("b")
    status = first.end()

    assert status == 0
    assert not session.processes()
    _recalls(session)
    assert session.worker is not first


def test_a_frozen_workers_agent_goes_on_with_it_when_nobody_took_its_session(losing_on_sqlite):
    session = losing_on_sqlite.start("[[slow:20]]")
    session.hears("message_chunk")
    worker = session.worker
    worker.signal(signal.SIGSTOP)
    eventually(lambda: session.state_of_agent() == "T", timeout_s=10, about="the warden froze the agent")
    worker.signal(signal.SIGCONT)

    assert session.over()["status"] == "completed"
    assert session.told("message")[0]["text"].strip() == ("slow text " * 20).strip()
