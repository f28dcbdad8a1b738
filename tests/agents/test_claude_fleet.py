"""The real Claude Code end to end: prompts over the API, its turns in the log and at a webhook, in an empty home."""

from __future__ import annotations

import json

import pytest

from shared.domain.event import EventType

BOTH = pytest.mark.parametrize("house", ["sqlite", "postgresql"], indirect=True)
HEIRS = "setsid --fork sleep {n}; env -i setsid --fork sleep {n}; python3 -c 'import time; time.sleep({n})'"
"""A command that leaves children in sessions of their own, one of them without its mark, and does not end."""


# --- plain turns


@BOTH
def test_a_prompt_runs_in_an_empty_home_and_its_turn_tells_text_usage_and_cost(house):
    session = house.start("say hello")
    turn = session.over()
    idle = session.status("idle")

    log = session.log()
    assert turn["status"] == "completed"
    assert turn["stop_reason"] == "end_turn"
    assert turn["result_text"].startswith("Hello from the scripted model")
    assert turn["usage"] == {
        "input_tokens": 2000,
        "output_tokens": 10,
        "cache_read_tokens": 2000,
        "cache_write_tokens": 100,
    }
    assert turn["cost_usd"] > 0
    assert idle["cost_usd"] == pytest.approx(turn["cost_usd"])
    assert [one["seq"] for one in log] == list(range(1, len(log) + 1))
    assert [one["type"] for one in log if one["type"] != "message_chunk"] == [
        "turn_queued",
        "session_started",
        "turn_started",
        "message",
        "usage",
        "turn_ended",
        "session_idle",
    ]
    assert "".join(data["text"] for data in session.told("message_chunk")) == turn["result_text"]
    assert session.told("message")[0]["text"] == turn["result_text"]
    assert session.told("usage")[-1] == {**turn["usage"], "cost_usd": turn["cost_usd"], "cost_source": "agent"}
    assert session.told("session_started")[0]["resumed"] is False
    assert not (house.fleet.folder / ".claude").exists()


@BOTH
def test_three_queued_prompts_run_in_their_order_and_each_remembers_the_one_before(house):
    session = house.start("[[remember:plum]][[slow:10]]")
    turns = [session.prompt(f"[[recall]] [[remember:{word}]]") for word in ("pear", "quince")]
    last = session.prompt("[[recall]]")

    ended = [session.over(turn)["result_text"] for turn in (*turns, last)]

    order = [one["turn_id"] for one in session.log() if one["type"] in {"turn_started", "turn_ended"}]
    assert order == [turn for turn in (session.first, *turns, last) for _ in "se"]
    words = [json.dumps(session.told("message", turn)) for turn in (*turns, last)]
    assert [word in said for word, said in zip(("plum", "pear", "quince"), words, strict=True)] == [True] * 3
    assert all(ended)


def test_a_webhook_gets_the_very_events_that_rest_shows_signed(house):
    session = house.start("[[think]][[bash:echo hi]]", webhook={"url": house.receiver.url("/events")})
    secret = session.webhook_secret
    session.over()
    session.turn("again")
    session.terminate()

    log = session.log()
    house.receiver.wait_for_seqs("/events", [one["seq"] for one in log])
    posts = house.receiver.at("/events")
    assert all(post.is_signed_with(secret) for post in posts)
    assert [event for post in posts for event in post.content["events"]] == log


def test_thinking_is_told_as_it_comes(house):
    session = house.start("[[think]]")
    session.over()

    thoughts = "".join(data["text"] for data in session.told("thinking_chunk"))
    assert thoughts == "Let me think about this for a moment."


def test_a_message_of_300_kilobytes_comes_whole(house):
    session = house.start("[[big:300000]]")
    turn = session.over()

    assert "".join(data["text"] for data in session.told("message_chunk")).count("x") == 300_000
    assert turn["status"] == "completed"


def test_mode_and_model_are_changed_between_two_turns(house):
    session = house.start("hello")
    session.over()

    house.client.ask("PATCH", f"/sessions/{session.id}", {"mode": "plan", "model": "sonnet"}).raise_for_status()
    session.turn("[[bash:touch f.txt]]")

    assert session.told("mode_changed")[0]["mode"] == "plan"
    assert "sonnet" in str(session.heard_by_the_model()[-1]["model"])
    assert not (session.workspace / "f.txt").exists()


# --- tools and modes


