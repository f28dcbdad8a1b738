"""The JSON Schema of what a tool takes and gives, drawn from the marshmallow schema that checks it."""

from __future__ import annotations

from typing import Any

import marshmallow as ma
from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin

from api.schemas.fields import describe_variant


def taken_schema(schema: type[ma.Schema]) -> dict[str, Any]:
    """What a tool takes: an unknown argument is an error."""
    return _whole(schema)


def given_schema(schema: type[ma.Schema]) -> dict[str, Any]:
    """What a tool gives. Fields may be added later, so a client must not refuse what it does not know."""
    opened: dict[str, Any] = _opened(_whole(schema))
    return opened


def _whole(schema: type[ma.Schema]) -> dict[str, Any]:
    # Nothing is referred to: some clients follow no `$ref`.
    plugin = MarshmallowPlugin(schema_name_resolver=lambda _: "")
    APISpec("tools", "1", "3.1.0", plugins=[plugin])
    converter: Any = plugin.converter
    converter.add_attribute_function(describe_variant)
    found = {"type": "object", "properties": {}, **converter.schema2jsonschema(schema())}
    _bound_objects(found)
    return found


def _bound_objects(schema: Any) -> None:
    """Mend what apispec does: it bounds an object as if it were a text."""
    for below in schema.values() if isinstance(schema, dict) else schema:
        if isinstance(below, dict | list):
            _bound_objects(below)
    if isinstance(schema, dict) and schema.get("type") == "object" and "maxLength" in schema:
        schema["maxProperties"] = schema.pop("maxLength")


def _opened(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_opened(below) for below in schema]
    if isinstance(schema, dict):
        closed = "additionalProperties"
        return {name: _opened(below) for name, below in schema.items() if (name, below) != (closed, False)}
    return schema
