"""What Claude Code asks, how it is shown, and what an answer becomes."""

from __future__ import annotations

import json

import pytest

from shared.agents.driver import (
    AskApplied,
    AskOpen,
    ModeNow,
    Reply,
    Send,
    SetMode,
    SetModel,
)
from shared.domain.ask import PermissionAnswer, PlanAnswer, QuestionAnswer, Verdict
from shared.domain.session import Mode
from tests.fixtures.claude_talk import Talk, notices, said

# --- asks


def test_an_answer_to_an_ask_that_is_gone_says_nothing():
    talk = Talk()
    talk.prompt()
    talk.ask()
    talk.feed(type="control_cancel_request", request_id="r1")

    assert talk.say(Reply("r1", PermissionAnswer(Verdict.ALLOW))) == []


def test_an_answer_is_applied_once():
    talk = Talk()
    talk.ask()

    first, second = (talk.say(Reply("r1", PermissionAnswer(Verdict.ALLOW))) for _ in range(2))
    assert [type(output) for output in first] == [Send, AskApplied]
    assert second == []


def test_a_request_that_comes_twice_is_one_ask():
    talk = Talk()

    assert [type(output) for output in [*talk.ask(), *talk.ask()]] == [AskOpen]


def test_asks_beyond_all_measure_are_denied():
    talk = Talk()
    for number in range(300):
        talk.ask(f"r{number}")

    assert len([output for output in talk.outputs if isinstance(output, AskOpen)]) == 256
    assert {frame["response"]["response"]["behavior"] for frame in said(talk.outputs)} == {"deny"}


def test_a_question_without_a_text_is_denied():
    outputs = Talk().ask(tool="AskUserQuestion", input={"questions": [{"options": []}]})

    assert said(outputs)[0]["response"]["response"]["behavior"] == "deny"


def test_several_labels_are_told_as_one_text():
    talk = Talk()
    talk.ask(tool="AskUserQuestion", input={"questions": [{"question": "Which?", "multiSelect": True}]})

    (answer,) = said(talk.say(Reply("r1", QuestionAnswer({"Which?": ["a", "b"]}))))
    assert answer["response"]["response"]["updatedInput"]["answers"] == {"Which?": "a, b"}


@pytest.mark.parametrize(
    "answer", [PermissionAnswer(Verdict.DENY), QuestionAnswer(None), PlanAnswer(approve=False)], ids=str
)
@pytest.mark.parametrize("tool", ["Bash", "AskUserQuestion", "ExitPlanMode"])
def test_any_refusal_denies_any_ask(answer, tool):
    talk = Talk()
    talk.ask(tool=tool, input={"questions": [{"question": "Which?"}]})

    (frame,) = said(talk.say(Reply("r1", answer)))
    assert frame["response"]["response"]["behavior"] == "deny"
    assert frame["response"]["response"]["message"]


def test_a_plan_without_text_shows_what_the_agent_said_last():
    talk = Talk()
    talk.feed(type="assistant", message={"id": "m1", "content": [{"type": "text", "text": "First this, then that."}]})

    (ask,) = talk.ask(tool="ExitPlanMode", input={})
    assert ask.data == {"plan": "First this, then that."}


@pytest.mark.parametrize(("allowed", "updates"), [(True, ["bypassPermissions"]), (False, [])])
def test_a_plan_is_approved_into_bypass_only_where_bypass_is_allowed(allowed, updates):
    talk = Talk(allow_bypass=allowed)
    talk.ask(tool="ExitPlanMode", input={"plan": "p"})

    (answer,) = said(talk.say(Reply("r1", PlanAnswer(approve=True, next_mode=Mode.BYPASS))))
    told = answer["response"]["response"].get("updatedPermissions", [])
    assert [update["mode"] for update in told] == updates


def test_always_means_this_session_and_never_a_laxer_mode():
    talk = Talk()
    suggestions = [
        {"type": "addRules", "rules": [{"toolName": "Bash", "ruleContent": "ls *"}], "destination": "localSettings"},
        {"type": "setMode", "mode": "acceptEdits", "destination": "session"},
    ]
    talk.ask(permission_suggestions=suggestions)

    (answer,) = said(talk.say(Reply("r1", PermissionAnswer(Verdict.ALLOW_ALWAYS))))
    assert answer["response"]["response"]["updatedPermissions"] == [{**suggestions[0], "destination": "session"}]


def test_always_without_a_suggestion_frees_the_very_command_and_not_the_shell():
    talk = Talk()
    talk.ask()

    (answer,) = said(talk.say(Reply("r1", PermissionAnswer(Verdict.ALLOW_ALWAYS))))
    (update,) = answer["response"]["response"]["updatedPermissions"]
    assert update["rules"] == [{"toolName": "Bash", "ruleContent": "ls"}]


def test_the_very_same_request_is_not_asked_again_and_a_similar_one_is():
    talk = Talk()
    talk.ask("r1", input={"command": "a && b", "description": "once"})
    talk.say(Reply("r1", PermissionAnswer(Verdict.ALLOW_ALWAYS)))

    again = talk.ask("r2", input={"command": "a && b", "description": "in other words"})
    similar = talk.ask("r3", input={"command": "a && b", "dangerouslyDisableSandbox": True})
    assert said(again)[0]["response"]["response"]["behavior"] == "allow"
    assert [type(output) for output in similar] == [AskOpen]


def test_what_a_human_typed_cannot_break_the_line():
    talk = Talk()
    talk.ask()
    typed = {"command": "\ud800 \u2028 \n \x00", "weight": float("inf")}

    (send, _) = talk.say(Reply("r1", PermissionAnswer(Verdict.ALLOW, input=typed)))
    assert send.data.count(b"\n") == 1
    assert b"Infinity" not in send.data
    assert json.loads(send.data)["response"]["response"]["updatedInput"]["command"] == typed["command"]


# --- requests of the agent that are no asks


def test_a_request_we_do_not_serve_is_refused_and_told():
    outputs = Talk().feed(type="control_request", request_id="q1", request={"subtype": "elicitation"})

    (answer,) = said(outputs)
    assert (answer["response"]["subtype"], answer["response"]["request_id"]) == ("error", "q1")
    assert notices(outputs)[0]["frame"] == "control_request/elicitation"


# --- modes and models


def test_a_mode_is_told_once_though_reply_and_status_name_it():
    talk = Talk()
    (request,) = said(talk.say(SetMode(Mode.PLAN)))
    reply = {"subtype": "success", "request_id": request["request_id"], "response": {"mode": "plan"}}
    talk.feed(type="control_response", response=reply)
    talk.feed(type="system", subtype="status", status=None, permissionMode="plan")

    assert request["request"] == {"subtype": "set_permission_mode", "mode": "plan"}
    assert [output for output in talk.outputs if isinstance(output, ModeNow)] == [ModeNow(Mode.PLAN)]


def test_a_refused_mode_tells_the_one_that_stays():
    talk = Talk()
    (request,) = said(talk.say(SetMode(Mode.BYPASS)))
    reply = {"subtype": "error", "request_id": request["request_id"], "error": "not launched with it"}

    outputs = talk.feed(type="control_response", response=reply)
    assert notices(outputs) == [{"kind": "mode_refused", "message": "not launched with it"}]
    assert outputs[-1] == ModeNow(Mode.INTERACTIVE)


def test_no_model_means_the_default_one():
    (request,) = said(Talk().say(SetModel(None)))

    assert request["request"] == {"subtype": "set_model", "model": None}
