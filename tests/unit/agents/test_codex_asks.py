"""What Codex waits for is shown to a human, and no request of it waits for ever."""

from __future__ import annotations

import json

import pytest

from shared.agents.codex.asks import MAX_OPEN
from shared.agents.driver import AskApplied, AskOpen, AskWithdrawn, Interrupt, Reply
from shared.domain.ask import AskKind, PermissionAnswer, PlanAnswer, QuestionAnswer, Verdict
from shared.domain.event import EventType
from tests.fixtures.codex_talk import Talk, ends, events, methods, results, sent

ALLOW = PermissionAnswer(Verdict.ALLOW)
ALWAYS = PermissionAnswer(Verdict.ALLOW_ALWAYS)
DENY = PermissionAnswer(Verdict.DENY)
CHANGES = [{"path": "/workspace/a", "kind": {"type": "update", "move_path": "/workspace/b"}, "diff": "-x\n+y\n"}]


@pytest.fixture
def talk():
    talk = Talk()
    talk.prompt()
    return talk


def opened(outputs):
    return [output for output in outputs if isinstance(output, AskOpen)]


# --- commands


def test_a_command_is_shown_without_the_shell_around_it(talk):
    (ask,) = opened(talk.ask("item/commandExecution/requestApproval", itemId="i1", command="/bin/bash -lc 'rm -r x'",
                             cwd="/workspace", reason="needs the network"))  # fmt: skip

    assert (ask.ref, ask.kind) == ("0", AskKind.PERMISSION)
    assert ask.data == {
        "tool_name": "shell",
        "input": {"command": "rm -r x", "cwd": "/workspace"},
        "description": "needs the network",
        "tool_call_id": "i1",
    }


@pytest.mark.parametrize(
    ("answer", "decision"),
    [
        (ALLOW, "accept"),
        (ALWAYS, "acceptForSession"),
        (DENY, "decline"),
        (PermissionAnswer(Verdict.DENY, stop=True), "cancel"),
        (QuestionAnswer({"?": "yes"}), "decline"),
    ],
)
def test_an_answer_is_said_in_codexs_words_and_applied(talk, answer, decision):
    talk.asks("ls")

    outputs = talk.say(Reply("0", answer))

    assert results(outputs) == [{"decision": decision}]
    assert outputs[outputs.index(AskApplied("0")) - 1].data.startswith(b'{"id":0,')


def test_the_reason_of_a_denial_is_said_before_it_and_stands_in_the_result(talk):
    talk.asks("rm -r x")

    outputs = talk.say(Reply("0", PermissionAnswer(Verdict.DENY, "not on a Friday")))
    result = talk.completed("commandExecution", command="rm -r x", status="declined")

    steer, denial = sent(outputs)
    assert steer["method"] == "turn/steer"
    assert steer["params"]["expectedTurnId"] == talk.turn_id
    assert steer["params"]["input"][0]["text"] == "The user did not allow this: not on a Friday"
    assert denial["result"] == {"decision": "decline"}
    (data,) = events(result, EventType.TOOL_RESULT)
    assert (data["output"], data["is_error"]) == ("The user did not allow this: not on a Friday", True)


def test_a_denial_with_stop_cancels_the_turn_as_denied(talk):
    talk.asks("ls")

    outputs = talk.say(Reply("0", PermissionAnswer(Verdict.DENY, "enough", stop=True)))
    (end,) = ends(talk.ends("interrupted"))

    assert "turn/steer" not in methods(outputs)
    assert (end.status.value, end.stop_reason) == ("cancelled", "denied")


def test_a_request_has_one_answer(talk):
    talk.asks("ls")
    talk.say(Reply("0", ALLOW))

    assert talk.say(Reply("0", DENY)) == []
    assert talk.say(Reply("no such", ALLOW)) == []


def test_the_ids_1_and_one_are_two_requests(talk):
    talk.asks("ls", "i1", id=1)
    talk.asks("pwd", "i2", id="1")

    assert talk.say(Reply('"1"', ALLOW))[0].data.startswith(b'{"id":"1"')
    assert talk.say(Reply("1", ALLOW))[0].data.startswith(b'{"id":1,')


# --- other permissions


