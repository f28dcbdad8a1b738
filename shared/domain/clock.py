"""Time: aware UTC moments, and their one text form on the wire and in the log."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    """The present moment, aware, UTC."""
    return datetime.now(tz=UTC)


def to_text(moment: datetime) -> str:
    """RFC 3339 with milliseconds and `Z`, always 24 characters, so texts sort as times do."""
    utc = moment.astimezone(UTC)
    return f"{utc:%Y-%m-%dT%H:%M:%S}.{utc.microsecond // 1000:03d}Z"


def from_text(text: str) -> datetime:
    """The moment an RFC 3339 text names.

    Raises:
        ValueError: the text is not RFC 3339 or names no offset.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        msg = f"{text!r} names no UTC offset; write it as 2026-01-31T12:00:00Z"
        raise ValueError(msg)
    return moment.astimezone(UTC)