def test_bypass_asks_nothing(house):
    session = house.start("[[bash:touch f.txt]]", mode="bypass")
    turn = session.over()

    assert turn["status"] == "completed"
    assert not session.asks()
    assert (session.workspace / "f.txt").exists()
    assert [data["name"] for data in session.told("tool_call")] == ["Bash"]
    assert session.told("tool_result")[0]["is_error"] is False


def test_accepted_edits_are_written_unasked_and_other_tools_still_ask(house):
    session = house.start(mode="accept_edits")
    turn = session.prompt(f"[[write:{session.workspace}/f.txt=written]][[bash:python3 -c 'print(1)']]")
    ask = session.ask()
    session.answer(ask, decision="allow")

    assert session.over(turn)["status"] == "completed"
    assert (session.workspace / "f.txt").read_text() == "written"
    assert [one["data"]["tool_name"] for one in session.asks()] == ["Bash"]


# --- asks


@BOTH
def test_an_allowed_tool_runs(house):
    session = house.start("[[bash:echo hi > f.txt]]")
    ask = session.ask()
    session.status("waiting")
    waiting = house.client.get(f"/turns/{session.first}")["status"]
    session.answer(ask, decision="allow")
    turn = session.over()

    assert waiting == "waiting"
    assert (ask["kind"], ask["data"]["tool_name"]) == ("permission", "Bash")
    assert turn["status"] == "completed"
    assert (session.workspace / "f.txt").read_text() == "hi\n"
    assert [data["status"] for data in session.told("ask_resolved")] == ["answered", "applied"]
    assert session.asks()[0]["status"] == "applied"


def test_a_denied_tool_does_not_run_and_the_model_hears_why(house):
    session = house.start("[[bash:echo hi > f.txt]]")
    session.answer(session.ask(), decision="deny", message="not on Friday")
    turn = session.over()

    assert turn["status"] == "completed"
    assert "not on Friday" in turn["result_text"]
    assert session.told("tool_result")[0]["is_error"] is True
    assert not (session.workspace / "f.txt").exists()


def test_a_changed_input_is_what_runs(house):
    session = house.start("[[bash:echo hi > f.txt]]")
    session.answer(session.ask(), decision="allow", input={"command": "echo changed > g.txt"})
    session.over()

    assert (session.workspace / "g.txt").read_text() == "changed\n"
    assert not (session.workspace / "f.txt").exists()


def test_allow_always_asks_once(house):
    session = house.start("[[bash:touch f.txt]]")
    session.answer(session.ask(), decision="allow_always")
    session.over()
    again = session.turn("[[bash:touch f.txt]]")

    assert again["status"] == "completed"
    assert len(session.asks()) == 1


def test_an_ask_nobody_answers_is_denied_and_the_turn_goes_on(house):
    session = house.start("[[bash:touch f.txt]]", ask_timeout_s=1)
    turn = session.over()

    assert turn["status"] == "completed"
    assert "Nobody answered in time." in turn["result_text"]
    assert session.asks()[0]["status"] == "expired"
    assert not (session.workspace / "f.txt").exists()


@pytest.mark.parametrize(
    ("marker", "answer", "heard"),
    [("[[ask]]", "Postgres", "Postgres"), ("[[ask:many]]", ["Postgres", "Redis"], "Postgres, Redis")],
    ids=["one label", "several labels"],
)
def test_an_answered_question_reaches_the_model(house, marker, answer, heard):
    session = house.start(marker)
    ask = session.ask()
    (question,) = ask["data"]["questions"]
    session.answer(ask, answers={question["question"]: answer})
    turn = session.over()

    assert (ask["kind"], [option["label"] for option in question["options"]]) == ("question", ["Postgres", "Redis"])
    assert heard in turn["result_text"]


def test_a_rejected_plan_is_made_again_with_the_feedback(house):
    session = house.start("[[plan]]", mode="plan")
    ask = session.ask()
    session.answer(ask, verdict="reject", feedback="add tests")
    turn = session.over()

    assert ask["data"]["plan"].startswith("# Plan")
    assert "add tests" in turn["result_text"]
    assert house.client.get(f"/sessions/{session.id}")["mode"] == "plan"


def test_an_approved_plan_goes_on_in_the_mode_that_was_chosen(house):
    session = house.start(mode="plan")
    turn = session.prompt(f"[[plan]][[write:{session.workspace}/f.txt=planned]]")
    session.answer(session.ask(), verdict="approve", next_mode="accept_edits")

    assert session.over(turn)["status"] == "completed"
    assert (session.workspace / "f.txt").read_text() == "planned"
    assert session.told("mode_changed")[-1] == {"mode": "accept_edits"}
    assert house.client.get(f"/sessions/{session.id}")["mode"] == "accept_edits"


