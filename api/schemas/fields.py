"""Fields that the schemas share: texts every database can hold, ids, moments; each says what it means."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

import marshmallow as ma
from marshmallow import fields, validate

from shared.domain import clock

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_CONTROL = re.compile("[\x00-\x1f\x7f]")
MAX_SEQ = 2**53 - 1
"""Largest sequence number JavaScript can hold; ours never come near."""


class Request(ma.Schema):
    """What a caller sends: an unknown field is an error, so that a misspelt one is never silently ignored."""

    class Meta:
        """Strict."""

        unknown = ma.RAISE


def shown_as(schema: type[ma.Schema], value: object) -> dict[str, Any]:
    """What of `value` leaves by `schema`."""
    dumped: dict[str, Any] = _made(schema).dump(value)
    return dumped


def name_of(schema: type[ma.Schema] | None) -> str | None:
    """What marshmallow's registry finds `schema` by, for the API's document.

    flask-smorest copies what it knows of a route again for each further response, with every field of every schema; a
    name is copied in no time.
    """
    return None if schema is None else f"{schema.__module__}.{schema.__qualname__}"


@functools.cache
def _made(schema: type[ma.Schema]) -> ma.Schema:
    # Making one copies all its fields, a third of a request's time; dumping changes nothing in it.
    return schema()


class NoQuery(Request):
    """No query parameters."""


class AnyQuery(ma.Schema):
    """Whatever others hang behind an address that people pass on; nobody reads it."""

    class Meta:
        """Lenient."""

        unknown = ma.EXCLUDE


class View(ma.Schema):
    """What a caller gets. Fields may be added later."""


class Text(fields.String):
    """Text that every database can hold: no NUL, no half of a surrogate pair."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Any:
        text = super()._deserialize(value, attr, data, **kwargs)
        if _UNSTORABLE.search(text):
            raise ma.ValidationError("Must not contain NUL characters or lone surrogates.")
        return text


class Number(fields.Float):
    """A finite number; `true` and texts are none."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Any:
        if isinstance(value, bool | str):
            raise ma.ValidationError("Not a valid number.")
        return super()._deserialize(value, attr, data, **kwargs)


class Seconds(fields.Float):
    """A finite number from a query, where everything is text."""

    def _validated(self, value: Any) -> float:
        number = super()._validated(value)
        if math.isnan(number):
            raise ma.ValidationError("Not a valid number.")
        return number


class Whole(fields.Integer):
    """A whole number; `true`, `1.5` and, in a body, `"1"` are none."""

    def __init__(self, *, textual: bool = False, **kwargs: Any) -> None:
        super().__init__(strict=True, **kwargs)
        self._textual = textual

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Any:
        plain = isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}", value) is not None
        if isinstance(value, bool) or (isinstance(value, str) and not (self._textual and plain)):
            raise ma.ValidationError("Not a valid integer.")
        return super()._deserialize(int(value) if plain else value, attr, data, **kwargs)


def text(about: str, *, max_length: int, min_length: int = 1, **more: Any) -> Text:
    """A text a caller writes."""
    return Text(validate=_all(validate.Length(min_length, max_length), more), metadata=_meta(about, more), **more)


def line(about: str, *, max_length: int, **more: Any) -> Text:
    """A text of one line: a name, a title."""
    no_control = validate.Predicate("isprintable", error="Must be one line without control characters.")
    return Text(validate=[*_all(validate.Length(1, max_length), more), no_control], metadata=_meta(about, more), **more)


def choice(about: str, values: type[StrEnum], **more: Any) -> Text:
    """One word of an enumeration."""
    return Text(validate=validate.OneOf([one.value for one in values]), metadata=_meta(about, more), **more)


def number(about: str, *, at_least: float, at_most: float, above: bool = False, **more: Any) -> Number:
    """A number of a body within bounds."""
    bounds = validate.Range(min=at_least, max=at_most, min_inclusive=not above)
    return Number(validate=bounds, metadata=_meta(about, more), **more)


def whole(about: str, *, at_least: int, at_most: int, **more: Any) -> Whole:
    """A whole number within bounds."""
    return Whole(validate=validate.Range(min=at_least, max=at_most), metadata=_meta(about, more), **more)


def counted(about: str, *, at_least: int, at_most: int, default: int | None) -> Whole:
    """A whole number of a query within bounds."""
    bounds = validate.Range(at_least, at_most)
    return Whole(textual=True, load_default=default, validate=bounds, metadata={"description": about})


def switch(about: str) -> fields.Boolean:
    """Yes or no in a query; absent is no."""
    return fields.Boolean(
        truthy={"true", "1"}, falsy={"false", "0"}, load_default=False, metadata={"description": about}
    )


def flag(about: str, **more: Any) -> fields.Boolean:
    """Yes or no."""
    return fields.Boolean(truthy={True}, falsy={False}, metadata=_meta(about, more), **more)


def mapping(about: str, *, max_keys: int, max_value: int, key: str = r"[^\x00-\x1f]{1,64}", **more: Any) -> fields.Dict:
    """Texts by name."""
    return fields.Dict(
        keys=Text(validate=validate.Regexp(f"^{key}\\Z", error="Not a valid name.")),
        values=Text(validate=validate.Length(0, max_value)),
        validate=validate.Length(max=max_keys),
        metadata=_meta(about, more),
        **more,
    )


def anything(about: str, **more: Any) -> fields.Dict:
    """An object whose form somebody else checks."""
    return fields.Dict(keys=Text(), metadata=_meta(about, more), **more)


def shown(field: type[fields.Field[Any]], about: str, **more: Any) -> fields.Field[Any]:
    """A field of a reply that is always there; `maybe=True`: it may be null."""
    return field(required=True, allow_none=more.pop("maybe", False), metadata=_meta(about, more), **more)


def moment(about: str, **more: Any) -> fields.Field[Any]:
    """A time of a reply, RFC 3339 UTC."""
    return shown(Moment, about, **more)


class Moment(fields.DateTime):
    """RFC 3339 both ways; a time without offset is refused."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        return None if value is None else clock.to_text(value)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Any:
        try:
            return clock.from_text(value)
        except (TypeError, ValueError, OverflowError) as problem:
            raise ma.ValidationError("Not a valid time; write it as 2026-01-31T12:00:00Z.") from problem


