"""What a host wishes of a running Codex turn: to stop, to judge its plan, to take a text in; and slash commands."""

from __future__ import annotations

import pytest

from shared.agents.driver import (
    AskApplied,
    AskOpen,
    AskWithdrawn,
    Command,
    Interrupt,
    ModeNow,
    Prompt,
    Ready,
    Reply,
    SetMode,
    Steer,
    Steered,
    SteerRefused,
)
from shared.domain.ask import AskKind, PlanAnswer
from shared.domain.event import EventType
from shared.domain.ids import TurnId
from shared.domain.session import Mode
from shared.domain.turn import TurnStatus
from tests.fixtures.codex_talk import THREAD, Talk, ends, events, methods, planned, sent


@pytest.fixture
def talk():
    return Talk()


# --- interrupts


def test_an_interrupt_ends_the_turn_and_the_command_it_leaves_running(talk):
    talk.prompt()
    talk.runs("sleep 60")

    asked = talk.say(Interrupt())
    outputs = talk.over("interrupted")

    assert sent(asked)[0]["params"] == {"threadId": THREAD, "turnId": talk.turn_id}
    assert methods(outputs) == ["thread/backgroundTerminals/clean", "command/exec"]
    (result,) = events(outputs, EventType.TOOL_RESULT)
    assert result["is_error"] is True
    assert not ends(talk.answer("thread/backgroundTerminals/clean"))
    (end,) = ends(talk.answer("command/exec", exitCode=0, stdout=""))
    assert (end.status, end.stop_reason, end.error) == (TurnStatus.CANCELLED, "interrupted", None)
    late = talk.completed("commandExecution", command="sleep 60", status="failed", exitCode=-1)
    assert not events(late, EventType.TOOL_RESULT)


def test_an_interrupt_before_codex_has_named_its_turn_is_said_when_it_has(talk):
    talk.say(Prompt(TurnId("trn_1"), "go on"))
    early = talk.say(Interrupt())

    outputs = talk.tell("turn/started", turn={"id": "t-9"})

    assert early == []
    assert [(one["method"], one["params"]["turnId"]) for one in sent(outputs)] == [("turn/interrupt", "t-9")]
    assert methods(talk.answer("turn/start", turn={"id": "t-9"})) == []


def test_what_was_said_of_a_message_that_was_cut_off_is_kept(talk):
    talk.prompt()
    talk.tell("item/agentMessage/delta", itemId="m1", delta="half a ")
    talk.tell("item/agentMessage/delta", itemId="m1", delta="sentence")
    talk.say(Interrupt())

    outputs = talk.ends("interrupted")

    assert events(outputs, EventType.MESSAGE) == [{"text": "half a sentence", "message_id": "m1", "aborted": True}]


def test_a_command_in_the_background_of_a_complete_turn_has_not_failed(talk):
    talk.prompt()
    talk.runs("serve")
    talk.tell("item/commandExecution/outputDelta", itemId="i1", delta="listening")

    outputs = talk.ends()

    (result,) = events(outputs, EventType.TOOL_RESULT)
    assert (result["is_error"], result["output"]) == (False, "listening\n[It runs on in the background.]")
    assert "thread/backgroundTerminals/clean" not in methods(outputs)


def test_an_interrupt_where_nothing_runs_does_nothing(talk):
    assert talk.say(Interrupt()) == []
    talk.prompt()
    talk.over()
    assert talk.say(Interrupt()) == []


# --- a plan


def test_a_plan_is_an_ask_while_codex_rests(talk):
    outputs = planned(talk)

    assert outputs == [AskOpen("plan p1", AskKind.PLAN, {"plan": "# Plan"})]


def test_an_approved_plan_is_carried_out_in_the_same_turn(talk):
    planned(talk)

    outputs = talk.say(Reply("plan p1", PlanAnswer(approve=True, next_mode=Mode.ACCEPT_EDITS)))
    talk.begins()
    after = talk.ends()

    (asked,) = sent(outputs)
    assert outputs[1:] == [AskApplied("plan p1"), ModeNow(Mode.ACCEPT_EDITS)]
    assert asked["params"]["input"][0]["text"] == "Implement the plan."
    assert asked["params"]["collaborationMode"]["mode"] == "default"
    assert asked["params"]["sandboxPolicy"]["type"] == "workspaceWrite"
    assert len(ends(talk.outputs)) == len(ends(after)) == 1


def test_a_rejected_plan_goes_back_with_its_feedback_and_another_is_asked_about(talk):
    planned(talk)

    outputs = talk.say(Reply("plan p1", PlanAnswer(approve=False, feedback="add tests")))
    talk.begins()
    talk.completed("plan", "p2", text="# Better")
    again = talk.over()

    (asked,) = sent(outputs)
    assert "add tests" in asked["params"]["input"][0]["text"]
    assert asked["params"]["collaborationMode"]["mode"] == "plan"
    assert again == [AskOpen("plan p2", AskKind.PLAN, {"plan": "# Better"})]
    assert not ends(talk.outputs)


