"""Makes a recording fit to be kept: nothing of the machine it was made on, and no text longer than it must be."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

MAX_CHARS = 300
CUT = "…[cut]"
_NAMES = frozenset({"serverName", "installationId", "hostname"})
"""Fields that name a machine."""


def trimmed(steps: Sequence[Any], names: Mapping[str, str]) -> list[Any]:
    """The steps of a recording; `names` says what paths of the machine are called instead."""
    return [_step(step, names) for step in steps]


def _step(step: Any, names: Mapping[str, str]) -> Any:
    if "line" in step:
        return {**step, "line": _line(step["line"], names)}
    return json.loads(_renamed(json.dumps(step), names))


def _line(line: str, names: Mapping[str, str]) -> str:
    line = _renamed(line, names)
    try:
        return json.dumps(_value(json.loads(line)), separators=(",", ":"))
    except ValueError:
        return line


def _renamed(text: str, names: Mapping[str, str]) -> str:
    for path, name in names.items():
        text = text.replace(path, name)
    return text


def _value(value: Any) -> Any:
    match value:
        case dict():
            return {key: "host" if key in _NAMES else _value(item) for key, item in value.items()}
        case list():
            return [_value(item) for item in value]
        case str() if value.startswith("{") and value.endswith("\n"):
            # A file of JSON lines that was read: of its beginning and its end each line is trimmed by itself.
            lines = value.split("\n")[:-1]
            return "".join(f"{_line(line, {})}\n" for line in [*lines[:2], *lines[2:][-2:]])
        case str() if len(value) > MAX_CHARS:
            return value[:MAX_CHARS] + CUT
    return value