def test_a_patch_is_shown_with_its_diff(talk):
    talk.started("fileChange", changes=CHANGES)

    (ask,) = opened(talk.ask("item/fileChange/requestApproval", itemId="i1", reason=None))

    change = {"path": "/workspace/a", "kind": "update", "move_path": "/workspace/b", "diff": "-x\n+y\n"}
    assert ask.data == {"tool_name": "apply_patch", "input": {"changes": [change]}, "tool_call_id": "i1"}
    assert results(talk.say(Reply("0", ALLOW))) == [{"decision": "accept"}]


def test_a_patch_nobody_has_seen_is_denied_on_the_spot(talk):
    outputs = talk.ask("item/fileChange/requestApproval", itemId="unknown")

    assert not opened(outputs)
    assert results(outputs) == [{"decision": "decline"}]
    assert events(outputs, EventType.NOTICE)[0]["kind"] == "ask_denied"


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        (ALLOW, {"permissions": {"network": {"enabled": True}}, "scope": "turn"}),
        (ALWAYS, {"permissions": {"network": {"enabled": True}}, "scope": "session"}),
        (DENY, {"permissions": {}, "scope": "turn"}),
    ],
)
def test_permissions_are_granted_as_asked_for_or_not_at_all(talk, answer, result):
    wanted = {"network": {"enabled": True}, "fileSystem": None}
    (ask,) = opened(talk.ask("item/permissions/requestApproval", itemId="i1", cwd="/w", permissions=wanted))

    assert ask.data["tool_name"] == "request_permissions"
    assert results(talk.say(Reply("0", answer))) == [result]


def test_a_denial_with_stop_interrupts_where_codex_has_no_word_for_it(talk):
    talk.ask("item/permissions/requestApproval", itemId="i1", permissions={"network": {"enabled": True}})

    outputs = talk.say(Reply("0", PermissionAnswer(Verdict.DENY, stop=True)))

    assert methods(outputs) == [None, "turn/interrupt"]
    assert ends(talk.ends("interrupted"))[0].stop_reason == "denied"


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        (ALLOW, {"action": "accept", "content": {}, "_meta": None}),
        (ALWAYS, {"action": "accept", "content": {}, "_meta": {"persist": "session"}}),
        (DENY, {"action": "decline", "content": None, "_meta": None}),
    ],
)
def test_a_tool_of_an_mcp_server_is_a_permission(talk, answer, result):
    talk.started("mcpToolCall", server="loud", tool="shout", arguments={"text": "hi"})
    about = {"codex_approval_kind": "mcp_tool_call", "tool_params": {"text": "hi"}}

    (ask,) = opened(talk.ask("mcpServer/elicitation/request", serverName="loud", mode="form", _meta=about,
                             message='Allow the loud MCP server to run tool "shout"?'))  # fmt: skip

    assert ask.data == {
        "tool_name": "mcp__loud__shout",
        "input": {"text": "hi"},
        "description": 'Allow the loud MCP server to run tool "shout"?',
        "tool_call_id": "i1",
    }
    assert results(talk.say(Reply("0", answer))) == [result]


def test_a_form_of_an_mcp_server_is_declined(talk):
    outputs = talk.ask("mcpServer/elicitation/request", serverName="loud", mode="form", message="Your name?")

    assert results(outputs) == [{"action": "decline", "content": None, "_meta": None}]


# --- questions

QUESTIONS = [
    {"id": "q1", "header": "Colour", "question": "Which colour?", "options": [{"label": "blue", "description": "d"}]},
    {"id": "q2", "question": "How many?", "options": None},
]


def test_a_question_is_shown_and_its_answers_go_back_under_their_ids(talk):
    (ask,) = opened(talk.ask("item/tool/requestUserInput", itemId="i1", questions=QUESTIONS, isBlocking=True))
    outputs = talk.say(Reply("0", QuestionAnswer({"Which colour?": "blue", "How many?": ["1", "2"]})))

    assert ask.kind is AskKind.QUESTION
    assert ask.data["questions"] == [
        {
            "question": "Which colour?",
            "header": "Colour",
            "options": [{"label": "blue", "description": "d"}],
            "multi_select": False,
        },
        {"question": "How many?", "options": [], "multi_select": False},
    ]
    assert results(outputs) == [{"answers": {"q1": {"answers": ["blue"]}, "q2": {"answers": ["1", "2"]}}}]


