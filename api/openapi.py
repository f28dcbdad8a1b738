"""The OpenAPI document: what flask-smorest gathered from the routes, and what only the shell serves."""

from __future__ import annotations

from typing import Any

from api.problems import HTTP_CODES, STATUS, status_of
from shared.domain import errors

_ABOUT = """Corral runs a fleet of coding agents behind one HTTP API.

Whatever an agent does becomes one ordered, durable log per session, read over REST, server-sent events and signed
webhooks. Errors are RFC 9457 problem details: decide by `code`. Lists give `{"data", "next_cursor"}`. Every POST
takes an `Idempotency-Key`. Unknown fields and query parameters are refused."""


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """The whole document, from the one that flask-smorest made of the Flask routes."""
    document["info"] |= {"description": _ABOUT}
    document["servers"] = [{"url": "/"}]
    document["security"] = [{"bearer": []}, {"key": []}]
    components = document.setdefault("components", {})
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, `crl_…`."},
        "hook": {"type": "http", "scheme": "bearer", "description": "A hook token, `crh_…`, of one external agent."},
        "key": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "The same key."},
    }
    # What flask-smorest describes as its own error form is never sent.
    components.pop("responses", None)
    for unused in ("Error", "PaginationMetadata"):
        components["schemas"].pop(unused, None)
    for schema in components["schemas"].values():
        _bound_objects(schema)
    for path, item in document["paths"].items():
        shared = item.pop("parameters", [])
        for operation in item.values():
            _complete_operation(path, shared, operation)
    _add_stream(document["paths"]["/v1/sessions/{session_id}/events"]["get"])
    document["x-problem-codes"] = problem_codes()
    return document


_INTERNAL = frozenset(
    {errors.NothingChanged, errors.WardenLost, errors.AgentNotReading, errors.AgentGone, errors.SpawnFailed}
    | {errors.VolumeUnusable, errors.WorkspaceUnusable}
)
"""Errors of workers: a caller meets them as the end of a turn or session, never as a problem."""


def problem_codes() -> dict[str, int]:
    """Every code a problem may carry, with its status."""
    found = {code: status for status, code in HTTP_CODES.items()}
    queue: list[type[errors.CorralError]] = [errors.CorralError]
    while queue:
        kind = queue.pop()
        queue += kind.__subclasses__()
        is_family = kind is errors.CorralError or (kind in STATUS and kind.__subclasses__())
        # The family Refused is raised by itself where there is nothing to add to its words.
        if (not is_family or kind is errors.Refused) and kind not in _INTERNAL:
            found.setdefault(kind.code, status_of(kind))
    return dict(sorted(found.items()))


def _complete_operation(path: str, shared: list[dict[str, Any]], operation: dict[str, Any]) -> None:
    operation["responses"].pop("default", None)
    parameters = [*shared, *operation.get("parameters", []), *operation.pop("x-headers", [])]
    if path == "/v1/sessions" and operation["operationId"] == "list_sessions":
        parameters = [_metadata() if one.get("name") == "metadata" else one for one in parameters]
    if parameters:
        operation["parameters"] = parameters
    operation["responses"] = dict(sorted(operation["responses"].items()))
    for status, response in operation["responses"].items():
        response.setdefault("headers", {})["X-Request-Id"] = _header("Name this when you ask for help.")
        if status in {"429", "503"}:
            response["headers"]["Retry-After"] = _header("Seconds to wait before the request is repeated.")


def _bound_objects(schema: dict[str, Any]) -> None:
    """Lengths of objects are numbers of properties, which apispec does not tell apart."""
    for field in schema.get("properties", {}).values():
        if field.get("type") == "object":
            for wrong, right in (("minLength", "minProperties"), ("maxLength", "maxProperties")):
                if wrong in field:
                    field[right] = field.pop(wrong)


def _metadata() -> dict[str, Any]:
    return {
        "in": "query",
        "name": "metadata",
        "description": "Only sessions with these texts, each as `metadata.<name>=<value>`.",
        "required": False,
        "schema": {"type": "object", "additionalProperties": {"type": "string"}},
    }


def _header(about: str) -> dict[str, Any]:
    return {"description": about, "schema": {"type": "string"}}


def _add_stream(operation: dict[str, Any]) -> None:
    operation["responses"]["200"]["content"]["text/event-stream"] = {
        "schema": {
            "type": "string",
            "description": "Frames `id: <seq>`, `event: <type>`, `data: <event>`; a comment every 15 quiet seconds.",
        }
    }
    operation["responses"]["503"]["description"] += "; `too_many_streams` (streams only)"
    operation["parameters"].append(
        {
            "in": "header",
            "name": "Last-Event-ID",
            "description": "Streams: begin behind this seq; stronger than `after`.",
            "required": False,
            "schema": {"type": "integer", "minimum": 0},
        }
    )
