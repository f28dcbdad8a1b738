"""What the recordings do not hold: cut lines, strange frames, silence, and the edges of a turn with Claude Code."""

from __future__ import annotations

import dataclasses

import pytest

from shared.agents.claude.driver import ClaudeDriver
from shared.agents.driver import (
    AskOpen,
    AskWithdrawn,
    Emit,
    ExitStatus,
    Interrupt,
    Leave,
    WakeIn,
)
from shared.domain.event import EventType
from shared.domain.turn import TurnStatus
from tests.fixtures.claude_talk import Talk, ends, notices, said

# --- lines that are no frames


@pytest.mark.parametrize(
    "line", ["no json", "[1]", "42", '"text"', "{", "[" * 100_000, '{"a":' * 500 + "1" + "}" * 500]
)
def test_a_line_that_is_no_frame_becomes_a_notice(line):
    outputs = Talk().line(line)

    assert [notice["kind"] for notice in notices(outputs)] == ["unreadable_line"]
    assert len(notices(outputs)[0]["excerpt"]) <= 200


def test_an_empty_line_is_nothing():
    assert Talk().line("  ") == []


def test_noise_is_told_a_bounded_number_of_times():
    talk = Talk()
    for number in range(1000):
        talk.line(f"noise {number}")
        talk.feed(type="brand_new", number=number)
        talk.feed(type=f"kind_{number}")

    assert len(notices(talk.outputs)) < 20 + 3 + 64


def test_an_unknown_frame_is_told_by_its_type_and_a_short_excerpt():
    (notice,) = notices(Talk().feed(type="system", subtype="weather", text="x" * 1000))

    assert (notice["kind"], notice["frame"]) == ("unknown_frame", "weather")
    assert len(notice["excerpt"]) <= 200


def test_a_cut_line_is_told_with_what_was_lost():
    (notice,) = notices(Talk().line('{"type":"assistant","message":{"content":[{"text":"xx', dropped=5000))

    assert (notice["kind"], notice["dropped_bytes"]) == ("line_cut", 5000)


@pytest.mark.parametrize("dropped", [0, 9_000_000], ids=["mangled", "cut"])
def test_an_ask_that_cannot_be_read_is_denied(dropped):
    line = '{"type":"control_request","request_id":"r-9","request":{"subtype":"can_use_tool","tool_name":"Write","input'

    outputs = Talk().line(line, dropped=dropped)

    (answer,) = said(outputs)
    assert answer["response"]["request_id"] == "r-9"
    assert answer["response"]["response"]["behavior"] == "deny"
    assert notices(outputs)[0]["kind"] == "ask_denied"
    assert not [output for output in outputs if isinstance(output, AskOpen)]


def test_a_cut_line_that_merely_quotes_an_ask_is_not_answered():
    quoted = r'{"type":"user","text":"{\"type\":\"control_request\",\"request_id\":\"r-9\",\"subtype\":\"can_use_tool\"'

    assert not said(Talk().line(quoted, dropped=10))


# --- the course of a turn


def test_a_result_alone_does_not_end_the_turn():
    talk = Talk()
    talk.prompt()

    assert ends(talk.result()) == []
    assert [end.status for end in ends(talk.state("idle"))] == [TurnStatus.COMPLETED]
    assert ends(talk.state("idle")) == []


def test_a_turn_whose_idle_does_not_come_ends_after_a_while():
    talk = Talk()
    talk.prompt()

    assert WakeIn(5.0) in talk.result()
    assert [end.status for end in ends(talk.dialogue.woke())] == [TurnStatus.COMPLETED]
    assert talk.dialogue.woke() == []


def test_an_agent_that_works_on_after_its_result_is_not_cut_short():
    talk = Talk()
    talk.prompt()
    talk.result()

    assert talk.feed(type="system", subtype="init", session_id="") == [WakeIn(None)]


def test_the_idle_of_other_work_does_not_end_a_turn_that_waits():
    talk = Talk()
    talk.state("running")
    talk.prompt()

    other = talk.feed(type="result", subtype="success", is_error=False, origin={"kind": "task-notification"})
    assert ends([*other, *talk.state("idle")]) == []
    talk.result()
    assert len(ends(talk.state("idle"))) == 1


def test_a_prompt_that_was_cancelled_in_the_queue_ends_its_turn():
    talk = Talk()
    talk.prompt()
    talk.lifecycle("queued")
    talk.say(Interrupt())
    talk.lifecycle("cancelled")

    (end,) = ends(talk.state("idle"))
    assert (end.status, end.stop_reason) == (TurnStatus.CANCELLED, "interrupted")


def test_an_interrupt_that_hit_nothing_is_repeated_when_the_prompt_starts():
    talk = Talk()
    talk.prompt()
    talk.say(Interrupt())

    (again,) = said(talk.lifecycle("started"))
    assert again["request"] == {"subtype": "interrupt", "cancel_queued": True}