def test_a_question_nobody_answers_is_answered_with_a_note(talk):
    talk.ask("item/tool/requestUserInput", itemId="i1", questions=QUESTIONS[:1])

    outputs = talk.say(Reply("0", QuestionAnswer(None, "ask me later")))

    note = "user_note: The user declined to answer. ask me later"
    assert results(outputs) == [{"answers": {"q1": {"answers": [note]}}}]


def test_a_question_without_words_is_declined(talk):
    outputs = talk.ask("item/tool/requestUserInput", itemId="i1", questions=[{"id": "q1"}])

    assert results(outputs) == [{"answers": {}}]


# --- nothing waits for ever


def test_an_ask_in_a_line_that_was_cut_is_denied(talk):
    outputs = talk.line('{"method":"item/commandExecution/requestApproval","id":7,"params":{"command":"x', dropped=9)

    assert not opened(outputs)
    assert sent(outputs) == [{"id": 7, "result": {"decision": "decline"}}]


def test_an_ask_in_a_line_that_is_mangled_is_denied(talk):
    outputs = talk.line('{"method":"item/tool/requestUserInput","id":7,"params":{"questions":nonsense}}')

    assert sent(outputs) == [{"id": 7, "result": {"answers": {}}}]


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("applyPatchApproval", {"result": {"decision": "denied"}}),
        ("account/chatgptAuthTokens/refresh", {"error": {"code": -32601}}),
        ("item/tool/call", {"error": {"code": -32601}}),
    ],
)
def test_a_request_corral_does_not_serve_is_refused(talk, method, answer):
    (said,) = sent(talk.ask(method, id=3))

    said.get("error", {}).pop("message", None)
    assert said == {"id": 3, **answer}


def test_more_asks_than_anybody_could_answer_are_denied(talk):
    for number in range(MAX_OPEN):
        talk.asks("ls", f"i{number}", id=number)

    outputs = talk.ask("item/commandExecution/requestApproval", id=9999, itemId="i1", command="ls")

    assert results(outputs) == [{"decision": "decline"}]


def test_an_ask_codex_takes_back_is_withdrawn(talk):
    talk.asks("ls")
    assert talk.tell("serverRequest/resolved", requestId=0) == [AskWithdrawn("0", "withdrawn")]

    talk.asks("pwd", "i2", id=1)
    talk.say(Interrupt())
    assert talk.tell("serverRequest/resolved", requestId=1) == [AskWithdrawn("1", "interrupted")]
    assert talk.tell("serverRequest/resolved", requestId=True) == []


def test_a_result_ends_the_ask_about_its_call(talk):
    talk.asks("ls")

    outputs = talk.completed("commandExecution", command="ls", status="completed", exitCode=0)

    assert outputs[0] == AskWithdrawn("0", "withdrawn")


def test_a_subagent_that_still_asks_when_the_turn_ends_is_denied(talk):
    talk.completed("subAgentActivity", "spawn", kind="started", agentThreadId="child", agentPath="/root/kid")
    talk.started("commandExecution", "c1", thread="child", command="ls")
    (ask,) = opened(talk.ask("item/commandExecution/requestApproval", threadId="child", itemId="c1", command="ls"))

    outputs = talk.over()

    assert results(outputs) == [{"decision": "decline"}]
    assert AskWithdrawn(ask.ref, "turn_ended") in outputs


def test_the_reason_of_a_subagents_denial_is_not_said_to_the_agent(talk):
    talk.ask("item/commandExecution/requestApproval", threadId="child", itemId="c1", command="ls")

    outputs = talk.say(Reply("0", PermissionAnswer(Verdict.DENY, "no")))

    assert methods(outputs) == [None]
    assert json.loads(outputs[0].data)["result"] == {"decision": "decline"}


def test_a_plan_answer_to_a_permission_denies_it(talk):
    talk.asks("ls")

    assert results(talk.say(Reply("0", PlanAnswer(approve=True)))) == [{"decision": "decline"}]
