"""Notices of this driver: what an agent says in them may be of any length."""

from __future__ import annotations

from shared.agents import jsonlines, notices
from shared.agents.driver import Emit
from shared.domain.json import JsonValue

MAX_TEXT_CHARS = 2000


def notice(kind: str, **fields: JsonValue) -> Emit:
    """A `notice` event; fields that say nothing are left out, texts are cut."""
    kept = {
        name: jsonlines.cut(value, MAX_TEXT_CHARS) if isinstance(value, str) else value
        for name, value in fields.items()
    }
    return notices.notice(kind, **kept)