def test_a_prompt_that_is_skipped_for_its_uuid_is_said_again_under_another():
    talk = Talk()
    talk.prompt("the very same")
    first = talk.uuid
    talk.lifecycle("completed")

    (again,) = said(talk.state("idle"))
    assert again["message"]["content"] == "the very same"
    assert again["uuid"] != first


def test_a_prompt_that_is_skipped_for_ever_ends():
    talk = Talk()
    talk.prompt()
    for _ in range(3):
        talk.lifecycle("completed")
        outputs = talk.state("idle")

    assert len(ends(outputs)) == 1


def test_a_completed_turn_stays_completed_though_an_interrupt_was_on_its_way():
    talk = Talk()
    talk.prompt()
    talk.say(Interrupt())
    talk.result()

    assert ends(talk.state("idle"))[0].status is TurnStatus.COMPLETED


def test_a_turn_the_agent_aborts_by_itself_has_failed():
    talk = Talk()
    talk.prompt()
    talk.result(subtype="error_during_execution", is_error=True, terminal_reason="aborted_tools", errors=["[ede]"])

    (end,) = ends(talk.state("idle"))
    assert (end.status, end.stop_reason) == (TurnStatus.FAILED, "error")
    assert end.error
    assert "ede" not in end.error


def test_work_between_turns_is_paid_by_the_next_one():
    talk = Talk()
    spent = {"opus": {"inputTokens": 10, "outputTokens": 1, "costUSD": 0.5}}
    talk.feed(type="result", subtype="success", origin={"kind": "cron"}, model_usage_since_last_result=spent)
    talk.prompt()
    talk.result(model_usage_since_last_result=spent)

    (end,) = ends(talk.state("idle"))
    assert end.cost_usd == pytest.approx(1.0)
    assert end.usage.input_tokens == 20


def test_a_tool_call_without_a_result_is_closed_with_the_turn():
    talk = Talk()
    talk.prompt()
    talk.called("t1")
    talk.result()

    results = [out.data for out in talk.state("idle") if isinstance(out, Emit) and out.type is EventType.TOOL_RESULT]
    assert [(result["tool_call_id"], result["is_error"]) for result in results] == [("t1", True)]
    assert notices(talk.returned("t1"))[0]["kind"] == "unknown_result"


def test_a_cost_limit_interrupts_the_turn_and_says_so():
    talk = Talk(max_turn_cost_usd=1.0)
    talk.prompt()
    talk.called("t1")
    (asked,) = said(talk.returned("t1"))

    told = {"subtype": "success", "request_id": asked["request_id"], "response": {"session": {"total_cost_usd": 1.2}}}
    (stop,) = said(talk.feed(type="control_response", response=told))
    talk.result(subtype="error_during_execution", is_error=True, terminal_reason="aborted_streaming")

    assert asked["request"]["subtype"] == "get_usage"
    assert stop["request"]["subtype"] == "interrupt"
    assert ends(talk.state("idle"))[0].stop_reason == "max_cost"


def test_without_a_cost_limit_nobody_asks_for_the_cost():
    talk = Talk()
    talk.prompt()
    talk.called("t1")

    assert not said(talk.returned("t1"))


# --- the end


@pytest.mark.parametrize(
    ("status", "told"),
    [(ExitStatus(code=3), "exited with code 3"), (ExitStatus(signal=11), "was ended by signal 11")],
)
def test_the_end_of_the_process_ends_the_turn_and_withdraws_the_asks(status, told):
    talk = Talk()
    talk.prompt()
    talk.ask()

    outputs = talk.dialogue.end(dataclasses.replace(status, stderr_tail="y" * 4000 + " last words"))
    (end,) = ends(outputs)
    assert AskWithdrawn("r1", "agent_exited") in outputs
    assert (end.status, end.stop_reason) == (TurnStatus.FAILED, "agent_exited")
    assert told in end.error
    assert end.error.endswith("last words")
    assert len(end.error) < 2200


def test_an_interrupted_turn_whose_process_ends_is_cancelled():
    talk = Talk()
    talk.prompt()
    talk.say(Interrupt())

    assert ends(talk.dialogue.end(ExitStatus(signal=9)))[0].status is TurnStatus.CANCELLED


def test_a_turn_with_a_result_has_not_failed_because_the_process_ended():
    talk = Talk()
    talk.prompt()
    talk.result()

    assert ends(talk.dialogue.end(ExitStatus(code=0)))[0].status is TurnStatus.COMPLETED


def test_the_unknown_conversation_is_told_from_stderr_alone_and_once():
    words = "No conversation found with session ID: 06a54eb6"
    talk = Talk(agent_session_id="06a54eb6")

    (end,) = ends(talk.dialogue.end(ExitStatus(code=1, stderr_tail=words)))
    assert ClaudeDriver().is_stale(end)


def test_nothing_comes_after_the_end():
    talk = Talk()
    talk.prompt()
    talk.dialogue.end(ExitStatus(code=0))

    assert talk.state("idle") == []
    assert talk.dialogue.end(ExitStatus(code=0)) == []


def test_leaving_asks_the_agent_to_end():
    (request,) = said(Talk().say(Leave()))

    assert request["request"] == {"subtype": "end_session"}
