"""Fields of tools: those of the REST schemas under the names that MCP clients know, and a few of their own."""

from __future__ import annotations

import copy
from typing import Any

import marshmallow as ma
from marshmallow import fields

from api.schemas.fields import Text, View, text, whole

MAX_WAIT_MS = 120_000


def taken(schema: type[ma.Schema], name: str, key: str | None = None, **changes: Any) -> Any:
    """A field of a REST schema with all its checks, called `key` by clients; `changes` set attributes of it."""
    field = copy.deepcopy(schema().declared_fields[name])
    field.data_key = key or camel(name)
    for attribute, value in changes.items():
        setattr(field, attribute, value)
    if changes.get("required"):
        field.load_default = ma.missing
    return field


def ref(about: str, key: str, *, required: bool = True) -> Text:
    """The id of something. Whether it has an id's shape is seen where it is looked up."""
    if required:
        return text(about, max_length=80, data_key=key, required=True)
    return text(about, max_length=80, data_key=key, load_default=None, allow_none=True)


def session_ref() -> Text:
    """The session a tool is about."""
    return ref("The session, `ses_…`.", "sessionId")


def wait_ms(about: str, *, default: int) -> Any:
    """How long a tool may take."""
    return whole(about, at_least=0, at_most=MAX_WAIT_MS, load_default=default)


def camelled(view: type[ma.Schema], **renamed: str) -> type[View]:
    """A REST view whose fields go out in camelCase, as MCP clients of both seeds know them; `renamed` by old name."""
    made: dict[str, Any] = {"__doc__": view.__doc__}
    for name, declared in view().declared_fields.items():
        field = copy.deepcopy(declared)
        if isinstance(field, fields.Nested):
            nested: Any = field.nested
            field = fields.Nested(
                camelled(nested), required=True, allow_none=field.allow_none, metadata=dict(field.metadata)
            )
        field.data_key = renamed.get(name, camel(name))
        made[name] = field
    return type(f"{view.__name__}InCamel", (View,), made)


def camel(name: str) -> str:
    """`turn_id` as `turnId`."""
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
