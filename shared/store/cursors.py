"""Pages of a list, newest first: an opaque cursor names the last row of the page before."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from shared.domain.errors import InvalidField
from shared.store.database import Connection

_SHAPE = re.compile(r"(?P<at>[0-9:.T+-]{20,40}) (?P<id>[0-9a-z_]{1,80})")

Row = sa.Row[*tuple[Any, ...]]


def encode(created_at: datetime, id: str) -> str:
    """The cursor behind the row `id`, made at `created_at`."""
    # isoformat, not the wire's text: cut to milliseconds it would skip rows of the same millisecond.
    text = f"{created_at.isoformat(timespec='microseconds')} {id}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(cursor: str) -> tuple[datetime, str]:
    """What `encode` was given.

    Raises:
        InvalidField: it is not one of our cursors.
    """
    try:
        text = base64.urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)).decode()
        match = _SHAPE.fullmatch(text)
        at = datetime.fromisoformat(match["at"]) if match else None
    except (ValueError, binascii.Error):
        match = at = None
    if match is None or at is None or at.tzinfo is None:
        raise _no_cursor()
    return at, match["id"]


def encode_text(text: str) -> str:
    """The cursor behind a group that is called `text`."""
    return base64.urlsafe_b64encode(f"={text}".encode()).decode().rstrip("=")


def decode_text(cursor: str) -> str:
    """What `encode_text` was given.

    Raises:
        InvalidField: it is not one of our cursors.
    """
    try:
        text = base64.urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)).decode()
    except (ValueError, binascii.Error):
        text = ""
    if not text.startswith("=") or "\x00" in text:
        raise _no_cursor()
    return text.removeprefix("=")


def _no_cursor() -> InvalidField:
    return InvalidField("cursor", "is not a cursor of this list; take next_cursor of the page before.")


def fetch_page(
    connection: Connection, statement: sa.Select[*tuple[Any, ...]], table: sa.Table, *, cursor: str | None, limit: int
) -> tuple[Sequence[Row], str | None]:
    """Up to `limit` rows of `statement` by (created_at, id) of `table`, newest first, and the next page's cursor.

    Rows made while a caller pages come before its first page, so it sees each row at most once.

    Raises:
        InvalidField: `cursor` is not one of ours.
    """
    order = (table.c.created_at, table.c.id)
    if cursor is not None:
        at, last_id = decode(cursor)
        behind = sa.tuple_(sa.literal(at, table.c.created_at.type), sa.literal(last_id, sa.Text()))
        statement = statement.where(sa.tuple_(*order) < behind)
    rows = connection.execute(statement.order_by(*(column.desc() for column in order)).limit(limit + 1)).all()
    if len(rows) <= limit:
        return rows, None
    last = rows[limit - 1]
    return rows[:limit], encode(last.created_at, last.id)