class Words(fields.Field[list[str]]):
    """A query parameter that may be repeated or hold several words with commas between them."""

    def __init__(self, *, words: Iterable[str] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._words = frozenset(words)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> list[str]:
        found = [word.strip() for word in str(value).split(",") if word.strip()]
        unknown = [word for word in found if word not in self._words]
        if unknown or not found:
            raise ma.ValidationError(f"Must be one or more of: {', '.join(sorted(self._words))}.")
        return found


class Variant(fields.Field[dict[str, Any]]):
    """An object of one of several forms; its `kind` tells which."""

    def __init__(self, *variants: type[ma.Schema], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.variants = variants
        self._by_kind = {_kind_of(variant): variant() for variant in variants}

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ma.ValidationError("Not an object.")
        kind = value.get("kind")
        schema = self._by_kind.get(kind) if isinstance(kind, str) else None
        if schema is None:
            raise ma.ValidationError({"kind": [f"Must be one of: {', '.join(self._by_kind)}."]})
        loaded: dict[str, Any] = schema.load(value)
        return loaded


def _kind_of(variant: type[ma.Schema]) -> str:
    (check,) = variant().fields["kind"].validators
    return str(getattr(check, "comparable", ""))


def describe_variant(converter: Any, field: fields.Field[Any], **_: Any) -> dict[str, Any]:
    """How the OpenAPI document shows a `Variant`; for apispec's converter of fields."""
    if not isinstance(field, Variant):
        return {}
    return {"oneOf": [converter.resolve_nested_schema(variant) for variant in field.variants]}


def words(about: str, values: type[StrEnum]) -> Words:
    """Several words of an enumeration, with commas between them."""
    known = [one.value for one in values]
    return Words(words=known, load_default=(), metadata={"description": f"{about} Several with commas: {known}."})


def _all(check: validate.Validator, more: dict[str, Any]) -> list[validate.Validator]:
    # A list rather than And(): the documentation shows each bound.
    also = more.pop("validate", None)
    return [check] if also is None else [check, also]


def _meta(about: str, more: dict[str, Any]) -> dict[str, Any]:
    return {"description": about, **more.pop("metadata", {})}
