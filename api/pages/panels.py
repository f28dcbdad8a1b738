"""What a tool is to be allowed with, as panels: a command, a change as a diff, and the rest as it is."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Sequence
from typing import Final

from api.pages.page import Line, Panel, visible
from shared.domain.json import JsonObject, JsonValue

MOST: Final = 256 * 1024
"""Characters of one ask a page shows. What is longer cannot be allowed there: nobody would have seen it."""

_SHORT: Final = 100
_DIFFERED: Final = 2000
"""Lines of a text that is compared with another; the comparison of longer ones takes seconds."""
_WORDS: Final = {"command": "Command", "file_path": "File", "path": "Path", "content": "Content", "text": "Text"}
_CHANGES: Final = (("old_string", "new_string"), ("old_text", "new_text"), ("old", "new"))
"""Names agents give to the two sides of a change."""
_DIFFS: Final = frozenset({"diff", "patch", "unified_diff"})

Fact = tuple[str, str]


def size_of(data: JsonObject) -> int:
    """Characters it takes to show an ask."""
    return len(json.dumps(data, ensure_ascii=False))


def text_panel(title: str, text: str) -> Panel:
    """A text, line by line; the end of its last line is not one more."""
    return Panel(visible(title), [Line(visible(line)) for line in text.removesuffix("\n").split("\n")])


def facts_and_panels(given: JsonObject) -> tuple[list[Fact], list[Panel]]:
    """A tool's input: short values as facts, long ones and changes as panels. Nothing is left out."""
    facts: list[Fact] = []
    panels: list[Panel] = []
    rest = dict(given)
    for before, after in _CHANGES:
        old, new = rest.get(before), rest.get(after)
        if isinstance(old, str) and isinstance(new, str):
            del rest[before], rest[after]
            panels.append(Panel("Change", list(_compared(old, new))))
    for name, value in rest.items():
        if _is_short(name, value):
            facts.append((_title(name), visible(_text(value))))
        elif name in _DIFFS and isinstance(value, str):
            panels.append(Panel(_title(name), [_marked(line) for line in value.split("\n")]))
        else:
            panels.append(text_panel(_title(name), _text(value)))
    return facts, panels


def _is_short(name: str, value: JsonValue) -> bool:
    if name == "command" or isinstance(value, dict | list):
        return False
    return not isinstance(value, str) or (len(value) <= _SHORT and "\n" not in value)


def _title(name: str) -> str:
    return _WORDS.get(name) or visible(name)


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)


def _compared(old: str, new: str) -> Iterable[Line]:
    before, after = old.split("\n"), new.split("\n")
    if max(len(before), len(after)) > _DIFFERED:
        found: Sequence[str] = [*(f"-{line}" for line in before), *(f"+{line}" for line in after)]
    else:
        # The whole of both sides: what stays is what the change stands in.
        found = list(difflib.unified_diff(before, after, lineterm="", n=_DIFFERED))[3:]
    return [_marked(line) for line in found or [f" {line}" for line in before]]


def _marked(line: str) -> Line:
    mark = {"+": "add", "-": "cut", "@": "at"}.get(line[:1], "")
    return Line(visible(line), mark)