def test_an_approved_plan_does_not_bypass_what_the_session_may_not(talk):
    planned(talk)

    outputs = talk.say(Reply("plan p1", PlanAnswer(approve=True, next_mode=Mode.BYPASS)))

    assert ModeNow(Mode.INTERACTIVE) in outputs


def test_an_interrupt_withdraws_the_plan_and_ends_the_turn(talk):
    planned(talk)

    outputs = talk.say(Interrupt())
    outputs += talk.answer("thread/backgroundTerminals/clean") + talk.answer("command/exec", exitCode=0, stdout="")

    assert outputs[0] == AskWithdrawn("plan p1", "interrupted")
    assert [end.stop_reason for end in ends(outputs)] == ["interrupted"]
    assert talk.say(Reply("plan p1", PlanAnswer(approve=True))) == []


def test_a_plan_mode_turn_without_a_plan_just_ends(talk):
    talk.say(SetMode(Mode.PLAN))
    talk.prompt()

    assert ends(talk.ends())


# --- steering


def test_a_text_is_said_into_the_running_turn(talk):
    talk.prompt()

    asked = talk.say(Steer(TurnId("trn_s"), "faster"))

    (message,) = sent(asked)
    assert message["params"]["expectedTurnId"] == talk.turn_id
    assert message["params"]["input"][0]["text"] == "faster"
    assert talk.answer("turn/steer", turnId=talk.turn_id) == [Steered(TurnId("trn_s"))]


def test_a_text_codex_does_not_take_is_refused_with_its_words(talk):
    talk.prompt()
    talk.say(Steer(TurnId("trn_s"), "faster"))

    assert talk.refuse("turn/steer", "cannot steer a compact turn") == [
        SteerRefused(TurnId("trn_s"), "cannot steer a compact turn")
    ]


def test_a_text_without_an_answer_is_refused_before_the_turn_ends(talk):
    talk.prompt()
    talk.say(Steer(TurnId("trn_s"), "faster"))

    outputs = talk.ends()

    assert [type(output) for output in outputs[-2:]] == [SteerRefused, type(ends(outputs)[0])]
    assert talk.answer("turn/steer", turnId=talk.turn_id) == []


@pytest.mark.parametrize("state", ["idle", "planned", "interrupted", "not named"])
def test_a_text_is_refused_where_nothing_can_take_it(talk, state):
    match state:
        case "planned":
            planned(talk)
        case "interrupted":
            talk.prompt()
            talk.say(Interrupt())
        case "not named":
            talk.say(Prompt(TurnId("trn_1"), "go on"))

    (refused,) = talk.say(Steer(TurnId("trn_s"), "faster"))

    assert isinstance(refused, SteerRefused)


# --- commands


def test_compact_runs_as_a_turn(talk):
    asked = talk.say(Command(TurnId("trn_1"), "compact"))
    talk.answer("thread/compact/start")
    talk.turn_id = "t-c"
    talk.tell("turn/started", turn={"id": "t-c"})
    outputs = talk.started("contextCompaction") + talk.completed("contextCompaction") + talk.ends()

    assert methods(asked) == ["thread/compact/start"]
    assert [data["kind"] for data in events(outputs, EventType.NOTICE)] == ["compacting", "compacted"]
    assert [end.status for end in ends(outputs)] == [TurnStatus.COMPLETED]


def test_clear_begins_another_conversation(talk):
    asked = talk.say(Command(TurnId("trn_1"), "clear"))
    outputs = talk.answer("thread/start", thread={"id": "th-2", "path": "/elsewhere.jsonl"})

    assert methods(asked) == ["thread/start"]
    assert Ready("th-2", "gpt-x", "0.163.0") in outputs
    assert [end.status for end in ends(outputs)] == [TurnStatus.COMPLETED]
    assert sent(talk.prompt())[0]["params"]["threadId"] == "th-2"


def test_clear_that_is_refused_leaves_everything_as_it_was(talk):
    talk.say(Command(TurnId("trn_1"), "clear"))

    (end,) = ends(talk.refuse("thread/start", "disk full"))

    assert (end.status, end.error) == (TurnStatus.FAILED, "disk full")
    assert sent(talk.prompt())[0]["params"]["threadId"] == THREAD


def test_plan_changes_the_mode_and_says_the_prompt(talk):
    alone = talk.say(Command(TurnId("trn_1"), "plan"))
    mode, asked = talk.say(Command(TurnId("trn_2"), "plan", "how to begin"))

    assert [type(output).__name__ for output in alone] == ["ModeNow", "TurnEnd"]
    assert mode == ModeNow(Mode.PLAN)
    (message,) = sent([asked])
    assert message["params"]["input"][0]["text"] == "how to begin"
    assert message["params"]["collaborationMode"]["mode"] == "plan"
