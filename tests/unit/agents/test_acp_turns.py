"""The course of a turn over ACP: what is said and done, what it costs, and how it ends."""

from __future__ import annotations

import pytest

from shared.agents.driver import Command, Emit, ExitStatus, Interrupt
from shared.domain.event import EventType
from shared.domain.ids import TurnId
from shared.domain.turn import TurnStatus
from tests.fixtures.acp_talk import Talk, ends, said, told


def running(**changes: object) -> Talk:
    talk = Talk(**changes).up()
    talk.prompt()
    return talk


def kinds(outputs: object) -> list[EventType]:
    return [output.type for output in outputs if isinstance(output, Emit)]


def test_chunks_add_up_to_the_message_that_ends_the_turn():
    talk = running()
    talk.text("Hel")
    talk.text("lo")

    outputs = talk.result(stopReason="end_turn")

    (message,) = told(outputs, EventType.MESSAGE)
    chunks = told(talk.outputs, EventType.MESSAGE_CHUNK)
    assert message["text"] == "Hello" == "".join(chunk["text"] for chunk in chunks)
    assert {chunk["message_id"] for chunk in chunks} == {message["message_id"]}
    assert ends(outputs)[0].result_text == "Hello"


def test_a_message_that_goes_on_after_a_tool_is_another():
    talk = running()
    talk.text("before", messageId="m")
    talk.update("tool_call", toolCallId="c1", title="ls", rawInput={"command": "ls"})
    talk.text("after", messageId="m")
    talk.result(stopReason="end_turn")

    assert [data["message_id"] for data in told(talk.outputs, EventType.MESSAGE)] == ["m", "m.2"]


def test_a_call_is_told_when_its_input_is_whole():
    talk = running()
    early = talk.update("tool_call", toolCallId="c1", title="Bash", kind="execute", status="pending", rawInput={})
    known = talk.update("tool_call_update", toolCallId="c1", rawInput={"command": "ls"}, title="List the files")
    runs = talk.update("tool_call_update", toolCallId="c1", status="in_progress")

    assert kinds([*early, *known]) == []
    assert told(runs, EventType.TOOL_CALL) == [
        {"tool_call_id": "c1", "name": "Bash", "input": {"command": "ls"}, "title": "List the files", "kind": "execute"}
    ]


def content(text: str) -> list[object]:
    return [{"type": "content", "content": {"type": "text", "text": text}}]


def test_output_that_is_repeated_with_each_piece_is_told_once():
    talk = running()
    talk.update("tool_call", toolCallId="c1", title="sh", status="in_progress")
    for output in ("one\n", "one\ntwo\n", "one\ntwo\n"):
        talk.update("tool_call_update", toolCallId="c1", status="in_progress", content=content(output))
    talk.update("tool_call_update", toolCallId="c1", status="completed", content=content("one\ntwo\n"))
    talk.update("tool_call_update", toolCallId="c1", rawOutput="late")

    assert [data["text"] for data in told(talk.outputs, EventType.TOOL_OUTPUT_CHUNK)] == ["one\n", "two\n"]
    (result,) = told(talk.outputs, EventType.TOOL_RESULT)
    assert (result["output"], result["is_error"]) == ("one\ntwo\n", False)


@pytest.mark.parametrize(
    "failure",
    [{"status": "failed"}, {"status": "completed", "rawOutput": {"output": "", "metadata": {"exit": 7}}}],
    ids=["failed", "exit code"],
)
def test_a_tool_that_failed_says_so(failure):
    talk = running()
    talk.update("tool_call", toolCallId="c1", title="sh", status="in_progress")

    (result,) = told(talk.update("tool_call_update", toolCallId="c1", **failure), EventType.TOOL_RESULT)

    assert result["is_error"] is True


def test_a_tool_that_ends_after_the_turn_was_stopped_has_failed():
    talk = running()
    talk.update("tool_call", toolCallId="c1", title="sh", status="in_progress")
    talk.say(Interrupt())

    (result,) = told(talk.update("tool_call_update", toolCallId="c1", status="completed"), EventType.TOOL_RESULT)

    assert result["is_error"] is True


