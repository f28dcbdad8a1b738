"""What matters in the recorded conversations with Claude Code, said by hand: expected files may change unread."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from shared.agents.claude.driver import ClaudeDriver
from shared.agents.driver import AskApplied, AskOpen, AskWithdrawn, Emit, ModeNow, Output, Ready, Send, TurnEnd
from shared.domain.ask import AskKind
from shared.domain.event import EventType
from shared.domain.session import Mode
from shared.domain.turn import TurnStatus
from tests.conformance import recordings


def _replayed(case: str) -> list[Output]:
    return recordings.replay(ClaudeDriver(), recordings.read(recordings.FOLDER / "claude" / case / "recording.jsonl"))


def _ends(outputs: Sequence[Output]) -> list[tuple[str, str]]:
    return [(output.status.value, output.stop_reason) for output in outputs if isinstance(output, TurnEnd)]


def _events(outputs: Sequence[Output], kind: EventType) -> list[Any]:
    return [output.data for output in outputs if isinstance(output, Emit) and output.type is kind]


def _said(outputs: Sequence[Output]) -> list[Any]:
    return [json.loads(output.data) for output in outputs if isinstance(output, Send)]


def _answers(outputs: Sequence[Output]) -> list[Any]:
    """What our answers to the agent's requests say."""
    return [frame["response"]["response"] for frame in _said(outputs) if frame["type"] == "control_response"]


def _of(outputs: Sequence[Output], kind: type) -> list[Any]:
    return [output for output in outputs if isinstance(output, kind)]


def test_two_turns_end_once_each_with_their_own_cost():
    outputs = _replayed("plain-turns")

    first, second = _of(outputs, TurnEnd)
    assert _ends(outputs) == [("completed", "end_turn")] * 2
    assert first.cost_usd == pytest.approx(0.011436)
    assert second.cost_usd == pytest.approx(0.035224 - 0.011436)
    assert second.usage.input_tokens == 5337
    assert [ready.version for ready in _of(outputs, Ready)] == ["2.1.329"]


def test_a_fork_is_ready_under_an_id_of_its_own_and_costs_its_own_turn():
    outputs = _replayed("forked")

    (ready,) = _of(outputs, Ready)
    (end,) = _of(outputs, TurnEnd)
    assert ready.agent_session_id != "f7b60b85-3260-4acc-8df7-63f159f65402"
    assert _ends(outputs) == [("completed", "end_turn")]
    # The process goes on counting where the copied conversation was; the turn must not pay for that.
    assert 0 < end.cost_usd < 0.04724


def test_chunks_add_up_to_their_message():
    outputs = _replayed("plain-turns")

    for message in _events(outputs, EventType.MESSAGE):
        chunks = [
            chunk["text"]
            for chunk in _events(outputs, EventType.MESSAGE_CHUNK)
            if chunk["message_id"] == message["message_id"]
        ]
        assert "".join(chunks) == message["text"]


def test_an_allowed_permission_gives_the_input_back_and_the_tool_runs():
    outputs = _replayed("permission-allowed")

    (ask,) = _of(outputs, AskOpen)
    assert ask.kind is AskKind.PERMISSION
    assert ask.data["tool_name"] == "Bash"
    assert ask.data["tool_call_id"] == _events(outputs, EventType.TOOL_CALL)[0]["tool_call_id"]
    assert _answers(outputs) == [{"behavior": "allow", "updatedInput": ask.data["input"]}]
    assert _of(outputs, AskApplied) == [AskApplied(ask.ref)]
    assert _events(outputs, EventType.TOOL_RESULT)[0]["is_error"] is False


def test_permissions_are_denied_denied_with_stop_changed_and_allowed_for_good():
    outputs = _replayed("permission-answers")

    denied, stopped, changed, always = _answers(outputs)[:4]
    assert denied == {"behavior": "deny", "message": "User said no"}
    assert stopped == {"behavior": "deny", "message": "User said no and stop", "interrupt": True}
    assert changed["updatedInput"]["command"] != _of(outputs, AskOpen)[2].data["input"]["command"]
    assert {update["destination"] for update in always["updatedPermissions"]} == {"session"}
    assert _ends(outputs)[:3] == [("completed", "end_turn"), ("cancelled", "denied"), ("completed", "end_turn")]
    assert _events(outputs, EventType.TOOL_RESULT)[0]["output"] == "User said no"


def test_what_is_allowed_for_good_is_asked_once():
    outputs = _replayed("allowed-for-good")

    assert len(_of(outputs, AskOpen)) == 1
    assert _ends(outputs) == [("completed", "end_turn")] * 3


