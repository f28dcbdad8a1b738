"""Codex's items as events: words, reasoning, tools and their results, to-do lists, subagents."""

from __future__ import annotations

import tracemalloc

import pytest

from shared.agents.driver import ExitStatus
from shared.domain.event import EventType
from tests.fixtures.codex_talk import Talk, events

KID = {"parent_tool_call_id": "spawn"}


@pytest.fixture
def talk():
    talk = Talk()
    talk.prompt()
    return talk


def test_a_message_is_told_in_pieces_and_whole_under_one_id(talk):
    outputs = talk.started("agentMessage", "m1", text="")
    for piece in ("Hel", "lo"):
        outputs += talk.tell("item/agentMessage/delta", itemId="m1", delta=piece)
    outputs += talk.completed("agentMessage", "m1", text="Hello")

    assert events(outputs, EventType.MESSAGE_CHUNK) == [
        {"text": "Hel", "message_id": "m1"},
        {"text": "lo", "message_id": "m1"},
    ]
    assert events(outputs, EventType.MESSAGE) == [{"text": "Hello", "message_id": "m1"}]
    assert not events(talk.ends(), EventType.MESSAGE)


def test_reasoning_is_told_once_streamed_or_not(talk):
    streamed = talk.tell("item/reasoning/summaryTextDelta", itemId="r1", delta="Hm.")
    streamed += talk.completed("reasoning", "r1", summary=["Hm."], content=[])
    whole = talk.completed("reasoning", "r2", summary=["First.", "Then."], content=[])

    assert events(streamed, EventType.THINKING_CHUNK) == [{"text": "Hm.", "message_id": "r1"}]
    assert events(whole, EventType.THINKING_CHUNK) == [{"text": "First.\n\nThen.", "message_id": "r2"}]


def test_a_command_is_a_call_with_running_output_and_one_result(talk):
    outputs = talk.runs("echo hi")
    outputs += talk.tell("item/commandExecution/outputDelta", itemId="i1", delta="hi\n")
    outputs += talk.completed(
        "commandExecution", command="x", status="completed", exitCode=0, aggregatedOutput="hi\n", durationMs=1500
    )

    assert events(outputs, EventType.TOOL_CALL) == [
        {"tool_call_id": "i1", "name": "shell", "input": {"command": "echo hi", "cwd": "/workspace"}}
    ]
    assert events(outputs, EventType.TOOL_OUTPUT_CHUNK) == [{"tool_call_id": "i1", "text": "hi\n"}]
    assert events(outputs, EventType.TOOL_RESULT) == [
        {
            "tool_call_id": "i1",
            "name": "shell",
            "output": "hi\n",
            "is_error": False,
            "exit_code": 0,
            "duration_s": 1.5,
        }
    ]


@pytest.mark.parametrize(
    ("fields", "output", "failed"),
    [
        ({"status": "completed", "exitCode": 7}, "It exited with code 7.", True),
        ({"status": "failed"}, "", True),
        ({"status": "declined"}, "", True),
        ({"status": "completed", "aggregatedOutput": "x"}, "x", False),
    ],
)
def test_how_a_command_went(talk, fields, output, failed):
    talk.runs("x")

    (result,) = events(talk.completed("commandExecution", command="x", **fields), EventType.TOOL_RESULT)

    assert (result["output"], result["is_error"]) == (output, failed)


def test_a_command_whose_output_came_in_pieces_alone_has_it_in_its_result(talk):
    talk.runs("x")
    talk.tell("item/commandExecution/outputDelta", itemId="i1", delta="a")
    talk.tell("item/commandExecution/outputDelta", itemId="i1", delta="b")

    (result,) = events(talk.completed("commandExecution", command="x", aggregatedOutput=None), EventType.TOOL_RESULT)

    assert result["output"] == "ab"


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("/bin/bash -lc 'echo \"a b\" && ls'", 'echo "a b" && ls'),
        ("zsh -c ls", "ls"),
        ("python3 -c 'print(1)'", "python3 -c 'print(1)'"),
        ("/bin/bash -lc 'unfinished", "/bin/bash -lc 'unfinished"),
        ("", ""),
    ],
)
def test_a_command_is_shown_as_it_was_meant(talk, command, shown):
    (call,) = events(talk.started("commandExecution", command=command), EventType.TOOL_CALL)

    assert call["input"] == {"command": shown}


