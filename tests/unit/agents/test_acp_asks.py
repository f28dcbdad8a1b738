"""What an ACP agent waits for, and what it hears."""

from __future__ import annotations

import pytest

from shared.agents.driver import AskApplied, AskOpen, AskWithdrawn, Interrupt, ModeNow, Reply
from shared.domain.ask import AskKind, PermissionAnswer, PlanAnswer, QuestionAnswer, Verdict
from shared.domain.event import EventType
from shared.domain.session import Mode
from shared.domain.turn import TurnStatus
from tests.fixtures.acp_talk import CHOICES, Talk, ends, of, said, told

ALLOW = PermissionAnswer(Verdict.ALLOW)
ALWAYS = PermissionAnswer(Verdict.ALLOW_ALWAYS)
DENY = PermissionAnswer(Verdict.DENY)
STOP = PermissionAnswer(Verdict.DENY, stop=True)
CANCELLED = {"outcome": {"outcome": "cancelled"}}


def running(agent: str = "acp", **changes: object) -> Talk:
    talk = Talk(agent, **changes).up()
    talk.prompt()
    return talk


def selected(option: str) -> object:
    return {"outcome": {"outcome": "selected", "optionId": option}}


@pytest.mark.parametrize(("answer", "option"), [(ALLOW, "yes"), (ALWAYS, "always"), (DENY, "no")])
def test_a_permission_is_answered_with_the_option_of_its_kind(answer, option):
    talk = running()
    asked = talk.permission()
    answered = talk.say(Reply("7", answer))

    (ask,) = of(asked, AskOpen)
    assert (ask.kind, ask.data["tool_name"], ask.data["input"]) == (AskKind.PERMISSION, "ls", {"command": "ls"})
    assert told(asked, EventType.TOOL_CALL)[0]["input"] == {"command": "ls"}
    assert said(answered) == [{"jsonrpc": "2.0", "id": 7, "result": selected(option)}]
    assert answered[-1] == AskApplied("7")


def test_always_holds_also_where_the_agent_does_not_remember():
    talk = running()
    talk.permission(options=[CHOICES[0], CHOICES[2]])
    talk.say(Reply("7", ALWAYS))

    same = talk.permission(8, "c2", options=[CHOICES[0], CHOICES[2]])
    other = talk.permission(9, "c3", rawInput={"command": "rm"}, options=[CHOICES[0], CHOICES[2]])

    assert said(same)[0]["result"] == selected("yes")
    assert not of(same, AskOpen)
    assert of(other, AskOpen)


def test_a_denial_with_stop_cancels_the_turn():
    talk = running()
    prompt = talk.asked()["id"]
    talk.permission()

    outputs = talk.say(Reply("7", STOP))
    (end,) = ends(talk.frame(id=prompt, result={"stopReason": "end_turn"}))

    assert [frame.get("result") or frame["method"] for frame in said(outputs)] == [CANCELLED, "session/cancel"]
    assert (end.status, end.stop_reason) == (TurnStatus.CANCELLED, "denied")


def test_an_interrupt_answers_what_is_open_and_what_comes_late():
    talk = running()
    talk.permission()

    outputs = talk.say(Interrupt())
    late = talk.permission(8, "c2")

    assert [frame.get("result") or frame["method"] for frame in said(outputs)] == ["session/cancel", CANCELLED]
    assert of(outputs, AskWithdrawn) == [AskWithdrawn("7", "interrupted")]
    assert said(late)[-1]["result"] == CANCELLED
    assert not of(late, AskOpen)


def test_ids_of_different_types_are_different_asks():
    talk = running()
    asked = [*talk.permission(7), *talk.permission("7", "c2")]

    assert [ask.ref for ask in of(asked, AskOpen)] == ["7", '"7"']


def test_a_request_the_agent_takes_back_is_withdrawn():
    talk = running()
    talk.permission()

    outputs = talk.frame(method="$/cancel_request", params={"requestId": 7})

    assert of(outputs, AskWithdrawn) == [AskWithdrawn("7", "withdrawn")]
    assert said(outputs)[0]["error"]["code"] == -32800