def test_an_approved_plan_leaves_plan_mode():
    outputs = _replayed("plan-approved")

    plan = next(ask for ask in _of(outputs, AskOpen) if ask.kind is AskKind.PLAN)
    assert plan.data == {"plan": "# Plan\n1. create f.txt\n2. done\n"}
    assert _answers(outputs)[0] == {"behavior": "allow", "updatedInput": {}}
    assert _of(outputs, ModeNow) == [ModeNow(Mode.INTERACTIVE)]


def test_a_rejected_plan_is_sent_back_and_an_approved_one_sets_the_next_mode():
    outputs = _replayed("plan-rejected-then-approved")

    rejected, approved = _answers(outputs)
    assert rejected == {"behavior": "deny", "message": "Please add tests to the plan"}
    assert approved["updatedPermissions"] == [{"type": "setMode", "mode": "acceptEdits", "destination": "session"}]
    assert _of(outputs, ModeNow) == [ModeNow(Mode.PLAN), ModeNow(Mode.ACCEPT_EDITS)]
    assert [notice["kind"] for notice in _events(outputs, EventType.NOTICE)] == ["informational", "permission_denied"]


def test_a_plan_that_was_written_to_a_file_is_shown():
    outputs = _replayed("plan-in-a-file")

    assert _of(outputs, AskOpen)[0].data == {"plan": "# Plan\n1. create f.txt\n2. done\n"}


def test_the_agent_may_enter_plan_mode_by_itself():
    outputs = _replayed("plan-mode-entered-by-the-agent")

    assert _of(outputs, ModeNow) == [ModeNow(Mode.PLAN)]
    assert not _of(outputs, AskOpen)


def test_a_question_is_answered_with_a_label_with_free_text_and_declined():
    outputs = _replayed("question")

    asks, (label, free, declined) = _of(outputs, AskOpen), _answers(outputs)
    assert {ask.kind for ask in asks} == {AskKind.QUESTION}
    assert asks[0].data["questions"] == [
        {
            "question": "Which database should we use?",
            "header": "Database",
            "options": [
                {"label": "Postgres", "description": "relational"},
                {"label": "Redis", "description": "key value"},
            ],
            "multi_select": False,
        }
    ]
    assert label["updatedInput"]["answers"] == {"Which database should we use?": "Postgres"}
    assert label["updatedInput"]["questions"]
    assert free["updatedInput"]["answers"] == {"Which database should we use?": "My own free text: sqlite"}
    assert declined == {"behavior": "deny", "message": "The user declined to answer"}


def test_interrupts_in_text_in_a_tool_and_in_an_ask_cancel_their_turns():
    outputs = _replayed("interrupts")

    asks = _of(outputs, AskOpen)
    assert _ends(outputs) == [("cancelled", "interrupted")] * 3 + [("completed", "end_turn")]
    assert all(end.error is None for end in _of(outputs, TurnEnd))
    assert _events(outputs, EventType.MESSAGE)[0]["aborted"] is True
    assert _of(outputs, AskWithdrawn) == [AskWithdrawn(asks[1].ref, "interrupted")]
    assert [result["is_error"] for result in _events(outputs, EventType.TOOL_RESULT)] == [True, True]


@pytest.mark.parametrize(
    ("case", "end", "error"),
    [
        ("error-400", ("failed", "error"), "API Error: 400 fake 400"),
        ("connection-refused", ("failed", "error"), "ECONNREFUSED"),
        ("budget-exhausted", ("failed", "max_cost"), "Reached maximum budget"),
        ("max-turns", ("failed", "max_turns"), "Reached maximum number of turns (1)"),
        ("error-401", ("failed", "agent_exited"), "signal 9"),
        ("killed-in-a-tool", ("failed", "agent_exited"), "signal 9"),
        ("hangup", ("failed", "agent_exited"), "code 129"),
        ("resume-unknown", ("failed", "unknown_conversation"), "No conversation found"),
    ],
)
def test_a_turn_that_fails_says_why(case, end, error):
    outputs = _replayed(case)

    assert _ends(outputs) == [end]
    assert error in _of(outputs, TurnEnd)[0].error


def test_an_unknown_conversation_is_stale_and_nothing_else_is():
    stale = {case.name for case in recordings.cases("claude") if any(map(_is_stale, _replayed(case.name)))}

    assert stale == {"resume-unknown"}


def _is_stale(output: Output) -> bool:
    return isinstance(output, TurnEnd) and ClaudeDriver().is_stale(output)