@pytest.mark.parametrize(
    ("kind", "fields", "name", "given"),
    [
        ("mcpToolCall", {"server": "s", "tool": "t", "arguments": {"a": 1}}, "mcp__s__t", {"a": 1}),
        ("mcpToolCall", {"server": "s", "tool": "t", "arguments": [1]}, "mcp__s__t", {"arguments": [1]}),
        ("dynamicToolCall", {"tool": "d", "arguments": {}}, "d", {}),
        ("webSearch", {"query": "corral"}, "web_search", {"query": "corral"}),
        ("imageView", {"path": "/x.png"}, "view_image", {"path": "/x.png"}),
        ("collabAgentToolCall", {"tool": "wait", "receiverThreadIds": []}, "agent_wait", {}),
    ],
)
def test_every_tool_has_a_name_and_an_input(talk, kind, fields, name, given):
    (call,) = events(talk.started(kind, **fields), EventType.TOOL_CALL)
    (result,) = events(talk.completed(kind, **fields, status="completed"), EventType.TOOL_RESULT)

    assert (call["name"], call["input"]) == (name, given)
    assert (result["name"], result["is_error"]) == (name, False)


def test_the_result_of_an_mcp_tool_is_its_text_or_its_error(talk):
    fields = {"server": "s", "tool": "t", "arguments": {}}
    good = talk.completed(
        "mcpToolCall",
        "i1",
        **fields,
        result={"content": [{"type": "text", "text": "A"}, {"type": "image", "data": "…"}]},
    )
    bad = talk.completed("mcpToolCall", "i2", **fields, status="failed", error={"message": "no such tool"})

    assert events(good, EventType.TOOL_RESULT)[0]["output"] == "A\n[image]"
    assert events(bad, EventType.TOOL_RESULT)[0]["output"] == "no such tool"
    assert [len(events(told, EventType.TOOL_CALL)) for told in (good, bad)] == [1, 1]


def test_a_result_that_comes_again_is_not_told_again(talk):
    talk.runs("x")
    talk.completed("commandExecution", command="x")

    assert talk.completed("commandExecution", command="x") == []
    assert talk.runs("x") == []


def test_the_to_do_list_is_told_as_it_stands(talk):
    (told,) = events(
        talk.tell(
            "turn/plan/updated",
            plan=[
                {"step": "a", "status": "completed"},
                {"step": "b", "status": "inProgress"},
                {"step": "c", "status": "?"},
            ],
        ),
        EventType.PLAN_UPDATE,
    )

    assert [item["status"] for item in told["items"]] == ["completed", "in_progress", "pending"]


def test_what_a_subagent_says_and_does_is_marked_with_the_call_that_began_it(talk):
    talk.completed("subAgentActivity", "spawn", kind="started", agentThreadId="child", agentPath="/root/kid")
    outputs = talk.tell("item/agentMessage/delta", threadId="child", itemId="m1", delta="hi")
    outputs += talk.completed("agentMessage", "m1", thread="child", text="hi")
    outputs += talk.started("commandExecution", "c1", thread="child", command="ls")
    outputs += talk.completed("commandExecution", "c1", thread="child", command="ls")

    for kind in (EventType.MESSAGE_CHUNK, EventType.MESSAGE, EventType.TOOL_CALL, EventType.TOOL_RESULT):
        (data,) = events(outputs, kind)
        assert data | KID == data


def test_a_subagent_may_work_on_when_the_turn_ends_and_no_longer_than_its_process(talk):
    talk.completed("subAgentActivity", "spawn", kind="started", agentThreadId="child", agentPath="/root/kid")
    talk.started("commandExecution", "c1", thread="child", command="ls")

    turn = talk.ends()
    end = talk.dialogue.end(ExitStatus(0))

    assert not events(turn, EventType.TOOL_RESULT)
    assert [data["tool_call_id"] for data in events(end, EventType.TOOL_RESULT)] == ["c1"]


def test_nothing_is_told_of_a_thread_nobody_knows(talk):
    assert talk.completed("agentMessage", "m1", thread="stranger", text="hi") == []
    assert talk.started("hologram", thread="stranger") == []


def test_an_item_of_an_unknown_type_is_told(talk):
    (told,) = events(talk.started("hologram"), EventType.NOTICE)

    assert told["frame"] == "item/hologram"


def test_a_dialogue_holds_no_more_after_many_messages_than_after_some():
    talk = Talk()
    talk.prompt()

    def go_on(rounds):
        for number in rounds:
            talk.started(
                "fileChange", f"f{number}", changes=[{"path": "a", "kind": {"type": "add"}, "diff": "x" * 500}]
            )
            talk.ask("item/fileChange/requestApproval", id=number, itemId=f"f{number}")
            talk.tell("item/agentMessage/delta", itemId=f"m{number}", delta="x" * 500)
            talk.tell("item/reasoning/textDelta", itemId=f"r{number}", delta="x" * 500)
            talk.completed("subAgentActivity", f"s{number}", kind="started", agentThreadId=f"child {number}")
            talk.tell(f"unknown {number}")
            talk.outputs.clear()

    go_on(range(1_200))
    tracemalloc.start()
    try:
        go_on(range(1_200, 2_400))
        grown = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()

    assert grown < 1_000_000
