"""Lines an agent never printed but might: recorded ones, changed in shape, in letters or in length."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Sequence
from typing import Any

ODD_VALUES: Sequence[Any] = (
    None, True, False, 0, -1, 2**63, -(2**70), 1.5, float("inf"), float("nan"), "", "text", "\x00", "\ud800", "𝄞",
    "x" * 3000, [], {}, [None], [[]], {"": None}, {"type": "result"}, "control_request", "tool_result",
)  # fmt: skip
ODD_LINES: Sequence[str] = (
    "", " ", "\x00", "null", "[]", "{}", "0", '"text"', "NaN", "{", "[" * 3000, '{"a":' * 1500 + "1" + "}" * 1500,
    '{"type":' + "[" * 900 + "]" * 900 + "}", "9" * 5000, "\\xff\\xfe", "\ud800", "{}{}", '{"type":"\\u0000"}',
    '{"type":"\\ud800"}', '{"type":1e400}',
)  # fmt: skip


def deep(levels: int) -> Any:
    """JSON nested this deep, dictionaries and lists in turn."""
    value: Any = 1
    for level in range(levels):
        value = [value] if level % 2 else {"in": value}
    return value


def mutate(chance: random.Random, corpus: Sequence[str]) -> str:
    """One line: often nearly a recorded one, sometimes nothing of the kind."""
    line = chance.choice(corpus)
    match chance.randrange(8):
        case 0:
            return line
        case 1:
            return chance.choice(ODD_LINES)
        case 2:
            return _spoil_letters(chance, line)
        case 3:
            return line[: chance.randrange(len(line) + 1)]
        case _:
            return _reshape(chance, line, corpus)


def _spoil_letters(chance: random.Random, line: str) -> str:
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(line) + 1)
        line = line[:at] + chance.choice('"{}[]:,\\ \x00x0') + line[at + chance.randrange(2) :]
    return line


def _reshape(chance: random.Random, line: str, corpus: Sequence[str]) -> str:
    try:
        value = json.loads(line)
        other = json.loads(chance.choice(corpus))
        for _ in range(chance.randint(1, 3)):
            _change_somewhere(chance, value, copy.deepcopy(other))
        return json.dumps(value)
    except (ValueError, RecursionError):  # what one Python can still parse it cannot always copy
        return line


def _change_somewhere(chance: random.Random, value: Any, other: Any) -> None:
    while isinstance(value, dict | list) and value:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        key = chance.choice(keys)
        if isinstance(value[key], dict | list) and chance.random() < 0.7:
            value = value[key]
            continue
        _change(chance, value, key, other)
        return


def _change(chance: random.Random, value: Any, key: Any, other: Any) -> None:
    match chance.randrange(5):
        case 0:
            del value[key]
        case 1 if isinstance(other, dict) and isinstance(value, dict):
            value.update(other)
        case 2:
            value[key] = deep(chance.choice([3, 70, 200, 400]))
        case 3:
            value[key] = other
        case _:
            value[key] = copy.deepcopy(chance.choice(ODD_VALUES))
