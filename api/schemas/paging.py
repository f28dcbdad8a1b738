"""Query and reply of every list."""

from __future__ import annotations

from marshmallow import fields, validate

from api.paging import DEFAULT_LIMIT, MAX_LIMIT
from api.schemas.fields import MAX_SEQ, Request, Seconds, Text, View, counted


class PageQuery(Request):
    """Which page."""

    limit = counted("Most entries on the page.", at_least=1, at_most=MAX_LIMIT, default=DEFAULT_LIMIT)
    cursor = Text(
        load_default=None,
        validate=validate.Length(1, 200),
        metadata={"description": "`next_cursor` of the page before."},
    )


class LogQuery(Request):
    """Which part of a log, oldest first."""

    limit = counted("Most entries on the page.", at_least=1, at_most=MAX_LIMIT, default=DEFAULT_LIMIT)
    after = counted("Only what has a greater `seq`.", at_least=0, at_most=MAX_SEQ, default=None)
    cursor = counted(
        "`next_cursor` of the page before; the same as `after`.", at_least=0, at_most=MAX_SEQ, default=None
    )


class WaitQuery(Request):
    """How long the answer may take."""

    wait_s = Seconds(
        load_default=0.0,
        validate=validate.Range(0, 60),
        metadata={"description": "Wait up to this many seconds for something to tell, then answer anyway."},
    )


def list_of(entry: type[View], name: str) -> type[View]:
    """The reply schema of a list of `entry`."""
    attributes = {
        "__doc__": f"A page of {name}.",
        "data": fields.List(
            fields.Nested(entry), required=True, metadata={"description": "The entries, in the order of the list."}
        ),
        "next_cursor": fields.String(
            required=True,
            allow_none=True,
            metadata={"description": "Pass as `cursor` for the next page; null: nothing follows."},
        ),
    }
    made: type[View] = type(f"{entry.__name__}Page", (View,), attributes)
    return made
