"""Claude Code's hooks, as a Claude Code that somebody else runs posts them (seen with 2.1.329).

Each body holds `session_id, transcript_path, cwd, prompt_id, permission_mode, hook_event_name` and what its event adds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Final

from shared.agents.claude import frames
from shared.domain.ask import Answer, PermissionAnswer, Verdict
from shared.domain.json import JsonObject
from shared.domain.report import (
    Called,
    Fact,
    Left,
    Noticed,
    Prompted,
    Report,
    ReportForm,
    Returned,
    Started,
    Stopped,
    Wanted,
)
from shared.domain.turn import TurnStatus

_COMMON: Final = frozenset(
    {"session_id", "transcript_path", "cwd", "prompt_id", "permission_mode", "hook_event_name", "effort", "event_id"}
)
"""What every body has and no event repeats."""
_UNASKABLE: Final = frozenset({"AskUserQuestion", "ExitPlanMode"})
"""Allowing these tools without what they ask for would answer them with nothing."""
_MAX_NAME: Final = 200
"""Characters of an id or a tool's name: a database's index cannot hold what somebody else may send."""
_RULES: Final = ("addRules", "addDirectories")
_DENIED: Final = "The user did not allow this."


def read(event: str, body: JsonObject) -> Report:
    """What a hook tells. An event this release does not know is a `notice` with all its fields."""
    reader = _READERS.get(event)
    fact = reader(body) if reader else _unknown(event, body)
    return Report(frames.text(body, "session_id")[:_MAX_NAME] or None, fact)


def decide(answer: Answer, asked: JsonObject) -> JsonObject:
    """The reply to `PermissionRequest` that carries a human's answer."""
    if not isinstance(answer, PermissionAnswer):
        return {}
    decision: JsonObject
    if answer.decision is Verdict.DENY:
        decision = {"behavior": "deny", "message": answer.message or _DENIED}
        if answer.stop:
            decision["interrupt"] = True
    else:
        decision = {"behavior": "allow"}
        if answer.input is not None:
            decision["updatedInput"] = answer.input
        if answer.decision is Verdict.ALLOW_ALWAYS:
            # Of this session alone: the destination it suggests may be a file of the workspace.
            rules = [one for one in frames.objects(asked, "suggestions") if one.get("type") in _RULES]
            decision["updatedPermissions"] = [{**rule, "destination": "session"} for rule in rules]
    return {"hookSpecificOutput": {"hookEventName": "PermissionRequest", "decision": decision}}


def _started(body: JsonObject) -> Fact:
    told = {name: frames.text(body, name) for name in ("source", "model", "cwd")}
    return Started({name: text for name, text in told.items() if text})


def _prompted(body: JsonObject) -> Fact:
    return Prompted(frames.text(body, "prompt"))


def _called(body: JsonObject) -> Called:
    given = frames.obj(body, "tool_input")
    return Called(frames.text(body, "tool_use_id")[:_MAX_NAME], frames.text(body, "tool_name")[:_MAX_NAME], given)


def _returned(body: JsonObject) -> Fact:
    return Returned(_called(body), _output(body), is_error=False, duration_s=_duration_s(body))


def _failed(body: JsonObject) -> Fact:
    return Returned(_called(body), frames.text(body, "error"), is_error=True, duration_s=_duration_s(body))


def _wanted(body: JsonObject) -> Fact:
    name = frames.text(body, "tool_name")[:_MAX_NAME]
    if name in _UNASKABLE:
        return Noticed({"kind": "waits_for_user", "tool_name": name})
    return Wanted(name, frames.obj(body, "tool_input"), frames.objects(body, "permission_suggestions"))


def _notified(body: JsonObject) -> Fact:
    return _notice(
        "notification",
        message=frames.text(body, "message"),
        title=frames.text(body, "title"),
        notification_type=frames.text(body, "notification_type"),
    )


def _stopped(body: JsonObject) -> Fact:
    return Stopped(TurnStatus.COMPLETED, "end_turn", text=frames.text(body, "last_assistant_message") or None)


def _stop_failed(body: JsonObject) -> Fact:
    told = [frames.text(body, name) for name in ("error", "error_details")]
    text = frames.text(body, "last_assistant_message") or None
    return Stopped(TurnStatus.FAILED, "error", text=text, error=": ".join(filter(None, told)) or None)


def _subagent_stopped(body: JsonObject) -> Fact:
    return _notice(
        "subagent_stopped",
        agent_id=frames.text(body, "agent_id"),
        agent_type=frames.text(body, "agent_type"),
        message=frames.text(body, "last_assistant_message"),
    )


def _compacting(body: JsonObject) -> Fact:
    return _notice("compacting", trigger=frames.text(body, "trigger"))


def _compacted(body: JsonObject) -> Fact:
    return _notice("compacted", trigger=frames.text(body, "trigger"), summary=frames.text(body, "compact_summary"))


def _left(body: JsonObject) -> Fact:
    return Left(frames.text(body, "reason") or None)


_READERS: Final[Mapping[str, Callable[[JsonObject], Fact]]] = {
    "SessionStart": _started,
    "UserPromptSubmit": _prompted,
    "PreToolUse": _called,
    "PermissionRequest": _wanted,
    "PostToolUse": _returned,
    "PostToolUseFailure": _failed,
    "Notification": _notified,
    "Stop": _stopped,
    "StopFailure": _stop_failed,
    "SubagentStop": _subagent_stopped,
    "PreCompact": _compacting,
    "PostCompact": _compacted,
    "SessionEnd": _left,
}


def _unknown(event: str, body: JsonObject) -> Fact:
    return Noticed({"kind": "hook", "event": event, "fields": {k: v for k, v in body.items() if k not in _COMMON}})


FORM: Final = ReportForm(frozenset(_READERS), read, decide)


def _notice(kind: str, **fields: str) -> Noticed:
    return Noticed({"kind": kind, **frames.present(**fields)})


def _output(body: JsonObject) -> str:
    """The result as text. Bash gives its two streams; what else is no text is told as JSON."""
    given = body.get("tool_response")
    if isinstance(given, str):
        return given
    if isinstance(given, dict) and isinstance(given.get("stdout"), str):
        return "\n".join(filter(None, [frames.text(given, "stdout"), frames.text(given, "stderr")]))
    return json.dumps(given, ensure_ascii=False)


def _duration_s(body: JsonObject) -> float | None:
    duration_ms = frames.number(body, "duration_ms")
    return None if duration_ms is None else max(0.0, duration_ms) / 1000