@pytest.mark.parametrize(("case", "statuses"), [("error-401", [401] * 7), ("error-529", [529, 529])])
def test_each_retry_is_told(case, statuses):
    retries = _events(_replayed(case), EventType.RETRYING)

    assert [retry["status"] for retry in retries] == statuses
    assert [retry["attempt"] for retry in retries] == list(range(1, len(statuses) + 1))
    assert 0.5 <= retries[0]["delay_s"] < 0.6


def test_slash_commands_compact_and_clear():
    outputs = _replayed("slash-commands")

    kinds = [notice["kind"] for notice in _events(outputs, EventType.NOTICE)]
    first, second = _of(outputs, Ready)
    assert kinds == ["compacting", "compacted", "conversation_reset", "mode_refused"]
    assert second.agent_session_id == "e1dcc733-0b8e-4bb0-8999-febb9492d184" != first.agent_session_id
    assert {end.status for end in _of(outputs, TurnEnd)} == {TurnStatus.COMPLETED}
    assert _of(outputs, ModeNow) == [ModeNow(Mode.ACCEPT_EDITS), ModeNow(Mode.ACCEPT_EDITS)]


def test_the_mirror_gives_every_entry_of_the_transcript():
    outputs = _replayed("mirror")
    steps = recordings.read(recordings.FOLDER / "claude" / "mirror" / "recording.jsonl")

    frames = [json.loads(step["line"]) for step in steps if "line" in step]
    printed = [entry for frame in frames if frame["type"] == "transcript_mirror" for entry in frame["entries"]]
    assert [json.loads(entry) for output in outputs for entry in getattr(output, "entries", [])] == printed
    assert "cost-state" in {entry["type"] for entry in printed}


@pytest.mark.parametrize("case", ["resumed-after-a-kill", "resumed-from-the-mirror"])
def test_a_resumed_conversation_keeps_its_id(case):
    outputs = _replayed(case)
    options = recordings.read(recordings.FOLDER / "claude" / case / "recording.jsonl")[0]["options"]

    assert [ready.agent_session_id for ready in _of(outputs, Ready)] == [options["agent_session_id"]]
    assert _ends(outputs) == [("completed", "end_turn")]


def test_work_nobody_prompted_is_logged_and_ends_no_turn():
    outputs = _replayed("resumed-in-mid-turn")

    assert _ends(outputs) == []
    assert _events(outputs, EventType.MESSAGE)
    assert len(_of(outputs, AskApplied)) == 1


def test_a_subagent_that_reports_later_does_not_end_the_turn_twice():
    outputs = _replayed("subagent")

    (end,) = _of(outputs, TurnEnd)
    assert outputs.index(end) > max(outputs.index(o) for o in outputs if isinstance(o, Emit))
    assert end.cost_usd == pytest.approx(0.050572)
    assert [notice["kind"] for notice in _events(outputs, EventType.NOTICE)] == ["task_started", "task_ended"]
    assert [m.get("parent_tool_call_id") for m in _events(outputs, EventType.MESSAGE)] == [
        None,
        "toolu_b73fe428a890411db795",
        None,
    ]


def test_thinking_is_told_once_as_it_streams():
    thoughts = _events(_replayed("thinking"), EventType.THINKING_CHUNK)

    assert "".join(thought["text"] for thought in thoughts) == "Let me think about this for a moment."


def test_tasks_are_one_list_that_changes():
    updates = _events(_replayed("tasks"), EventType.PLAN_UPDATE)

    assert [[item["status"] for item in update["items"]] for update in updates] == [
        ["pending"],
        ["in_progress"],
        ["completed"],
    ]


def test_a_task_the_agent_may_not_make_changes_no_list():
    assert not _events(_replayed("tool-switched-off"), EventType.PLAN_UPDATE)


def test_an_ask_the_agent_gave_up_is_withdrawn():
    outputs = _replayed("stdin-closed-while-asking")

    assert _of(outputs, AskWithdrawn) == [AskWithdrawn(_of(outputs, AskOpen)[0].ref, "withdrawn")]


def test_an_older_release_ends_its_turn_too():
    outputs = _replayed("older-release")

    assert _ends(outputs) == [("completed", "end_turn")]
    assert _of(outputs, TurnEnd)[0].cost_usd == pytest.approx(0.021565)


def test_no_recorded_frame_is_unknown():
    notices = {case.name: _events(_replayed(case.name), EventType.NOTICE) for case in recordings.cases("claude")}
    strange = {"unknown_frame", "unreadable_line", "unknown_result", "request_failed"}

    assert len(notices) >= 35
    assert not {case for case, found in notices.items() if strange & {notice["kind"] for notice in found}}
