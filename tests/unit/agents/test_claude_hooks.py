"""Claude Code's hooks: bodies as 2.1.329 posts them, and whatever else may come."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.agents.claude import hooks
from shared.agents.registry import REPORT_FORMS
from shared.domain.ask import PermissionAnswer, QuestionAnswer, Verdict
from shared.domain.report import Called, Left, Noticed, Prompted, Returned, Started, Stopped, Wanted
from shared.domain.turn import TurnStatus

CALL = {"tool_name": "Bash", "tool_use_id": "toolu_1", "tool_input": {"command": "ls"}}
THE_CALL = Called("toolu_1", "Bash", {"command": "ls"})


@pytest.mark.parametrize(
    ("event", "body", "fact"),
    [
        ("SessionStart", {"source": "startup", "model": "m"}, Started({"source": "startup", "model": "m"})),
        ("UserPromptSubmit", {"prompt": "hi"}, Prompted("hi")),
        ("PreToolUse", CALL, THE_CALL),
        ("PermissionRequest", CALL, Wanted("Bash", {"command": "ls"}, [])),
        (
            "PostToolUse",
            {**CALL, "tool_response": {"stdout": "a", "stderr": "b", "interrupted": False}, "duration_ms": 50},
            Returned(THE_CALL, "a\nb", is_error=False, duration_s=0.05),
        ),
        ("PostToolUse", {**CALL, "tool_response": "text"}, Returned(THE_CALL, "text", is_error=False, duration_s=None)),
        (
            "PostToolUse",
            {**CALL, "tool_response": {"type": "update", "filePath": "f"}},
            Returned(THE_CALL, '{"type": "update", "filePath": "f"}', is_error=False, duration_s=None),
        ),
        (
            "PostToolUseFailure",
            {**CALL, "error": "exit 1"},
            Returned(THE_CALL, "exit 1", is_error=True, duration_s=None),
        ),
        (
            "Notification",
            {"message": "Claude needs you", "notification_type": "idle_prompt"},
            Noticed({"kind": "notification", "message": "Claude needs you", "notification_type": "idle_prompt"}),
        ),
        ("Stop", {"last_assistant_message": "done"}, Stopped(TurnStatus.COMPLETED, "end_turn", text="done")),
        ("StopFailure", {"error": "overloaded"}, Stopped(TurnStatus.FAILED, "error", error="overloaded")),
        ("SubagentStop", {"agent_id": "a"}, Noticed({"kind": "subagent_stopped", "agent_id": "a"})),
        ("PreCompact", {"trigger": "auto"}, Noticed({"kind": "compacting", "trigger": "auto"})),
        (
            "PostCompact",
            {"trigger": "auto", "compact_summary": "s"},
            Noticed({"kind": "compacted", "trigger": "auto", "summary": "s"}),
        ),
        ("SessionEnd", {"reason": "clear"}, Left("clear")),
        ("CwdChanged", {"old": "a"}, Noticed({"kind": "hook", "event": "CwdChanged", "fields": {"old": "a"}})),
    ],
)
def test_an_event_is_read_as_what_it_means(event, body, fact):
    report = hooks.read(event, {"session_id": "s", "prompt_id": "p", "hook_event_name": event, **body})

    assert (report.agent_session_id, report.fact) == ("s", fact)


@pytest.mark.parametrize("tool", ["AskUserQuestion", "ExitPlanMode"])
def test_what_a_yes_alone_cannot_answer_is_left_to_the_agents_user(tool):
    assert isinstance(hooks.read("PermissionRequest", {"tool_name": tool}).fact, Noticed)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=5,
)
FIELDS = ["session_id", "tool_name", "tool_use_id", "tool_input", "tool_response", "prompt", "duration_ms", "error"]


@settings(max_examples=60)
@given(
    st.sampled_from([*sorted(hooks.FORM.known), "Unheard"]),
    st.dictionaries(st.sampled_from([*FIELDS, "permission_suggestions", "message", "reason", "source"]), JSON),
)
def test_whatever_the_body_holds_is_read(event, body):
    report = hooks.read(event, body)

    assert report.agent_session_id is None or isinstance(report.agent_session_id, str)
    if isinstance(report.fact, Returned):
        assert isinstance(report.fact.output, str)


SUGGESTED = {
    "suggestions": [
        {"type": "addRules", "rules": [{"toolName": "Bash"}], "behavior": "allow", "destination": "localSettings"},
        {"type": "setMode", "mode": "acceptEdits", "destination": "session"},
    ]
}


@pytest.mark.parametrize(
    ("answer", "decision"),
    [
        (PermissionAnswer(Verdict.ALLOW), {"behavior": "allow"}),
        (PermissionAnswer(Verdict.ALLOW, input={"a": 1}), {"behavior": "allow", "updatedInput": {"a": 1}}),
        (
            PermissionAnswer(Verdict.ALLOW_ALWAYS),
            {
                "behavior": "allow",
                "updatedPermissions": [{**SUGGESTED["suggestions"][0], "destination": "session"}],
            },
        ),
        (
            PermissionAnswer(Verdict.DENY, "no", stop=True),
            {"behavior": "deny", "message": "no", "interrupt": True},
        ),
    ],
)
def test_an_answer_is_told_in_the_agents_words(answer, decision):
    told = hooks.decide(answer, SUGGESTED)

    assert told == {"hookSpecificOutput": {"hookEventName": "PermissionRequest", "decision": decision}}
    assert json.dumps(told)


def test_an_answer_to_something_else_decides_nothing():
    assert hooks.decide(QuestionAnswer(None), {}) == {}


def test_claude_reports_in_this_form():
    assert REPORT_FORMS["claude"] is hooks.FORM
