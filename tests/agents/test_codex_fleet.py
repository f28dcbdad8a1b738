"""Sessions of a real Codex over HTTP: a real worker and warden, homes that hold nothing, a scripted model."""

from __future__ import annotations

import json

import pytest

from shared.domain.event import EventType

pytestmark = pytest.mark.parametrize("house", ["codex"], indirect=True)


def test_codex_is_shown_as_ready_with_what_it_can_do(house):
    agents = {agent["name"]: agent for agent in house.client.get("/agents")["data"]}

    codex = agents["codex"]
    assert codex["ready"] is True
    assert "0.163.0" in codex["version"]
    assert codex["abilities"]["steer"] is codex["abilities"]["fork"] is True
    assert codex["abilities"]["cost"] is codex["abilities"]["changed_input"] is False
    assert set(codex["commands"]) == {"clear", "compact", "plan"}


def test_a_plain_turn_and_the_next_prompt_remembers(house):
    session = house.start("[[remember:plum]][[say:good day]]")
    first = session.over()
    second = session.turn("[[recall]]")

    assert (first["status"], first["stop_reason"]) == ("completed", "end_turn")
    assert first["usage"]["output_tokens"] == 10
    assert first["cost_usd"] is None
    said = [data["text"] for data in session.told("message", first["id"])]
    assert said[0] == "good day"
    assert "plum" in json.dumps(session.told("message", second["id"]))
    (started,) = session.told("session_started")
    assert (started["version"], started["resumed"]) == ("0.163.0", False)


def test_what_is_allowed_is_done_and_what_is_denied_is_not_and_the_model_hears_why(house):
    session = house.start("[[bash:touch f.txt]][[bash:touch g.txt]]")
    session.answer(session.ask(), decision="allow")
    session.hears(EventType.TOOL_RESULT)
    session.answer(session.ask(), decision="deny", message="not on Friday")
    turn = session.over()

    assert turn["status"] == "completed"
    assert (session.workspace / "f.txt").exists()
    assert not (session.workspace / "g.txt").exists()
    assert [data["is_error"] for data in session.told("tool_result")] == [False, True]
    assert "not on Friday" in turn["result_text"]


def test_a_patch_is_asked_for_with_its_diff_and_made_and_told_as_a_whole(house):
    session = house.start("[[write:f.txt=hello]]")
    ask = session.ask()
    session.answer(ask, decision="allow")
    session.over()

    (change,) = ask["data"]["input"]["changes"]
    assert (change["kind"], change["diff"]) == ("add", "hello\n")
    assert (session.workspace / "f.txt").read_text() == "hello\n"
    (told,) = [data for data in session.told("notice") if data["kind"] == "turn_diff"]
    assert "+hello" in told["diff"]


def test_an_approved_plan_goes_on_in_the_mode_that_was_chosen_as_one_turn(house):
    session = house.start("[[plan]][[write:f.txt=planned]]", mode="plan")
    ask = session.ask()
    session.answer(ask, verdict="approve", next_mode="accept_edits")
    turn = session.over()

    assert ask["data"]["plan"].startswith("# Plan")
    assert turn["status"] == "completed"
    assert (session.workspace / "f.txt").read_text() == "planned\n"
    assert house.client.get(f"/sessions/{session.id}")["mode"] == "accept_edits"
    assert len(session.told("turn_ended")) == 1


def test_a_question_is_answered_in_any_mode(house):
    session = house.start("[[ask]]")
    ask = session.ask()
    (question,) = ask["data"]["questions"]
    session.answer(ask, answers={question["question"]: "Postgres"})

    assert "Postgres" in session.over()["result_text"]


def test_a_cancelled_command_leaves_no_process_and_the_next_prompt_runs(house):
    session = house.start("[[bash:touch begun; python3 -c 'import time; time.sleep(87321)'; touch done]]")
    session.answer(session.ask(), decision="allow")
    session.until_command("87321")
    session.cancel()
    turn = session.over()
    after = session.turn("go on")

    assert turn["status"] == "cancelled"
    assert session.told("tool_result")[0]["is_error"] is True
    assert not any("87321" in command for command in session.processes().values())
    assert not (session.workspace / "done").exists()
    assert after["status"] == "completed"


def test_a_cancel_with_an_open_ask_loses_it_and_the_next_prompt_runs(house):
    session = house.start("[[bash:touch f.txt]]")
    session.ask()
    session.cancel()

    assert session.over()["status"] == "cancelled"
    assert session.asks()[0]["status"] == "lost"
    assert session.turn("go on")["status"] == "completed"
    assert not (session.workspace / "f.txt").exists()


def test_a_prompt_is_steered_into_the_running_turn(house):
    session = house.start("[[say:I listen]][[slow:30]]")
    session.hears(EventType.MESSAGE_CHUNK, lambda data: data["text"].startswith("slow"))
    steered = session.turn("[[say:as you steer]]", when_busy="steer")
    first = session.over()

    assert (steered["status"], steered["stop_reason"]) == ("completed", "steered")
    assert "as you steer" in json.dumps(session.told("message", first["id"]))


def test_an_overloaded_model_is_told_as_retrying_and_the_turn_completes(house):
    session = house.start("[[err:529]]")
    turn = session.over(timeout_s=60)

    assert [(data["attempt"], data["max_attempts"], data["status"]) for data in session.told("retrying")] == [
        (1, 3, 529),
        (2, 3, 529),
    ]
    assert turn["status"] == "completed"


def test_a_killed_agent_fails_its_turn_and_the_next_prompt_resumes_it(house):
    session = house.start("[[remember:plum]]")
    session.over()
    turn = session.prompt("[[slow:200]]")
    session.hears(EventType.MESSAGE_CHUNK, lambda data: data["text"].startswith("slow"))
    session.kill_agent()
    failed = session.over(turn)
    after = session.turn("[[recall]]")

    assert (failed["status"], failed["stop_reason"]) == ("failed", "agent_exited")
    assert "signal 9" in failed["error"]
    assert "plum" in json.dumps(session.told("message", after["id"]))
    assert [data["resumed"] for data in session.told("session_started")] == [False, True]


def test_a_parked_session_is_resumed_in_an_empty_home_from_the_mirror(house):
    session = house.start("[[remember:plum]]", limits={"idle_s": 0.3})
    session.status("parked")
    (rollout,) = (session.home / ".codex/sessions").rglob("rollout-*.jsonl")
    rollout.unlink()
    turn = session.turn("[[recall]]")

    assert "plum" in json.dumps(session.told("message", turn["id"]))
    assert rollout.exists()


def test_a_terminated_session_leaves_no_process(house):
    session = house.start("[[bash:python3 -c 'import time; time.sleep(76543)']]", mode="bypass")
    session.until_command("76543")
    session.terminate()

    assert not session.everywhere("76543")
    assert not session.processes()
