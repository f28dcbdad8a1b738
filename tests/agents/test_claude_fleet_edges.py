"""The real Claude Code in a fleet where it gets rough: early ends, limits, large inputs, conversations left behind."""

from __future__ import annotations

import json
import shutil


def _said(session, turn):
    return json.dumps(session.told("message", turn["id"]))


# --- killed or cancelled before anything was said


def test_a_prompt_cancelled_while_its_agent_starts_never_runs(house):
    session = house.start("[[bash:touch f.txt]]", mode="bypass")
    house.client.post(f"/turns/{session.first}/cancel")
    turn = session.over()
    after = session.turn("go on")

    assert turn["status"] == "cancelled"
    assert after["status"] == "completed"
    assert not (session.workspace / "f.txt").exists()


def test_an_agent_killed_before_its_first_prompt_is_started_again(house):
    session = house.start()
    session.status("idle")
    session.kill_agent()

    assert session.turn("hello")["status"] == "completed"


def test_an_agent_killed_right_behind_its_first_prompt_is_started_again(house):
    session = house.start("[[hang]]")
    session.hears("turn_started")
    session.kill_agent()

    assert session.over()["stop_reason"] == "agent_exited"
    assert session.turn("hello")["status"] == "completed"


def test_a_home_lost_without_a_mirror_begins_a_fresh_conversation_and_says_so(house):
    session = house.start("hello", limits={"idle_s": 0.3})
    session.over()
    session.status("parked")
    shutil.rmtree(session.home)
    house.forget_transcript(session.id)
    turn = session.turn("hello again")

    assert turn["status"] == "completed"
    assert [data["kind"] for data in session.told("notice")] == ["fresh_conversation"]


def test_a_session_terminated_while_its_agent_starts_ends(house):
    session = house.start("hello")
    ended = session.terminate()

    assert ended["end_reason"] == "terminated"
    assert session.over()["status"] in {"cancelled", "completed"}


# --- parked in another state than it was started in


def test_a_mode_and_model_chosen_while_parked_hold_after_the_resume(house):
    session = house.start("[[remember:plum]]", limits={"idle_s": 0.3})
    session.over()
    session.status("parked")
    house.client.ask("PATCH", f"/sessions/{session.id}", {"mode": "plan", "model": "sonnet"}).raise_for_status()
    turn = session.prompt("[[recall]][[plan]]")
    session.answer(session.ask(), verdict="reject")

    assert session.over(turn)["status"] == "completed"
    assert "sonnet" in str(session.heard_by_the_model()[-1]["model"])


def test_the_mode_a_plan_was_approved_with_holds_after_a_resume(house):
    session = house.start("[[plan]]", mode="plan", limits={"idle_s": 0.3})
    session.answer(session.ask(), verdict="approve", next_mode="accept_edits")
    session.over()
    session.status("parked")
    turn = session.turn(f"[[write:{session.workspace}/f.txt=written]]")

    assert turn["status"] == "completed"
    assert (session.workspace / "f.txt").read_text() == "written"
    assert len(session.asks()) == 1


def test_a_cleared_conversation_is_the_one_that_is_resumed_in_an_empty_home(house):
    session = house.start("[[remember:plum]]", limits={"idle_s": 0.5})
    session.over()
    session.turn("/clear")
    session.turn("[[remember:pear]]")
    session.status("parked")
    shutil.rmtree(session.home)
    turn = session.turn("[[recall]]")

    assert "pear" in _said(session, turn)
    assert "plum" not in json.dumps(session.heard_by_the_model()[-1]["messages"])


def test_a_compacted_conversation_is_resumed_in_an_empty_home(house):
    session = house.start("[[remember:plum]]", limits={"idle_s": 0.5})
    session.over()
    session.turn("/compact")
    session.status("parked")
    shutil.rmtree(session.home)
    turn = session.turn("hello")

    assert turn["status"] == "completed"
    assert session.told("session_started")[-1]["resumed"] is True
    assert "compacted" in [data["kind"] for data in session.told("notice")]


def test_a_disk_restored_from_an_older_day_is_resumed_from_the_store(house, tmp_path):
    session = house.start("[[remember:plum]]", limits={"idle_s": 0.3})
    session.status("parked")
    shutil.copytree(session.home, tmp_path / "backup")
    session.turn("[[remember:pear]]")
    session.status("parked")
    shutil.rmtree(session.home)
    shutil.copytree(tmp_path / "backup", session.home)
    turn = session.turn("[[recall]]")

    assert "pear" in _said(session, turn)


def test_a_transcript_that_a_crash_tore_off_is_resumed_from_the_store(house):
    session = house.start("[[remember:plum]]", limits={"idle_s": 0.3})
    session.status("parked")
    (transcript,) = (session.home / ".claude" / "projects").rglob("*.jsonl")
    transcript.write_bytes(transcript.read_bytes()[:-3000])
    turn = session.turn("[[recall]]")

    assert "plum" in _said(session, turn)


# --- limits


def test_a_session_beyond_its_cost_stops_its_turn_and_ends(house):
    session = house.start("[[bash:echo 1]][[bash:echo 2]][[bash:echo 3]][[slow:100]]", limits={"max_cost_usd": 0.015})
    ended = session.status("ended")

    assert ended["end_reason"] == "max_cost_reached"
    assert session.over()["stop_reason"] == "max_cost"


def test_waiting_for_a_human_does_not_count_as_time_of_the_turn(house):
    session = house.start("[[bash:touch f.txt]]", limits={"turn_s": 2}, ask_timeout_s=3)
    turn = session.over()

    assert turn["status"] == "completed"


# --- sizes


def test_a_file_of_200_kilobytes_is_shown_allowed_and_written(house):
    session = house.start()
    content = "0123456789" * 20_000
    turn = session.prompt(f"[[write:{session.workspace}/f.txt={content}]]")
    ask = session.ask()
    session.answer(ask, decision="allow")

    assert session.over(turn)["status"] == "completed"
    assert ask["data"]["input"]["content"] == content
    assert (session.workspace / "f.txt").read_text() == content


# --- a model out of reach


def test_a_model_out_of_reach_fails_the_turn_in_words(house):
    session = house.start("hello", env={"ANTHROPIC_BASE_URL": "http://127.0.0.1:9", "CLAUDE_CODE_MAX_RETRIES": "1"})
    turn = session.over()

    assert (turn["status"], turn["stop_reason"]) == ("failed", "error")
    assert turn["error"]


def test_a_wrong_key_fails_the_turn_in_words(house):
    session = house.start("[[err:401]]")
    turn = session.over()

    assert turn["status"] == "failed"
    assert turn["error"]
    assert session.turn("go on")["status"] == "completed"
