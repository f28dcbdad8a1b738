"""Claude Code's slash commands: said as text, but for `plan`, which it does not take in this protocol."""

from __future__ import annotations

from shared.agents.claude.driver import ClaudeDriver
from shared.agents.driver import Command, Interrupt, ModeNow, Steer, SteerRefused
from shared.domain.ids import TurnId
from shared.domain.session import Mode
from shared.domain.turn import TurnStatus
from tests.fixtures.claude_talk import Talk, ends, notices, said

TURN = TurnId("trn_1")


def _plan(talk: Talk, args: str = "") -> str:
    (request,) = said(talk.say(Command(TURN, "plan", args)))
    assert request["request"] == {"subtype": "set_permission_mode", "mode": "plan"}
    return str(request["request_id"])


def _agree(talk: Talk, ref: str):
    return talk.feed(
        type="control_response", response={"subtype": "success", "request_id": ref, "response": {"mode": "plan"}}
    )


def test_a_command_is_said_as_text_and_ends_like_a_prompt():
    talk = Talk()

    (frame,) = said(talk.say(Command(TURN, "compact", "keep the names")))
    talk.result(local_command="compact")
    (end,) = ends(talk.state("idle"))

    assert frame["message"]["content"] == "/compact keep the names"
    assert end.status is TurnStatus.COMPLETED


def test_plan_sets_the_mode_and_is_a_whole_turn():
    talk = Talk()

    outputs = _agree(talk, _plan(talk))

    assert [type(output) for output in outputs] == [ModeNow, type(ends(outputs)[0])]
    assert ends(outputs)[0].status is TurnStatus.COMPLETED
    assert ends(talk.state("idle")) == []


def test_what_stands_behind_plan_is_the_prompt_in_the_new_mode():
    talk = Talk()

    outputs = _agree(talk, _plan(talk, "tidy up"))
    talk.result()
    (end,) = ends(talk.state("idle"))

    assert ModeNow(Mode.PLAN) in outputs
    assert said(outputs)[0]["message"]["content"] == "tidy up"
    assert end.status is TurnStatus.COMPLETED


def test_a_refused_plan_mode_fails_the_turn():
    talk = Talk()
    ref = _plan(talk, "tidy up")

    outputs = talk.feed(
        type="control_response", response={"subtype": "error", "request_id": ref, "error": "not on a Friday"}
    )

    assert ends(outputs)[0].status is TurnStatus.FAILED
    assert notices(outputs) == [{"kind": "mode_refused", "message": "not on a Friday"}]


def test_an_interrupt_before_plan_mode_is_set_says_no_prompt():
    talk = Talk()
    ref = _plan(talk, "tidy up")
    talk.say(Interrupt())

    outputs = _agree(talk, ref)

    assert said(outputs) == []
    assert ends(outputs)[0].status is TurnStatus.CANCELLED


def test_a_result_of_unprompted_work_does_not_end_plan():
    talk = Talk()
    _plan(talk)

    outputs = talk.feed(type="result", subtype="success", is_error=False, result="by the way")

    assert ends(outputs) == []
    assert ends(talk.state("idle")) == []


def test_a_message_for_the_running_turn_is_refused():
    talk = Talk()
    talk.prompt()

    (refusal,) = talk.say(Steer(TurnId("trn_2"), "faster"))

    assert isinstance(refusal, SteerRefused)
    assert refusal.turn == "trn_2"
    assert ClaudeDriver.abilities.steer is False