def test_a_permission_whose_line_was_cut_is_refused():
    line = '{"jsonrpc":"2.0","id":7,"method":"session/request_permission","params":{"toolCall":{"rawInput":"aaaa'

    outputs = running().line(line, dropped=1_000_000)

    assert said(outputs)[0]["id"] == 7
    assert "error" in said(outputs)[0]
    assert [one["kind"] for one in told(outputs, EventType.NOTICE)] == ["line_cut", "ask_denied"]


def test_a_cut_permission_whose_id_is_lost_stops_the_turn():
    outputs = running().line('{"method":"session/request_permission","params":{"a":"bbb', dropped=1_000_000)

    assert [frame["method"] for frame in said(outputs)] == ["session/cancel"]


def test_a_request_we_do_not_serve_is_refused():
    outputs = running().request("fs/read_text_file", path="/etc/passwd")

    assert said(outputs)[0]["error"]["code"] == -32601
    assert told(outputs, EventType.NOTICE)[0]["frame"] == "fs/read_text_file"


# --- modes the agent has not got


def edit(talk: Talk, path: str) -> list[object]:
    return talk.permission(kind="edit", rawInput={}, locations=[{"path": path}])


@pytest.mark.parametrize(
    ("path", "asks"), [("/workspace/a.txt", False), ("a.txt", False), ("/etc/passwd", True), ("../b", True)]
)
def test_accepted_edits_are_given_inside_the_workspace_alone(path, asks):
    outputs = edit(running(mode=Mode.ACCEPT_EDITS), path)

    assert bool(of(outputs, AskOpen)) is asks
    assert asks or said(outputs)[0]["result"] == selected("yes")


def test_accepted_edits_give_nothing_else():
    assert of(running(mode=Mode.ACCEPT_EDITS).permission(), AskOpen)


def test_bypass_gives_every_permission_but_no_plan():
    talk = running(mode=Mode.BYPASS, allow_bypass=True)

    assert said(talk.permission())[0]["result"] == selected("yes")
    assert of(talk.permission(8, "c2", kind="switch_mode"), AskOpen)


def test_an_agent_that_bypasses_by_itself_is_given_nothing_more():
    talk = running(allow_bypass=True)

    moved = talk.update("current_mode_update", currentModeId="yolo")

    assert of(moved, ModeNow) == [ModeNow(Mode.BYPASS)]
    assert of(talk.permission(), AskOpen)


# --- plans


def test_leaving_plan_mode_is_a_plan_and_goes_on_in_the_mode_that_was_chosen():
    options = [
        {"optionId": "exit-default", "kind": "allow_once"},
        {"optionId": "exit-acceptEdits", "kind": "allow_always"},
        {"optionId": "no", "kind": "reject_once"},
    ]
    talk = running()
    asked = talk.permission(kind="switch_mode", rawInput={"plan": "# Plan"}, options=options)
    answered = talk.say(Reply("7", PlanAnswer(approve=True, next_mode=Mode.ACCEPT_EDITS)))

    (ask,) = of(asked, AskOpen)
    assert (ask.kind, ask.data) == (AskKind.PLAN, {"plan": "# Plan"})
    assert said(answered)[0]["result"] == selected("exit-acceptEdits")
    assert of(answered, ModeNow) == [ModeNow(Mode.ACCEPT_EDITS)]


def test_a_plan_without_a_text_is_what_was_said_last():
    talk = running()
    talk.text("First look, then leap.")

    (ask,) = of(talk.permission(kind="switch_mode", rawInput={}), AskOpen)

    assert ask.data == {"plan": "First look, then leap."}