# --- interrupts


def test_a_cancel_in_the_text_keeps_what_was_said_and_the_next_prompt_runs(house):
    session = house.start("[[remember:plum]][[slow:200]]")
    session.hears(EventType.MESSAGE_CHUNK)
    session.cancel()
    turn = session.over()
    after = session.turn("[[recall]]")

    assert (turn["status"], turn["stop_reason"]) == ("cancelled", "cancelled")
    said = "".join(data["text"] for data in session.told("message_chunk", turn["id"]))
    assert said.startswith("slow text")
    assert len(said) < 2000
    assert after["status"] == "completed"
    assert "plum" in json.dumps(session.told("message", after["id"]))


def test_a_cancel_in_a_running_command_ends_the_command_and_the_next_prompt_runs(house):
    session = house.start("[[say:before]][[bash:touch begun; python3 -c 'import time; time.sleep(98765)'; touch done]]")
    session.answer(session.ask(), decision="allow")
    session.until_command("98765")
    session.cancel()
    turn = session.over()
    after = session.turn("go on")

    assert turn["status"] == "cancelled"
    assert "before" in json.dumps(session.told("message", turn["id"]))
    assert session.told("tool_result")[0]["is_error"] is True
    assert not any("98765" in command for command in session.processes().values())
    assert not (session.workspace / "done").exists()
    assert after["status"] == "completed"


def test_a_cancel_with_an_open_ask_loses_it_and_the_next_prompt_runs(house):
    session = house.start("[[bash:touch f.txt]]")
    ask = session.ask()
    session.cancel()
    turn = session.over()
    after = session.turn("go on")

    assert turn["status"] == "cancelled"
    assert session.asks()[0]["status"] == "lost"
    assert house.client.ask("POST", f"/asks/{ask['id']}/answer", {"decision": "allow"}).status_code == 409
    assert after["status"] == "completed"
    assert not (session.workspace / "f.txt").exists()


def test_a_prompt_that_may_interrupt_takes_the_place_of_the_running_one(house):
    session = house.start("[[slow:200]]")
    session.hears(EventType.MESSAGE_CHUNK)
    after = session.turn("go on", when_busy="interrupt")

    assert session.over()["status"] == "cancelled"
    assert after["status"] == "completed"


def test_a_turn_beyond_its_time_is_interrupted_and_the_next_one_runs(house):
    session = house.start("[[slow:200]]", limits={"turn_s": 1})
    turn = session.over()

    assert (turn["status"], turn["stop_reason"]) == ("interrupted", "turn_limit")
    assert session.turn("go on")["status"] == "completed"


# --- a model that fails


def test_an_overloaded_model_is_told_as_retrying_and_the_turn_completes(house):
    session = house.start("[[err:529]]")
    turn = session.over()

    assert [(data["attempt"], data["status"]) for data in session.told("retrying")] == [(1, 529), (2, 529)]
    assert turn["status"] == "completed"


def test_a_request_the_model_refuses_fails_the_turn_and_the_next_one_runs(house):
    session = house.start("[[err:400]]")
    turn = session.over()
    after = session.turn("go on")

    assert (turn["status"], turn["stop_reason"]) == ("failed", "error")
    assert "scripted 400" in turn["error"]
    assert session.told("error")[0]["status"] == 400
    assert after["status"] == "completed"


# --- processes come and go


def test_an_idle_session_is_parked_and_the_next_prompt_resumes_it(house):
    session = house.start("[[remember:plum]]", limits={"idle_s": 0.3})
    session.status("parked")
    left = session.processes()
    turn = session.turn("[[recall]]")

    assert not left
    assert "plum" in turn["result_text"] + json.dumps(session.told("message", turn["id"]))
    assert [data["resumed"] for data in session.told("session_started")] == [False, True]
    assert turn["cost_usd"] == pytest.approx(session.over()["cost_usd"])


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


def test_a_terminated_session_leaves_no_process_whatever_session_it_hides_in(house):
    session = house.start(f"[[bash:{HEIRS.format(n=87654)}]]", mode="bypass")
    session.until_command("import time; time.sleep(87654)")
    before = session.everywhere("87654")

    session.terminate()

    assert len(before) >= 3
    assert not session.everywhere("87654")
    assert not session.processes()
    assert (session.over()["status"], session.over()["stop_reason"]) == ("cancelled", "session_terminated")
