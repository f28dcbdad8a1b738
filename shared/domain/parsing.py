"""Reads values out of the texts operators write into settings. Each raises ValueError that says what is wrong."""

from __future__ import annotations

from collections.abc import Callable


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
        raise ValueError(msg)
    return port


def maybe_number(value: str) -> float | None:
    """A number; an empty text is None."""
    return float(value) if value else None


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
