"""How a host brings agents up: fresh, resumed, restored, in which environment, and what it says when it cannot."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import pytest

from shared.domain.turn import TurnStatus
from tests.fixtures.hosts import SPEC, Stage, play

pytestmark = pytest.mark.timeout(60)


def test_an_agent_that_left_by_itself_is_started_again(sqlite_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session(prompt="say one; exit 0")
        await stage.agent_is_gone(session)
        stage.prompt(session, "recall 1")
        await stage.event(session, "turn_ended", 2)
        return stage.told(session, "turn_ended")

    ended = play(sqlite_url, tmp_path, story)

    assert [turn["status"] for turn in ended] == ["completed", "completed"]
    assert "say one" in ended[1]["result_text"]


def test_a_conversation_the_agent_forgot_goes_on_as_a_fresh_one_told_as_such(database_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session(prompt="say one; exit 0")
        await stage.agent_is_gone(session)
        with stage.database.write() as connection:
            connection.exec_driver_sql("DELETE FROM transcripts")
        (memory,) = (stage.home(session) / ".corral-demo").iterdir()
        memory.unlink()
        stage.prompt(session, "say two")
        ended = await stage.event(session, "turn_ended", 2)
        return ended, stage.log(session)

    ended, log = play(database_url, tmp_path, story)

    assert (ended["status"], ended["result_text"]) == ("completed", "two")
    assert [data["kind"] for kind, data in log if kind == "notice" and data["kind"] != "stderr"] == [
        "fresh_conversation"
    ]
    assert [data["resumed"] for kind, data in log if kind == "session_started"] == [False, True, False]
    assert [kind for kind, _ in log].count("turn_started") == 2


def test_a_home_that_was_lost_is_restored_from_the_mirrored_transcript(database_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session(prompt="say remember me; exit 0")
        await stage.agent_is_gone(session)
        (memory,) = (stage.home(session) / ".corral-demo").iterdir()
        memory.unlink()
        stage.prompt(session, "recall 1")
        return await stage.event(session, "turn_ended", 2)

    assert "remember me" in play(database_url, tmp_path, story)["result_text"]


def test_agents_see_an_allow_list_of_the_environment_and_what_was_given(sqlite_url, tmp_path):
    environ = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "CORRAL_SECRET_KEY": "hidden", "DATABASE_URL": "hidden"}

    async def story(stage: Stage):
        session = stage.session(prompt="run env", env={"TOKEN": "of the caller"})
        await stage.event(session, "turn_ended")
        (result,) = stage.told(session, "tool_result")
        return dict(line.partition("=")[::2] for line in result["output"].splitlines() if "=" in line), session, stage

    seen, session, stage = play(sqlite_url, tmp_path, story, environ=environ, child_env={"PROXY": "of the operator"})

    assert seen.keys() - {"PWD", "SHLVL", "_", "OLDPWD"} == {
        "PATH",
        "LC_ALL",
        "TOKEN",
        "PROXY",
        "HOME",
        "TMPDIR",
        "CORRAL_SESSION_ID",
    }
    assert seen["CORRAL_SESSION_ID"] == session
    assert seen["HOME"] == str(stage.home(session))


def test_files_are_written_where_the_workspace_is(sqlite_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session(prompt="write notes/a.txt it works")
        await stage.event(session, "turn_ended")
        return (stage.workspace(session) / "notes/a.txt").read_text()

    assert play(sqlite_url, tmp_path, story).strip() == "it works"


def test_a_missing_program_fails_the_start_clearly(database_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session(prompt="say hello")
        await stage.status(session, "ended")
        return stage.log(session), stage.head(session)

    log, head = play(database_url, tmp_path, story, commands={"demo": "/nowhere/agent"})

    assert [kind for kind, _ in log] == ["turn_ended", "session_ended"]
    assert (log[0][1]["status"], log[0][1]["stop_reason"]) == ("failed", "session_start_failed")
    assert (head.end_reason, head.owner) == ("start_failed", None)
    assert "agent" in str(head.end_detail)
    assert "/nowhere" not in str(head.end_detail)


def test_a_program_that_exits_at_once_fails_the_start_with_its_last_words(sqlite_url, tmp_path, capsys):
    async def story(stage: Stage):
        session = stage.session(prompt="say hello")
        await stage.status(session, "ended")
        return stage.head(session)

    head = play(sqlite_url, tmp_path, story, commands={"demo": "sh -c 'echo no licence >&2; exit 4'"})

    assert head.end_reason == "start_failed"
    assert "exit code 4" in head.end_detail
    assert "no licence" in head.end_detail
    logged = capsys.readouterr().out
    assert "exit code 4" in logged
    assert "no licence" not in logged, "an agent's words may hold a secret"


def test_an_agent_that_never_gets_ready_fails_the_start(sqlite_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session(prompt="say hello")
        await stage.status(session, "ended", timeout_s=8)
        return stage.head(session)

    head = play(sqlite_url, tmp_path, story, commands={"demo": "sh -c 'sleep 60'"}, agent_start_s=0.5)

    assert (head.end_reason, "not ready" in head.end_detail) == ("start_failed", True)


def test_an_unreadable_folder_fails_the_start_clearly(sqlite_url, tmp_path):
    async def story(stage: Stage):
        spec = replace(SPEC, workspace={"kind": "folder", "path": "/root/secret"})
        session = stage.session(spec, prompt="say hello")
        await stage.status(session, "ended")
        return stage.head(session)

    head = play(sqlite_url, tmp_path, story)

    assert (head.end_reason, "CORRAL_ALLOWED_FOLDERS" in head.end_detail) == ("start_failed", True)


def test_a_later_start_that_fails_costs_one_turn_and_not_the_session(database_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session(prompt="say one; exit 0")
        await stage.agent_is_gone(session)
        commands = stage.world.commands
        commands["demo"] = "/nowhere/agent"
        stage.prompt(session, "say two")
        failed = await stage.event(session, "turn_ended", 2)
        await stage.status(session, "parked")
        del commands["demo"]
        stage.prompt(session, "recall 1")
        return failed, await stage.event(session, "turn_ended", 3)

    failed, after = play(database_url, tmp_path, story, commands={})

    assert (failed["status"], failed["stop_reason"]) == ("failed", "start_failed")
    assert "say one" in after["result_text"]


def test_a_prompt_no_agent_could_read_goes_to_the_next_one(sqlite_url, tmp_path):
    async def story(stage: Stage):
        session = stage.session(prompt="say one")
        await stage.event(session, "session_idle")
        (pid,) = stage.processes(session)
        turn = stage.seeds.turn(session, "recall 1")
        os.kill(pid, signal.SIGKILL)
        stage.host.look(session)
        await stage.until(lambda: stage.turn(turn).status.is_over)
        return stage.turn(turn), stage.told(session, "turn_started")

    turn, started = play(sqlite_url, tmp_path, story)

    assert (turn.status, len(started)) == (TurnStatus.COMPLETED, 2)
    assert "say one" in turn.result_text
