"""Our modes in Claude Code's words, and back."""

from __future__ import annotations

from collections.abc import Mapping

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
