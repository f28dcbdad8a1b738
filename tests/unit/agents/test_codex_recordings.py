"""What matters in the recorded conversations with Codex, said by hand: expected files may change unread."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from shared.agents.codex.driver import CodexDriver
from shared.agents.driver import AskApplied, AskOpen, Emit, ModeNow, Output, Ready, Send, Steered, Transcript, TurnEnd
from shared.domain.ask import AskKind
from shared.domain.event import EventType
from shared.domain.session import Mode
from tests.conformance import recordings


def _replayed(case: str) -> list[Output]:
    return recordings.replay(CodexDriver(), recordings.read(recordings.FOLDER / "codex" / case / "recording.jsonl"))


def _ends(outputs: Sequence[Output]) -> list[tuple[str, str]]:
    return [(output.status.value, output.stop_reason) for output in outputs if isinstance(output, TurnEnd)]


def _events(outputs: Sequence[Output], kind: EventType) -> list[Any]:
    return [output.data for output in outputs if isinstance(output, Emit) and output.type is kind]


def _of(outputs: Sequence[Output], kind: type) -> list[Any]:
    return [output for output in outputs if isinstance(output, kind)]


def _said(outputs: Sequence[Output]) -> list[Any]:
    return [json.loads(output.data) for output in outputs if isinstance(output, Send)]


def _answers(outputs: Sequence[Output]) -> list[Any]:
    """What our answers to Codex's requests say."""
    return [message["result"] for message in _said(outputs) if "result" in message]


def test_five_turns_end_once_each_with_their_own_tokens():
    outputs = _replayed("captured-plain-turns")

    assert _ends(outputs) == [("completed", "end_turn")] * 5
    # Codex counts 1,234 tokens of input a request, 1,000 of them from the cache.
    assert {(end.usage.input_tokens / 234, end.usage.cache_read_tokens / 1000) for end in _of(outputs, TurnEnd)} <= {
        (1, 1),
        (2, 2),
        (3, 3),
    }
    assert [ready.version for ready in _of(outputs, Ready)] == ["0.169.0"]


@pytest.mark.parametrize("case", [case.name for case in recordings.cases("codex")])
def test_chunks_add_up_to_their_message(case):
    outputs = _replayed(case)

    for message in _events(outputs, EventType.MESSAGE):
        chunks = [
            chunk["text"]
            for chunk in _events(outputs, EventType.MESSAGE_CHUNK)
            if chunk["message_id"] == message["message_id"]
        ]
        # A text that the recording has cut is not whole.
        assert message["text"].endswith("…[cut]") or "".join(chunks) in ("", message["text"])


def test_approvals_are_answered_in_codexs_words():
    outputs = _replayed("captured-approvals")

    asks = _of(outputs, AskOpen)
    assert [answer["decision"] for answer in _answers(outputs)][:3] == ["accept", "decline", "cancel"]
    assert {ask.kind for ask in asks} == {AskKind.PERMISSION}
    assert {ask.data["tool_name"] for ask in asks} == {"shell", "apply_patch"}
    assert asks[0].data["input"]["command"] == "echo hi > f.txt"
    assert [_applied.ref for _applied in _of(outputs, AskApplied)] == [ask.ref for ask in asks]
    (patch, *_) = [ask for ask in asks if ask.data["tool_name"] == "apply_patch"]
    assert patch.data["input"]["changes"][0]["diff"] == "hello patch\n"
    assert ("cancelled", "denied") in _ends(outputs)


def test_every_call_an_ask_is_about_was_told_before():
    outputs = _replayed("captured-approvals")

    calls = {call["tool_call_id"] for call in _events(outputs, EventType.TOOL_CALL)}
    assert {ask.data["tool_call_id"] for ask in _of(outputs, AskOpen)} <= calls


def test_a_plan_is_asked_about_rejected_and_a_question_asked_within_one_turn():
    outputs = _replayed("captured-modes")

    plan, question = (_of(outputs, AskOpen)[place] for place in (0, 1))
    between = outputs[outputs.index(plan) : outputs.index(question)]
    assert (plan.kind, plan.data) == (AskKind.PLAN, {"plan": "# Plan\n1. create f.txt\n"})
    assert question.kind is AskKind.QUESTION
    assert question.data["questions"][0]["options"][1] == {"label": "Redis", "description": "kv"}
    assert not _of(between, TurnEnd)
    assert {"answers": {"db": {"answers": ["Postgres (Recommended)"]}}} in _answers(outputs)
    assert _of(outputs, ModeNow)[0] == ModeNow(Mode.PLAN)