def test_what_is_open_ends_with_the_turn():
    talk = running()
    talk.update("tool_call", toolCallId="c1", title="sh", status="in_progress")

    outputs = talk.result(stopReason="cancelled")

    assert told(outputs, EventType.TOOL_RESULT)[0]["is_error"] is True
    assert ends(outputs)[0].status is TurnStatus.CANCELLED


@pytest.mark.parametrize(
    ("reason", "status", "stop_reason"),
    [
        ("end_turn", TurnStatus.COMPLETED, "end_turn"),
        ("max_tokens", TurnStatus.COMPLETED, "max_tokens"),
        ("max_turn_requests", TurnStatus.FAILED, "max_turns"),
        ("refusal", TurnStatus.FAILED, "refusal"),
        ("cancelled", TurnStatus.CANCELLED, "interrupted"),
        ("a_later_one", TurnStatus.COMPLETED, "a_later_one"),
    ],
)
def test_stop_reasons_are_ours(reason, status, stop_reason):
    (end,) = ends(running().result(stopReason=reason))

    assert (end.status, end.stop_reason) == (status, stop_reason)


def test_an_error_fails_the_turn_unless_it_was_stopped():
    talk = running()
    (failed,) = ends(talk.error(-32603, "the model is away"))
    talk.prompt()
    talk.say(Interrupt())
    (stopped,) = ends(talk.error(-32603, "aborted"))

    assert (failed.status, failed.error) == (TurnStatus.FAILED, "the model is away")
    assert (stopped.status, stopped.stop_reason) == (TurnStatus.CANCELLED, "interrupted")


def test_a_late_answer_ends_no_other_turn():
    talk = running()
    first = talk.asked()["id"]
    talk.result(stopReason="end_turn")
    talk.prompt()

    assert ends(talk.frame(id=first, result={"stopReason": "end_turn"})) == []


def test_the_cost_of_a_turn_is_what_the_conversation_grew_by():
    talk = running()
    costs = []
    for total in (0.25, 0.75):
        talk.update("usage_update", used=1, size=2, cost={"amount": total, "currency": "USD"})
        (end,) = ends(talk.result(stopReason="end_turn", usage={"inputTokens": 5, "outputTokens": 2}))
        costs.append((end.cost_usd, end.usage.input_tokens if end.usage else None))
        talk.prompt()

    assert costs == [(0.25, 5), (0.5, 5)]


def test_a_turn_that_costs_too_much_is_stopped():
    talk = running(max_turn_cost_usd=0.1)

    stopped = talk.update("usage_update", cost={"amount": 0.2, "currency": "USD"})
    (end,) = ends(talk.result(stopReason="cancelled"))

    assert [frame["method"] for frame in said(stopped)] == ["session/cancel"]
    assert (end.status, end.stop_reason) == (TurnStatus.FAILED, "max_cost")


def test_a_command_is_a_prompt_with_a_slash():
    talk = Talk().up()
    talk.say(Command(TurnId("trn_1"), "init", "in French"))

    assert talk.asked()["params"]["prompt"][0]["text"] == "/init in French"


def test_thoughts_plans_and_unknown_updates_are_told():
    talk = running()
    thought = talk.update("agent_thought_chunk", content={"type": "text", "text": "hm"})
    plan = talk.update("plan", entries=[{"content": "look", "status": "in_progress"}, {"content": "leap"}])
    unknown = talk.update("a_later_one")

    assert told(thought, EventType.THINKING_CHUNK) == [{"text": "hm"}]
    assert told(plan, EventType.PLAN_UPDATE)[0]["items"][1] == {"text": "leap", "status": "pending"}
    assert told(unknown, EventType.NOTICE)[0]["frame"] == "session/update/a_later_one"


def test_an_agent_that_dies_before_it_is_up_fails_the_turn_that_waits():
    talk = Talk()
    talk.prompt()

    (end,) = ends(talk.dialogue.end(ExitStatus(code=1, stderr_tail="no such option")))

    assert (end.status, end.stop_reason) == (TurnStatus.FAILED, "agent_exited")
    assert "no such option" in str(end.error)
