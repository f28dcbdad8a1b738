"""Our modes in Claude Code's words, and back; and which mode a conversation is in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from shared.agents.claude import frames
from shared.agents.driver import ModeNow, Output
from shared.agents.notices import notice
from shared.domain.json import JsonObject
from shared.domain.session import Mode

CLAUDE_MODES: Mapping[Mode, str] = {
    Mode.INTERACTIVE: "default",
    Mode.ACCEPT_EDITS: "acceptEdits",
    Mode.PLAN: "plan",
    Mode.BYPASS: "bypassPermissions",
}
_OURS: Mapping[str, Mode] = {theirs: ours for ours, theirs in CLAUDE_MODES.items()}


def mode_of(claude_mode: str) -> Mode | None:
    """Our mode, or None for one of Claude Code's own (`auto`, `dontAsk`)."""
    return _OURS.get(claude_mode)


def set_mode(mode: Mode) -> JsonObject:
    """A permission update that changes the mode for this session alone."""
    return {"type": "setMode", "mode": CLAUDE_MODES[mode], "destination": "session"}


class ModeWatch:
    """The mode of one conversation: each change is told once, whichever frame brings it first."""

    def __init__(self, mode: Mode) -> None:
        self._mode = mode
        self._told = True

    def asked(self) -> None:
        """Somebody asked for a mode, and is to be told of it though nothing changes."""
        self._told = False

    def now(self, claude_mode: str) -> Sequence[Output]:
        """Claude Code says which mode it is in; its own modes are passed over."""
        mode = mode_of(claude_mode)
        if mode is None or mode is self._mode:
            return []
        self._mode, self._told = mode, True
        return [ModeNow(mode)]

    def answered(self, body: JsonObject, *, failed: bool, problem: str) -> Sequence[Output]:
        """The answer to what was asked; told once, where a status frame came first."""
        if failed:
            return [notice("mode_refused", message=frames.cut(problem, 2000)), ModeNow(self._mode)]
        changed = self.now(frames.text(body, "mode"))
        return changed if changed or self._told else [ModeNow(self._mode)]
