"""What Claude Code waits for: `can_use_tool` requests as asks, and answers as their replies."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from shared.agents.claude import frames
from shared.agents.claude.modes import set_mode
from shared.agents.driver import AskApplied, AskOpen, AskWithdrawn, Output
from shared.agents.notices import notice
from shared.domain.ask import Answer, AskKind, PermissionAnswer, PlanAnswer, QuestionAnswer, Verdict
from shared.domain.json import JsonObject, JsonValue
from shared.domain.session import Mode

MAX_OPEN = 256
"""More asks at once are denied: nobody could answer them, and memory is bounded."""

_HEAD_CHARS = 4096
_REQUEST_ID = re.compile(r'"request_id"\s*:\s*"([^"\\]{1,200})"')
_CAN_USE_TOOL = re.compile(r'"subtype"\s*:\s*"can_use_tool"')
_CONTROL_REQUEST = re.compile(r'"control_request"')

_KINDS = {"AskUserQuestion": AskKind.QUESTION, "ExitPlanMode": AskKind.PLAN}
_DENIED = "The user did not allow this."
_DECLINED = "The user declined to answer."
_REJECTED = "The user rejected the plan."


@dataclass(frozen=True, slots=True)
class _Open:
    kind: AskKind
    tool_name: str
    input: JsonObject
    suggestions: Sequence[JsonObject]
    tool_call_id: str


class OpenAsks:
    """The requests the agent waits for, by their request id."""

    def __init__(self, *, allow_bypass: bool) -> None:
        self._allow_bypass = allow_bypass
        self._open: dict[str, _Open] = {}
        self._allowed: set[str] = set()

    def opened(self, ref: str, request: JsonObject, *, plan: str) -> list[Output]:
        """The agent asks. `plan` is the text of the plan where the request carries none."""
        if not ref or ref in self._open:
            return []
        if len(self._open) >= MAX_OPEN:
            return denied(ref, f"More than {MAX_OPEN} requests are open already.")
        kind = _KINDS.get(frames.text(request, "tool_name"), AskKind.PERMISSION)
        tool_input = frames.obj(request, "input")
        if kind is AskKind.QUESTION and not _questions(tool_input):
            return denied(ref, "The question has no text that could be shown.")
        suggestions, call_id = frames.objects(request, "permission_suggestions"), frames.text(request, "tool_use_id")
        ask = _Open(kind, frames.text(request, "tool_name"), tool_input, suggestions, call_id)
        if _sameness(ask) in self._allowed:
            return [frames.success(ref, _allow(tool_input))]
        self._open[ref] = ask
        return [AskOpen(ref, kind, _shown(kind, request, plan))]

    def answered(self, ref: str, answer: Answer) -> list[Output]:
        """Bytes that carry the answer; none where the agent no longer waits for `ref`."""
        ask = self._open.pop(ref, None)
        if ask is None:
            return []
        return [frames.success(ref, self._response(ask, answer)), AskApplied(ref)]

    def withdrawn(self, ref: str, reason: str) -> list[Output]:
        """The agent took its request back."""
        return [AskWithdrawn(ref, reason)] if self._open.pop(ref, None) else []

    def passed(self, tool_call_id: str) -> list[Output]:
        """The agent has a result of this tool, so it waits for no answer about it."""
        refs = [ref for ref, ask in self._open.items() if ask.tool_call_id == tool_call_id != ""]
        return [output for ref in refs for output in self.withdrawn(ref, "withdrawn")]

    def all_withdrawn(self, reason: str) -> list[Output]:
        """Nobody waits any more."""
        refs = list(self._open)
        self._open.clear()
        return [AskWithdrawn(ref, reason) for ref in refs]

    def _response(self, ask: _Open, answer: Answer) -> JsonObject:
        match answer:
            case PermissionAnswer():
                self._remember(ask, answer)
                return _decided(ask, answer)
            case QuestionAnswer():
                return _told(ask, answer)
            case PlanAnswer():
                return self._judged(ask, answer)

    def _remember(self, ask: _Open, answer: PermissionAnswer) -> None:
        # The rule Claude Code suggests for `a && b` does not match `a && b`: it holds each part against the
        # rules by itself (2.1.329). So the very same request is recognized here.
        always = answer.decision is Verdict.ALLOW_ALWAYS and ask.kind is AskKind.PERMISSION
        if always and answer.input is None and len(self._allowed) < MAX_OPEN:
            self._allowed.add(_sameness(ask))

    def _judged(self, ask: _Open, answer: PlanAnswer) -> JsonObject:
        if not answer.approve:
            return _deny(answer.feedback or _REJECTED)
        mode = answer.next_mode
        # An update like this is not held against the launch flags as set_permission_mode is.
        if mode is None or (mode is Mode.BYPASS and not self._allow_bypass):
            return _allow(ask.input)
        return _allow(ask.input, [set_mode(mode)])


def _decided(ask: _Open, answer: PermissionAnswer) -> JsonObject:
    if answer.decision is Verdict.DENY:
        return _deny(answer.message or _DENIED, stop=answer.stop)
    given = ask.input if answer.input is None else answer.input
    if answer.decision is Verdict.ALLOW_ALWAYS and ask.kind is AskKind.PERMISSION:
        return _allow(given, _rules(ask))
    return _allow(given)


def _told(ask: _Open, answer: QuestionAnswer) -> JsonObject:
    if answer.answers is None or ask.kind is not AskKind.QUESTION:
        return _deny(answer.message or _DECLINED)
    # Several labels travel as one string, as the agent's own terminal sends them.
    told: JsonObject = {
        question: said if isinstance(said, str) else ", ".join(said) for question, said in answer.answers.items()
    }
    return _allow({**ask.input, "answers": told})


def _sameness(ask: _Open) -> str:
    """Equal for requests that would do the same; the model words a command's description anew each time."""
    worded = {"description"} if ask.tool_name == "Bash" else set()
    done = {name: value for name, value in ask.input.items() if name not in worded}
    return hashlib.sha256(json.dumps([ask.tool_name, done], sort_keys=True).encode()).hexdigest()


