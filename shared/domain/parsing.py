"""Reads values out of the texts operators write into settings. Each raises ValueError that says what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

LONGEST_S: Final = 1e9
"""About thirty years: a moment that lies so many seconds ahead is still one a calendar knows."""


class OutOfBounds(ValueError):
    """It is what it should be, and too little or too much."""


def url(*beginnings: str) -> Callable[[str], str]:
    """Reads a URL that begins in one of these ways."""

    def parse(value: str) -> str:
        if not value.startswith(beginnings):
            msg = f"it must begin with {' or '.join(beginnings)}"
            raise ValueError(msg)
        return value

    return parse


def port(value: str) -> int:
    """A port, 0 included: it stands for a free one."""
    if not 0 <= (port := int(value)) <= 65535:
        msg = "a port is between 0 and 65535"
        raise OutOfBounds(msg)
    return port


def count(value: str) -> int:
    """A whole number, 1 or more."""
    return _at_least(1, int(value))


def count_or_none(value: str) -> int:
    """A whole number, 0 or more."""
    return _at_least(0, int(value))


def maybe_count(value: str) -> int | None:
    """A whole number, 1 or more; an empty text is None."""
    return count(value) if value else None


def _at_least(least: int, number: int) -> int:
    if number < least:
        msg = f"it must be at least {least}"
        raise OutOfBounds(msg)
    return number


def above_zero(value: str) -> float:
    """A number above 0 that is not beyond all use."""
    return _above_zero(float(value), LONGEST_S)


def days(value: str) -> float:
    """Days above 0; a century is enough."""
    return _above_zero(float(value), 36500)


def _above_zero(number: float, most: float) -> float:
    # What is not a number at all compares false.
    if not 0 < number <= most:
        msg = f"it must be above 0 and at most {most:g}"
        raise OutOfBounds(msg)
    return number


def maybe_above_zero(value: str) -> float | None:
    """The same; an empty text is None."""
    return above_zero(value) if value else None


def pause(value: str) -> float:
    """Seconds, none included."""
    if not 0 <= (number := float(value)) <= LONGEST_S:
        msg = f"it must be 0 or more and at most {LONGEST_S:g}"
        raise OutOfBounds(msg)
    return number


def pauses(value: str) -> tuple[str, ...]:
    """Seconds between commas; as texts."""
    parts = texts(value)
    for part in parts:
        pause(part)
    return parts


def flag(value: str) -> bool:
    """Yes or no, as people write it. Empty is no."""
    lowered = value.strip().lower()
    if lowered in {"1", "true", "yes", "on"}:
        return True
    if lowered in {"0", "false", "no", "off", ""}:
        return False
    msg = "it must be one of 1, 0, true, false, yes, no, on, off"
    raise ValueError(msg)


def one_of(*words: str) -> Callable[[str], str]:
    """Reads one of these words, in whatever case."""

    def parse(value: str) -> str:
        if value.lower() not in words:
            msg = f"it must be one of {', '.join(words)}"
            raise ValueError(msg)
        return value.lower()

    return parse


def texts(value: str) -> tuple[str, ...]:
    """Parts between commas, without the space around them; empty ones are left out."""
    return tuple(part.strip() for part in value.split(",") if part.strip())


def assignments(text: str) -> dict[str, str]:
    """`NAME=value` lines; quotes around a value are taken off, `#` lines are comments."""
    values: dict[str, str] = {}
    for line in text.splitlines():
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        if equals and name and not name.startswith("#"):
            values[name.strip()] = value.strip().strip("'\"")
    return values
