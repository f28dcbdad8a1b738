"""The one table from errors to status numbers, and how an error looks on the wire (RFC 9457).

Never a stack trace, a path of this machine, or HTML.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

from shared.domain import errors, errors_mcp
from shared.domain.json import JsonObject, JsonValue

MEDIA_TYPE = "application/problem+json"

STATUS: Mapping[type[errors.CorralError], int] = {
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.Refused: 422,
    errors.Unavailable: 503,
    errors.Forbidden: 403,
    errors.Unauthenticated: 401,
    errors.HistoryRemoved: 410,
    errors.RateLimited: 429,
    errors_mcp.ForeignHost: 421,
}
"""A class that is not listed has the status of its nearest listed ancestor."""

HTTP_CODES: Mapping[int, str] = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    413: "body_too_large",
    415: "unsupported_media_type",
    422: "invalid_request",
    500: "internal_error",
}
"""Codes of problems that are found before an operation is asked."""

RETRY_AFTER_S = 2
"""What a 503 asks for where the error does not say more."""


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """What is wrong with one field; `field` is its path, as in `limits.idle_s` or `items[3].text`."""

    field: str
    message: str


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem document, before it has a request id."""

    status: int
    code: str
    detail: str
    details: JsonObject = field(default_factory=dict)
    """Facts of the error (`actual`, `first_seq`, `answered_by`, …)."""
    errors: Sequence[FieldProblem] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self, request_id: str) -> bytes:
        """The JSON text of this problem for one request."""
        document: JsonObject = {
            "type": f"/docs#{self.code}",
            "title": self.code.replace("_", " ").capitalize(),
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "request_id": request_id,
        }
        if self.errors:
            document["errors"] = [{"field": one.field, "message": one.message} for one in self.errors]
        if self.details:
            document["details"] = self.details
        return json.dumps(document).encode()


def status_of(kind: type[errors.CorralError]) -> int:
    """The status number of an error class; 500 for one outside every family."""
    return next((STATUS[ancestor] for ancestor in kind.__mro__ if ancestor in STATUS), 500)


def from_error(error: errors.CorralError) -> Problem:
    """How a caller is told about a domain error."""
    status = status_of(type(error))
    details: JsonObject = dict(error.facts)
    fields: Sequence[FieldProblem] = ()
    if isinstance(error, errors.InvalidField):
        fields = [FieldProblem(str(details.pop("field")), str(details.pop("problem")))]
    return Problem(status, error.code, error.message, details, fields, _headers(status, details))


def from_status(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Problem:
    """A problem of HTTP itself: no such path, wrong method, body too large."""
    code = HTTP_CODES.get(status) or HTTPStatus(status).phrase.lower().replace(" ", "_").replace("-", "_")
    return Problem(status, code, detail, headers={**_headers(status, {}), **(headers or {})})


def from_fields(messages: object) -> Problem:
    """A request whose fields failed validation; `messages` is marshmallow's tree, the location on top."""
    found = list(_flatten(messages, ()))
    shown = "; ".join(f"{one.field}: {one.message}" for one in found[:5])
    return Problem(422, HTTP_CODES[422], shown or "The request is invalid.", errors=found)


def _flatten(tree: object, path: tuple[str, ...]) -> Iterable[FieldProblem]:
    match tree:
        case dict():
            for name, below in tree.items():
                yield from _flatten(below, path if name == "_schema" else _below(path, name))
        case list():
            for message in tree:
                yield from _flatten(message, path)
        case _:
            # The first part is where the value came from (json, query), which a caller does not write.
            yield FieldProblem(".".join(path[1:]) or (path[0] if path else "body"), str(tree))


def _below(path: tuple[str, ...], name: object) -> tuple[str, ...]:
    """The path of a field; entries of a list are named as in `items[3].text`."""
    if isinstance(name, int) and path:
        return (*path[:-1], f"{path[-1]}[{name}]")
    return (*path, str(name))


def _headers(status: int, details: Mapping[str, JsonValue]) -> Mapping[str, str]:
    if status == 401:
        return {"WWW-Authenticate": 'Bearer realm="corral"'}
    if status not in {429, 503}:
        return {}
    wished = details.get("retry_after_s")
    after_s = max(1, round(wished)) if isinstance(wished, int | float) else RETRY_AFTER_S
    used_up = {"RateLimit": f'"key";r=0;t={after_s}'} if status == 429 else {}
    return {"Retry-After": str(after_s), **used_up}
