"""Versions as programs print them: compared by their numbers, whatever stands around those."""

from __future__ import annotations

import re
from typing import Final

_NUMBERS: Final = re.compile(r"(?<![\w.])v?([0-9]{1,9}(?:\.[0-9]{1,9}){1,5})")


def numbers_of(text: str | None) -> tuple[int, ...] | None:
    """The first version in a text, as its numbers; None where there is none."""
    found = _NUMBERS.search(text or "")
    return None if found is None else tuple(int(part) for part in found[1].split("."))


def is_older(text: str | None, than: str | None) -> bool:
    """Whether a program that calls itself so is older than a version; not where either is unknown."""
    one, other = numbers_of(text), numbers_of(than)
    return one is not None and other is not None and one < other


def is_within(text: str | None, bounds: tuple[str, str] | None) -> bool | None:
    """Whether a program's version lies between two others, these included; None where that cannot be told."""
    one = numbers_of(text)
    if one is None or bounds is None:
        return None
    return not is_older(text, bounds[0]) and not is_older(bounds[1], text)
