"""One JSON object a line: read without ever failing, written so that nothing can break the line.

A reader here never raises: a value of the wrong type reads as the empty one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

from shared.agents.driver import Send
from shared.domain.json import JsonObject, JsonValue

MAX_DEPTH = 100
"""Frames nested deeper are refused: whoever renders them later recurses."""
_BRACKETS_OF_A_FLAT_FRAME = 64


def parse(line: str) -> JsonObject | None:
    """The frame in `line`, or None where it holds no JSON object of a sane depth."""
    try:
        frame = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(frame, dict) or _is_deep(line, frame):
        return None
    return frame


def _is_deep(line: str, frame: JsonObject) -> bool:
    # Most frames are a delta of some eighty characters: counting brackets spares them the walk.
    if line.count("{") + line.count("[") <= _BRACKETS_OF_A_FLAT_FRAME:
        return False
    level: list[JsonValue] = [frame]
    for _ in range(MAX_DEPTH):
        level = [inner for value in level for inner in _inside(value)]
        if not level:
            return False
    return True


def _inside(value: JsonValue) -> Iterator[JsonValue]:
    if isinstance(value, dict):
        yield from (item for item in value.values() if isinstance(item, dict | list))
    elif isinstance(value, list):
        yield from (item for item in value if isinstance(item, dict | list))


def text(frame: JsonObject, key: str) -> str:
    """The string at `key`, else the empty one."""
    value = frame.get(key)
    return value if isinstance(value, str) else ""


def obj(frame: JsonObject, key: str) -> JsonObject:
    """The object at `key`, else an empty one."""
    value = frame.get(key)
    return value if isinstance(value, dict) else {}


def objects(frame: JsonObject, key: str) -> list[JsonObject]:
    """The objects in the list at `key`; members of another type are left out."""
    value = frame.get(key)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def strings(frame: JsonObject, key: str) -> list[str]:
    """The strings in the list at `key`; members of another type are left out."""
    value = frame.get(key)
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def number(frame: JsonObject, key: str) -> float | None:
    """The finite number at `key`, else None."""
    value = frame.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def count(frame: JsonObject, key: str) -> int:
    """The number at `key` as a count that every store can hold, else 0."""
    value = number(frame, key) or 0.0
    return int(min(max(value, 0.0), 2.0**53))


def cut(value: str, limit: int) -> str:
    """`value`, at most `limit` characters of it."""
    return value if len(value) <= limit else f"{value[: limit - 1]}…"


def present(**fields: JsonValue) -> JsonObject:
    """The fields that say something: None, empty strings and empty collections are left out."""
    return {key: value for key, value in fields.items() if value is not None and value not in ("", [], {})}


def line(frame: JsonObject) -> Send:
    """`frame` as one line for the agent. ASCII only, so that nothing a human types can break the line."""
    try:
        body = json.dumps(frame, separators=(",", ":"), allow_nan=False)
    except ValueError:
        # NaN is no JSON, and an agent may exit on a line that is none.
        body = json.dumps(_finite(frame), separators=(",", ":"))
    return Send(body.encode("ascii") + b"\n")


def _finite(value: JsonValue) -> JsonValue:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return value