def _rules(ask: _Open) -> list[JsonObject]:
    """What "always" means: the agent's own suggestions, kept for this session.

    Its suggested destination `localSettings` would write into the workspace, and `setMode` would
    allow more than what was asked.
    """
    kept = [
        {**suggestion, "destination": "session"}
        for suggestion in ask.suggestions
        if suggestion.get("type") in ("addRules", "addDirectories")
    ]
    if any(rule["type"] == "addRules" for rule in kept):
        return kept
    rule: JsonObject = {"toolName": ask.tool_name}
    command = frames.text(ask.input, "command")
    if command:
        # Without it the whole tool would be free, which for a shell is everything.
        rule["ruleContent"] = command
    return [*kept, {"type": "addRules", "rules": [rule], "behavior": "allow", "destination": "session"}]


def _allow(tool_input: JsonObject, updates: Sequence[JsonObject] = ()) -> JsonObject:
    response: JsonObject = {"behavior": "allow", "updatedInput": tool_input}
    if updates:
        response["updatedPermissions"] = list(updates)
    return response


def _deny(message: str, *, stop: bool = False) -> JsonObject:
    response: JsonObject = {"behavior": "deny", "message": message}
    if stop:
        response["interrupt"] = True
    return response


def denied(ref: str, message: str) -> list[Output]:
    """Deny a request that nobody could be shown: left alone, the agent would wait for ever."""
    return [frames.success(ref, _deny(message)), notice("ask_denied", message=message)]


def unreadable(line: str) -> list[Output]:
    """The answer to a tool request that cannot be shown, because the end of its line is missing or mangled."""
    head = line[:_HEAD_CHARS]
    request_id = _REQUEST_ID.search(head)
    if request_id is None or not _CONTROL_REQUEST.search(head) or not _CAN_USE_TOOL.search(head):
        return []
    return denied(request_id.group(1), "The request is too large to be shown to anybody. Use smaller steps.")


def _shown(kind: AskKind, request: JsonObject, plan: str) -> JsonObject:
    tool_input = frames.obj(request, "input")
    if kind is AskKind.PLAN:
        return {"plan": frames.text(tool_input, "plan") or plan}
    if kind is AskKind.QUESTION:
        return {"questions": _questions(tool_input)}
    suggestions: list[JsonValue] = [*frames.objects(request, "permission_suggestions")]
    return {
        "tool_name": frames.text(request, "tool_name"),
        "input": tool_input,
        **frames.present(
            description=frames.text(request, "description"),
            reason=frames.text(request, "decision_reason"),
            tool_call_id=frames.text(request, "tool_use_id"),
            suggestions=suggestions,
        ),
    }


def _questions(tool_input: JsonObject) -> list[JsonValue]:
    asked = [question for question in frames.objects(tool_input, "questions") if frames.text(question, "question")]
    return [
        {
            "question": frames.text(question, "question"),
            **frames.present(header=frames.text(question, "header")),
            "options": [_option(option) for option in frames.objects(question, "options")],
            "multi_select": question.get("multiSelect") is True,
        }
        for question in asked
    ]


def _option(option: JsonObject) -> JsonObject:
    shown: JsonObject = {"label": frames.text(option, "label")}
    return {**shown, **frames.present(description=frames.text(option, "description"))}