def test_interrupts_cancel_steers_are_taken_and_errors_are_told():
    outputs = _replayed("captured-modes")

    assert _ends(outputs).count(("cancelled", "interrupted")) == 2
    assert len(_of(outputs, Steered)) == 1
    assert [retry["attempt"] for retry in _events(outputs, EventType.RETRYING)] == [1, 1]
    assert _events(outputs, EventType.ERROR)[0]["status"] == 401
    assert _ends(outputs)[-1] == ("failed", "error")
    assert "401 Unauthorized" in _of(outputs, TurnEnd)[-1].error
    kinds = [notice["kind"] for notice in _events(outputs, EventType.NOTICE)]
    assert kinds.index("compacting") < kinds.index("compacted")


def test_the_to_do_list_is_told():
    (update,) = _events(_replayed("captured-to-do-list"), EventType.PLAN_UPDATE)

    assert update["items"] == [
        {"text": "step one", "status": "in_progress"},
        {"text": "step two", "status": "pending"},
    ]


@pytest.mark.parametrize("case", ["captured-resumed-after-a-kill", "captured-resumed-elsewhere"])
def test_a_resumed_conversation_keeps_its_id(case):
    outputs = _replayed(case)
    options = recordings.read(recordings.FOLDER / "codex" / case / "recording.jsonl")[0]["options"]

    assert [ready.agent_session_id for ready in _of(outputs, Ready)] == [options["agent_session_id"]]
    assert _ends(outputs) == [("completed", "end_turn")]


def test_a_model_that_calls_its_tools_from_code_looks_like_any_other():
    outputs = _replayed("captured-code-mode-approvals")

    names = {call["name"] for call in _events(outputs, EventType.TOOL_CALL)}
    assert "shell" in names
    assert {end.status.value for end in _of(outputs, TurnEnd)} == {"completed"}


def test_running_output_is_told_as_it_comes():
    outputs = _replayed("captured-running-output")

    assert "".join(chunk["text"] for chunk in _events(outputs, EventType.TOOL_OUTPUT_CHUNK)) == "line2\nline3\n"
    assert _events(outputs, EventType.TOOL_RESULT)[0]["output"] == "line1\nline2\nline3\n"


@pytest.mark.parametrize("case", ["captured-interrupted-commands", "interrupted-in-a-tool"])
def test_an_interrupted_command_is_ended_and_told_once(case):
    outputs = _replayed(case)

    asked = [message.get("method") for message in _said(outputs)]
    assert asked.index("turn/interrupt") < asked.index("thread/backgroundTerminals/clean")
    calls = [call["tool_call_id"] for call in _events(outputs, EventType.TOOL_CALL)]
    assert [result["tool_call_id"] for result in _events(outputs, EventType.TOOL_RESULT)] == calls
    assert _events(outputs, EventType.TOOL_RESULT)[0]["is_error"] is True


@pytest.mark.parametrize("case", ["captured-killed-in-a-command", "killed-in-mid-turn", "killed-while-it-asks"])
def test_a_process_that_is_killed_fails_its_turn(case):
    outputs = _replayed(case)

    assert _ends(outputs) == [("failed", "agent_exited")]
    assert "signal 9" in _of(outputs, TurnEnd)[0].error


def test_the_mirror_begins_with_where_the_rollout_lies():
    entries = [json.loads(entry) for each in _of(_replayed("plain-text"), Transcript) for entry in each.entries]

    assert entries[0]["type"] == "corral_rollout"
    assert entries[0]["path"].startswith(".codex/sessions/")
    assert entries[1]["type"] == "session_meta"


def test_no_recorded_message_is_unknown():
    notices = {case.name: _events(_replayed(case.name), EventType.NOTICE) for case in recordings.cases("codex")}
    strange = {"unknown_frame", "unreadable_line", "request_failed", "ask_denied"}

    assert len(notices) >= 32
    assert not {case for case, found in notices.items() if strange & {notice["kind"] for notice in found}}


def test_no_recorded_turn_is_stale():
    assert not [
        end
        for case in recordings.cases("codex")
        for end in _of(_replayed(case.name), TurnEnd)
        if CodexDriver().is_stale(end)
    ]
