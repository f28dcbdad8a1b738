"""`session/request_permission` as an ask, and answers as one of the options the agent offers.

ACP has options alone: a reason for a denial or a changed input cannot be said in it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from shared.agents import jsonlines
from shared.agents.acp.tools import Call, shown_input
from shared.domain.ask import Answer, AskKind, PermissionAnswer, PlanAnswer, Verdict
from shared.domain.json import JsonObject, JsonValue
from shared.domain.session import Mode

_CANCELLED: JsonObject = {"outcome": {"outcome": "cancelled"}}
_ONCE = ("allow_once", "allow_always")
_ALWAYS = ("allow_always", "allow_once")
_REJECT = ("reject_once", "reject_always")
_MODE_MARKS = {Mode.BYPASS: "bypass", Mode.ACCEPT_EDITS: "edit"}
"""What the id of an option says that leaves plan mode for another mode than the default one."""


@dataclass(frozen=True, slots=True)
class Permission:
    """The agent asks whether it may run a tool, or leave plan mode."""

    call: Call
    options: Sequence[JsonObject]
    plan: str = ""
    """The plan; set where the agent wants to leave plan mode."""

    @property
    def kind(self) -> AskKind:
        """A plan where the agent wants to leave plan mode."""
        return AskKind.PLAN if self.call.kind == "switch_mode" else AskKind.PERMISSION

    @property
    def data(self) -> JsonObject:
        """The tool and its input, or the plan."""
        if self.kind is AskKind.PLAN:
            return {"plan": self.plan}
        suggestions: list[JsonValue] = [
            {"name": jsonlines.text(option, "name"), "kind": "allow_always"}
            for option in self.options
            if option.get("kind") == "allow_always"
        ]
        return {
            "tool_name": self.call.name,
            "input": shown_input(self.call),
            **jsonlines.present(description=self.call.title, tool_call_id=self.call.id, suggestions=suggestions),
        }

    @property
    def sameness(self) -> str:
        """Equal for requests that would do the same."""
        done = json.dumps([self.call.name, shown_input(self.call)], sort_keys=True)
        return hashlib.sha256(done.encode("utf-8", "surrogatepass")).hexdigest()

    @property
    def offers_always(self) -> bool:
        """Whether the agent itself remembers an answer."""
        return any(option.get("kind") == "allow_always" for option in self.options)

    def edits_within(self, cwd: str) -> bool:
        """Whether this changes files, and none outside of the workspace."""
        named = [*self.call.locations, *self.call.content]
        paths = [jsonlines.text(item, "path") for item in named if jsonlines.text(item, "path")]
        return self.call.kind == "edit" and bool(paths) and all(_is_within(path, cwd) for path in paths)

    def answered(self, answer: Answer) -> JsonObject:
        """The option that says what the human said."""
        match answer:
            case PermissionAnswer(decision=Verdict.DENY):
                # With `stop` the turn is cancelled as well, and this is how the protocol wants it said then.
                return _CANCELLED if answer.stop else self._select(_REJECT)
            case PermissionAnswer(decision=decision):
                return self._select(_ALWAYS if decision is Verdict.ALLOW_ALWAYS else _ONCE)
            case PlanAnswer(approve=True, next_mode=mode):
                return self._leave_plan(mode)
            case _:
                return self._select(_REJECT)

    def allowed(self) -> JsonObject:
        """What says yes, this once."""
        return self._select(_ONCE)

    def cancelled(self) -> JsonObject:
        """Nobody will answer."""
        return _CANCELLED

    def _leave_plan(self, mode: Mode | None) -> JsonObject:
        mark = _MODE_MARKS.get(mode) if mode is not None else None
        for option in self.options:
            name = jsonlines.text(option, "optionId")
            if mark is not None and mark in name.lower() and option.get("kind") in _ONCE:
                return _selected(name)
        return self._select(_ONCE)

    def _select(self, kinds: Sequence[str]) -> JsonObject:
        for kind in kinds:
            for option in self.options:
                if option.get("kind") == kind and jsonlines.text(option, "optionId"):
                    return _selected(jsonlines.text(option, "optionId"))
        # An agent that offers no such option has left cancelling as the only way to refuse.
        return _CANCELLED


def _selected(option: str) -> JsonObject:
    return {"outcome": {"outcome": "selected", "optionId": option}}


def _is_within(path: str, cwd: str) -> bool:
    at = PurePosixPath(cwd, path)
    return ".." not in at.parts and at.is_relative_to(cwd)
