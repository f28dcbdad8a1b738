"""The demo driver by itself: how it starts its agent, and what it makes of frames no scenario has."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from shared.agents.demo.driver import DemoDriver
from shared.agents.driver import (
    AskApplied,
    AskOpen,
    AskWithdrawn,
    Command,
    Emit,
    ExitStatus,
    Interrupt,
    Prompt,
    Ready,
    Reply,
    Send,
    SetMode,
    Steer,
    Steered,
    SteerRefused,
    Transcript,
    TurnEnd,
)
from shared.domain.ask import PermissionAnswer, PlanAnswer, Verdict
from shared.domain.event import EventType
from shared.domain.session import Mode
from shared.domain.turn import TurnStatus
from shared.domain.usage import Usage
from tests.conformance.harness import options_for

PROMPT = Prompt("trn_1", "go on")
PERMISSION = {"subtype": "permission", "tool_name": "Bash", "input": {"command": "ls"}, "tool_use_id": "call_1"}


@pytest.fixture
def options(tmp_path):
    return options_for(tmp_path, ["agent", "--first"])


@pytest.fixture
def dialogue(options):
    dialogue = DemoDriver().dialogue(options)
    dialogue.open()
    return dialogue


def line(kind, **fields):
    return json.dumps({"type": kind, **fields})


def said(send):
    return json.loads(send.data)


# --- launch


def test_a_fresh_session_gets_an_id_of_its_own(options):
    launch = DemoDriver().launch(options)

    ours = f"demo-{options.session.removeprefix('ses_')}"
    assert launch.agent_session_id == ours
    assert launch.argv == ["agent", "--first", f"--session-id={ours}", "--mode=interactive"]
    assert launch.env == {"HOME": options.home}
    assert not launch.files


def test_a_resumed_session_keeps_its_id_and_gets_its_transcript_back(options):
    resumed = replace(options, agent_session_id="demo-9", transcript=['{"a":1}', '{"b":2}'])

    launch = DemoDriver().launch(resumed)

    (file,) = launch.files
    assert launch.agent_session_id == "demo-9"
    assert "--resume=demo-9" in launch.argv
    assert (file.path, file.content) == (".corral-demo/demo-9.jsonl", b'{"a":1}\n{"b":2}\n')
    assert file.keep_longer


def test_a_fork_resumes_under_an_id_of_its_own(options):
    launch = DemoDriver().launch(replace(options, agent_session_id="demo-9", transcript=['{"a":1}'], fork=True))

    ours = f"demo-{options.session.removeprefix('ses_')}"
    assert launch.agent_session_id == ours
    assert launch.argv[2:4] == ["--resume=demo-9", f"--session-id={ours}"]
    assert launch.files[0].path == ".corral-demo/demo-9.jsonl"


def test_model_limit_and_bypass_reach_the_command_line(options):
    launch = DemoDriver().launch(replace(options, model="demo-2", max_turn_cost_usd=0.5, mode=Mode.BYPASS))

    assert launch.argv[-4:] == ["--mode=bypass", "--model=demo-2", "--allow-bypass", "--max-turn-cost-usd=0.5"]


def test_only_an_unknown_conversation_is_stale():
    driver = DemoDriver()

    assert driver.is_stale(TurnEnd(TurnStatus.FAILED, "unknown_conversation"))
    assert not driver.is_stale(TurnEnd(TurnStatus.FAILED, "error"))


# --- frames


def test_the_agent_is_ready_once_it_has_said_who_it_is(options):
    dialogue = DemoDriver().dialogue(options)
    (send,) = dialogue.open()
    about = {"session_id": "demo-1", "version": "1.0", "model": "demo-1"}

    outputs = dialogue.feed(line("control_response", request_id=said(send)["request_id"], ok=True, response=about))

    assert outputs == [Ready("demo-1", "demo-1", "1.0")]


def test_a_refused_wish_is_told_as_an_error(dialogue):
    (send,) = dialogue.send(SetMode(Mode.BYPASS))
    error = {"code": "bypass_not_allowed", "message": "no"}

    outputs = dialogue.feed(line("control_response", request_id=said(send)["request_id"], ok=False, error=error))

    assert outputs == [Emit(EventType.ERROR, {"message": "no", "code": "bypass_not_allowed"})]


def test_an_answer_that_crosses_a_withdrawal_is_dropped(dialogue):
    dialogue.feed(line("control_request", request_id="ask_1", request=PERMISSION))

    withdrawn = dialogue.feed(line("control_cancel", request_id="ask_1", reason="interrupted"))

    assert withdrawn == [AskWithdrawn("ask_1", "interrupted")]
    assert not dialogue.send(Reply("ask_1", PermissionAnswer(Verdict.ALLOW)))


def test_a_withdrawal_that_crosses_an_answer_says_nothing_more(dialogue):
    dialogue.feed(line("control_request", request_id="ask_1", request=PERMISSION))

    send, applied = dialogue.send(Reply("ask_1", PermissionAnswer(Verdict.ALLOW, input={"command": "id"})))

    assert applied == AskApplied("ask_1")
    assert said(send)["response"] == {"behavior": "allow", "always": False, "updated_input": {"command": "id"}}
    assert not dialogue.feed(line("control_cancel", request_id="ask_1", reason="late"))


def test_an_approved_plan_names_the_next_mode(dialogue):
    dialogue.feed(line("control_request", request_id="ask_1", request={"subtype": "plan", "plan": "1. look"}))

    send, _ = dialogue.send(Reply("ask_1", PlanAnswer(approve=True, next_mode=Mode.ACCEPT_EDITS)))

    assert said(send)["response"] == {"approve": True, "feedback": None, "next_mode": "accept_edits"}


@pytest.mark.parametrize(
    "request_",
    [
        {"subtype": "tea"},
        {"subtype": "permission", "tool_name": "Bash"},
        {"subtype": "question", "questions": [{"question": "Which?"}]},
        {"subtype": "permission", "tool_name": "Bash", "input": {"deep": json.loads("[" * 80 + "]" * 80)}},
        "no object",
    ],
)
def test_an_ask_nobody_could_answer_is_denied_on_the_spot(dialogue, request_):
    send, notice = dialogue.feed(line("control_request", request_id="ask_1", request=request_))

    assert said(send)["request_id"] == "ask_1"
    assert said(send)["response"]["behavior"] == "deny"
    assert notice.data["kind"] == "ask_denied"


def test_a_cut_ask_is_denied_without_being_opened(dialogue):
    cut = '{"type":"control_request","request_id":"ask_1","request":{"subtype":"permission","tool_name":"Wri'

    outputs = dialogue.feed(cut, dropped=5_000_000)

    assert [output.data["kind"] for output in outputs if isinstance(output, Emit)] == ["line_cut", "ask_denied"]
    assert not [output for output in outputs if isinstance(output, AskOpen)]
    assert [said(output)["response"]["behavior"] for output in outputs if isinstance(output, Send)] == ["deny"]


def test_a_cut_result_still_ends_the_turn(dialogue):
    dialogue.send(PROMPT)

    *_, end = dialogue.feed(
        '{"type":"result","turn":"trn_1","status":"completed","stop_reason":"end_turn","text":"aaa', dropped=9
    )

    assert end == TurnEnd(TurnStatus.COMPLETED, "end_turn")


def test_a_result_without_sense_ends_the_turn_as_failed(dialogue):
    dialogue.send(PROMPT)

    (end,) = dialogue.feed(line("result", status=["odd"]))

    assert (end.status, end.stop_reason) == (TurnStatus.FAILED, "unknown")
    assert end.error


def test_a_result_outside_a_turn_is_only_a_notice(dialogue):
    (notice,) = dialogue.feed(line("result", turn="trn_1", status="completed", stop_reason="end_turn"))

    assert notice.data["kind"] == "unreadable_line"


def test_a_turn_that_ends_takes_its_open_asks_and_calls_along(dialogue):
    dialogue.send(PROMPT)
    dialogue.feed(line("tool_use", id="call_1", name="Bash", input={}))
    dialogue.feed(line("control_request", request_id="ask_1", request=PERMISSION))

    result, withdrawn, end = dialogue.feed(line("result", status="completed", stop_reason="end_turn"))

    assert (result.type, result.data["tool_call_id"], result.data["is_error"]) == (
        EventType.TOOL_RESULT,
        "call_1",
        True,
    )
    assert withdrawn == AskWithdrawn("ask_1", "turn_ended")
    assert end.status is TurnStatus.COMPLETED


def test_usage_and_cost_reach_the_end_of_the_turn(dialogue):
    dialogue.send(PROMPT)
    counts = {"input_tokens": 3, "output_tokens": 4, "cache_read_tokens": 5, "cache_write_tokens": 6}

    (end,) = dialogue.feed(
        line("result", status="completed", stop_reason="end_turn", text="done", usage={**counts, "cost_usd": 0.25})
    )

    assert end == TurnEnd(TurnStatus.COMPLETED, "end_turn", "done", None, Usage(3, 4, 5, 6), 0.25)


def test_transcript_entries_are_kept_one_a_line(dialogue):
    (transcript,) = dialogue.feed(line("transcript", entries=[{"text": "a\nb"}, {}]))

    assert transcript == Transcript(['{"text": "a\\nb"}', "{}"])


# --- the end


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (ExitStatus(code=3, stderr_tail="out of luck\n"), "The agent exited with code 3.\nout of luck"),
        (ExitStatus(signal=9), "The agent was ended by signal 9."),
    ],
)
def test_a_process_that_ends_in_mid_turn_fails_it_and_says_how(dialogue, status, told):
    dialogue.send(PROMPT)

    (end,) = dialogue.end(status)

    assert (end.status, end.stop_reason, end.error) == (TurnStatus.FAILED, "agent_exited", told)


def test_a_process_that_was_interrupted_and_then_killed_leaves_a_cancelled_turn(dialogue):
    dialogue.send(PROMPT)
    dialogue.send(Interrupt())

    (end,) = dialogue.end(ExitStatus(signal=9))

    assert end.status is TurnStatus.CANCELLED


def test_a_process_that_ends_between_turns_says_nothing(dialogue):
    assert not dialogue.end(ExitStatus(code=0))


def test_nothing_follows_the_end(dialogue):
    dialogue.end(ExitStatus(code=0))

    assert not dialogue.send(PROMPT)
    assert not dialogue.feed(line("message", text="late", message_id="m"))
    assert not dialogue.end(ExitStatus(code=0))


# --- commands and steers


def _steer(dialogue, turn="trn_2"):
    (request,) = dialogue.send(Steer(turn, "say faster"))
    return said(request)["request_id"]


def test_a_command_is_a_turn(dialogue):
    (sent,) = dialogue.send(Command("trn_1", "compact", "a little"))

    ends = dialogue.feed(line("result", turn="trn_1", status="completed", stop_reason="end_turn"))

    assert said(sent) == {"type": "command", "turn": "trn_1", "name": "compact", "args": "a little"}
    assert [type(end) for end in ends] == [TurnEnd]


def test_a_steer_the_agent_took_is_told_once(dialogue):
    dialogue.send(PROMPT)
    ref = _steer(dialogue)

    answers = dialogue.feed(line("control_response", request_id=ref, ok=True, response={"steered": True}))

    assert answers == [Steered("trn_2")]
    assert dialogue.feed(line("control_response", request_id=ref, ok=True, response={})) == []


def test_a_steer_the_agent_refused_says_why(dialogue):
    dialogue.send(PROMPT)
    ref = _steer(dialogue)

    answers = dialogue.feed(
        line("control_response", request_id=ref, ok=False, error={"code": "nothing_running", "message": "too late"})
    )

    assert answers == [SteerRefused("trn_2", "too late")]


@pytest.mark.parametrize("error", [None, "no", {"message": 3}, {}])
def test_a_steer_whose_refusal_makes_no_sense_is_refused_all_the_same(dialogue, error):
    dialogue.send(PROMPT)
    ref = _steer(dialogue)

    assert [
        type(output) for output in dialogue.feed(line("control_response", request_id=ref, ok=False, error=error))
    ] == [SteerRefused]


def test_a_steer_without_an_answer_is_refused_when_the_turn_ends(dialogue):
    dialogue.send(PROMPT)
    ref = _steer(dialogue)

    outputs = dialogue.feed(line("result", turn="trn_1", status="completed", stop_reason="end_turn"))
    late = dialogue.feed(
        line("control_response", request_id=ref, ok=False, error={"code": "nothing_running", "message": "too late"})
    )

    assert [type(output) for output in outputs] == [SteerRefused, TurnEnd]
    assert late == []


def test_a_steer_without_an_answer_is_refused_when_the_agent_dies(dialogue):
    dialogue.send(PROMPT)
    _steer(dialogue)

    outputs = dialogue.end(ExitStatus(signal=9))

    assert [type(output) for output in outputs] == [SteerRefused, TurnEnd]


def test_a_conversation_that_goes_on_under_another_id_is_told(dialogue):
    outputs = dialogue.feed(line("session", session_id="demo-2", model="demo-1", version="1.0"))

    assert outputs[-1] == Ready("demo-2", "demo-1", "1.0")
    assert outputs[0].data == {"kind": "conversation_reset"}