def test_a_rejected_plan_of_cursor_hears_why():
    talk = running("cursor", agent_session_id=None)
    asked = talk.request("cursor/create_plan", name="Tidy", overview="", plan="1. look")
    answered = talk.say(Reply("7", PlanAnswer(approve=False, feedback="add tests")))

    assert of(asked, AskOpen)[0].data == {"plan": "# Tidy\n\n1. look"}
    assert said(answered)[0]["result"] == {"outcome": {"outcome": "rejected", "reason": "add tests"}}


# --- questions

FORM = {
    "type": "object",
    "properties": {
        "db": {"type": "string", "title": "Database", "oneOf": [{"const": "pg", "title": "Postgres"}]},
        "db_custom": {"type": "string", "title": "Other"},
        "tags": {"type": "array", "description": "Which tags?", "items": {"type": "string", "enum": ["a", "b"]}},
        "count": {"type": "integer", "description": "How many?"},
        "sure": {"type": "boolean", "description": "Sure?"},
    },
}


def form(talk: Talk) -> list[object]:
    return talk.request("elicitation/create", mode="form", message="Some things", requestedSchema=FORM)


def test_a_form_is_a_question_for_each_of_its_fields():
    (ask,) = of(form(running()), AskOpen)

    assert ask.kind is AskKind.QUESTION
    assert ask.data["questions"] == [
        {"question": "Database", "options": [{"label": "Postgres"}], "multi_select": False, "header": "Database"},
        {"question": "Which tags?", "options": [{"label": "a"}, {"label": "b"}], "multi_select": True},
        {"question": "How many?", "options": [], "multi_select": False},
        {"question": "Sure?", "options": [{"label": "yes"}, {"label": "no"}], "multi_select": False},
    ]


@pytest.mark.parametrize(
    ("answers", "content"),
    [
        ({"Database": "Postgres", "How many?": "3"}, {"db": "pg", "count": 3}),
        ({"Database": "a file", "Sure?": "yes"}, {"db_custom": "a file", "sure": True}),
        ({"Which tags?": ["a", "b"], "How many?": "some"}, {"tags": ["a", "b"], "count": "some"}),
    ],
)
def test_answers_fill_in_the_form(answers, content):
    talk = running()
    form(talk)

    assert said(talk.say(Reply("7", QuestionAnswer(answers))))[0]["result"] == {"action": "accept", "content": content}


def test_a_declined_form_is_declined_and_a_form_by_address_is_not_served():
    talk = running()
    form(talk)
    declined = talk.say(Reply("7", QuestionAnswer(None, message="later")))
    elsewhere = talk.request("elicitation/create", 8, mode="url", url="https://example.org", message="Log in")

    assert said(declined)[0]["result"] == {"action": "decline"}
    assert said(elsewhere)[0]["error"]["code"] == -32601


def test_an_answer_to_cursor_names_options_and_passes_on_free_text():
    question = {"id": "q", "prompt": "Which?", "options": [{"id": "1", "label": "this"}], "allowMultiple": True}
    talk = running("cursor")
    talk.request("cursor/ask_question", questions=[question])

    answered = talk.say(Reply("7", QuestionAnswer({"Which?": ["this", "or that"]})))

    told_cursor = {"questionId": "q", "selectedOptionIds": ["1"], "freeformText": "or that"}
    assert said(answered)[0]["result"] == {"outcome": {"outcome": "answered", "answers": [told_cursor]}}


def test_the_to_do_list_of_cursor_is_whole_though_it_comes_in_parts():
    talk = running("cursor")
    todos = [{"id": "1", "content": "look", "status": "pending"}, {"id": "2", "content": "leap", "status": "pending"}]
    talk.request("cursor/update_todos", todos=todos, merge=False)

    outputs = talk.request("cursor/update_todos", 8, todos=[{"id": "1", "status": "completed"}], merge=True)

    (update,) = told(outputs, EventType.PLAN_UPDATE)
    assert update["items"] == [{"text": "look", "status": "completed"}, {"text": "leap", "status": "pending"}]
    assert said(outputs)[0]["result"] == {}
