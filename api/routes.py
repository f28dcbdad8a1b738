"""How a route is declared: one place for authentication, limits, parsing, idempotency, waiting and documentation.

A resource says what it takes and gives; its function gets a `Call` and returns a `Reply`, and knows no Flask.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn, TypeVar

import flask
import marshmallow as ma
import redis
from flask_smorest import Blueprint
from webargs import missing
from webargs.flaskparser import FlaskParser, abort
from werkzeug.exceptions import UnsupportedMediaType

from api.auth import Keyring, demand, secret_of
from api.problems import MEDIA_TYPE
from api.ratelimit import Limiter
from api.schemas.fields import NoQuery, name_of, shown_as
from api.schemas.problem import Problem as ProblemSchema
from api.wire import AGAIN, UPLOAD, WAIT_HEADER, Upload, Waiting, scope_of
from shared.domain.errors import InvalidField, NotFound, Unauthenticated
from shared.domain.external import TOKEN_PREFIX, Reporter
from shared.domain.ids import KeyId, TenantId, is_id
from shared.domain.json import JsonObject
from shared.domain.tenant import Caller, Scope
from shared.operations import external
from shared.operations.context import Context
from shared.operations.transaction import Answer, Once, Replayed

Result = TypeVar("Result")
Value = TypeVar("Value")

EXTENSION = "corral"
NOBODY = Caller(TenantId(""), KeyId(""), "nobody", frozenset())
"""Stands for the caller of a route that asks for no key."""
IDEMPOTENCY_HEADER = "Idempotency-Key"
_KEY = re.compile(r'"?([\x21\x23-\x7e]{1,255})"?')


@dataclass(frozen=True, slots=True)
class Edge:
    """What the API process has beside the operations' context."""

    context: Context
    keyring: Keyring
    limiter: Limiter
    redis: redis.Redis
    link_limiter: Limiter
    """Counts what needs no key: visits of links."""
    public_url: str
    """Where callers reach the API, without a slash at its end."""
    metrics_open: bool = True
    """Whether /metrics asks for no key."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a route answers."""

    status: int
    content: str | bytes
    media_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Call:
    """One authenticated, parsed request."""

    edge: Edge
    caller: Caller
    path: Mapping[str, str]
    query: Mapping[str, Any]
    body: Mapping[str, Any]
    headers: Mapping[str, str]
    form: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Of a page: the fields of its form."""
    address: str = ""
    """Where the request came from, as far as it can be told."""
    upload: Upload | None = None
    _reporter: Reporter | None = None
    _key: str | None = None
    _route: str = ""
    _body_hash: str = ""

    @property
    def context(self) -> Context:
        """What operations are handed."""
        return self.edge.context

    @property
    def reporter(self) -> Reporter:
        """Who reports, on a route that only a hook token opens."""
        if self._reporter is None:
            raise Unauthenticated("This needs a hook token.")
        return self._reporter

    @property
    def idempotency_key(self) -> str | None:
        """The caller's own name for this request, where it gave one."""
        return self._key

    def id(self, name: str, prefix: str, kind: Callable[[str], Value]) -> Value:
        """The id in the path parameter `name`.

        Raises:
            NotFound: it has not the shape of such an id, so there can be none.
        """
        text = self.path[name]
        if not is_id(text, prefix):
            raise NotFound(name.removesuffix("_id"), text[:80])
        return kind(text)

    def once(self, reply: Callable[[Result], Reply]) -> Once[Result] | None:
        """The caller's `Idempotency-Key`, with the answer to keep; None where it sent none."""
        if self._key is None:
            return None

        def render(result: Result) -> Answer:
            made = reply(result)
            text = made.content if isinstance(made.content, str) else made.content.decode()
            return Answer(made.status, text, made.headers)

        return Once(self._route, self._key, self._body_hash, render)


@dataclass(frozen=True, slots=True)
class Shown:
    """One documented answer. `schema` None: no body, or one that is no JSON."""

    schema: type[ma.Schema] | None
    about: str
    media_type: str | None = None


Handler = Callable[[Call], Reply]


@dataclass(frozen=True, slots=True)
class Route:
    """Everything about a route but its function. `waits` reads what to wait for out of answer and query."""

    method: str
    path: str
    replies: Mapping[int, Shown]
    scope: Scope | None
    """What the key must hold; None: no key is asked for."""
    by_token: bool = False
    """Whether a hook token lets in too; with `scope` None, it alone does."""
    query: type[ma.Schema] = NoQuery
    body: type[ma.Schema] | None = None
    problems: Mapping[int, str] = field(default_factory=dict)
    waits: Callable[[JsonObject, Mapping[str, Any]], Waiting | None] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    """Request headers of this route, with what they mean."""
    is_page: bool = False
    """Whether people meet it: it answers with HTML and takes a form."""
    takes_file: bool = False
    """Whether its body is a file of any kind, which the shell gathers."""

    @property
    def is_repeatable(self) -> bool:
        """Whether an `Idempotency-Key` is taken."""
        return (self.method == "POST" and not self.is_page) or self.takes_file


class StrictParser(FlaskParser):
    """Parses bodies and queries; the schema alone decides what is unknown."""

    DEFAULT_UNKNOWN_BY_LOCATION = {}  # noqa: RUF012 - an attribute of the library's class

    def _raw_load_json(self, req: flask.Request) -> Any:
        raw = req.get_data()
        if not raw:
            return missing
        try:
            return json.loads(raw, parse_constant=_refuse_constant)
        except RecursionError:
            _malformed("Nested too deep.")
        except ValueError as problem:
            # A decoder's words name positions, never values of the body.
            _malformed(f"Not valid JSON: {problem}.")


class Routes:
    """The routes of one resource."""

    def __init__(self, name: str, about: str) -> None:
        self.blueprint = Blueprint(name, __name__, description=about)
        self.blueprint.ARGUMENTS_PARSER = StrictParser()

    def add(self, route: Route) -> Callable[[Handler], Handler]:
        """Register a function for `route`."""

        def decorator(handler: Handler) -> Handler:
            view = functools.partial(_answer, route, handler)
            functools.update_wrapper(view, handler)
            documented = self._documented(route, _named(view, handler))
            self.blueprint.add_url_rule(
                route.path, handler.__name__, _guarded(route, documented), methods=[route.method]
            )
            return handler

        return decorator

    def _documented(self, route: Route, view: Callable[..., Any]) -> Callable[..., Any]:
        if route.body is not None:
            required = any(one.required for one in route.body().fields.values())
            view = self.blueprint.arguments(route.body, location="json", arg_name="body", required=required)(view)
        view = self.blueprint.arguments(route.query, location="query", arg_name="query")(view)
        for status, shown in route.replies.items():
            view = self.blueprint.alt_response(
                status,
                schema=name_of(shown.schema),
                content_type=shown.media_type,
                description=shown.about,
                success=True,
            )(view)
        for status, about in problems_of(route).items():
            view = self.blueprint.alt_response(
                status, schema=name_of(ProblemSchema), content_type=MEDIA_TYPE, description=about
            )(view)
        documented: Callable[..., Any] = self.blueprint.doc(**_extras(route, view.__name__))(view)
        return documented


def tell(schema: type[ma.Schema], value: object, status: int = 200, **headers: str) -> Reply:
    """A JSON answer; only fields of `schema` leave. Underscores of header names become hyphens."""
    text = json.dumps(shown_as(schema, value), separators=(",", ":"))
    return Reply(status, text, headers={name.replace("_", "-"): text for name, text in headers.items()})


def problems_of(route: Route) -> Mapping[int, str]:
    """Every problem status of a route, with the codes it may carry."""
    if route.is_page:
        return {413: "`body_too_large`", 500: "`internal_error`"}
    found = {413: "`body_too_large`", 422: "`invalid_request`, `invalid_field`", 500: "`internal_error`"}
    if route.scope is not None or route.by_token:
        found |= {
            401: "`unauthenticated`",
            429: "`rate_limited`",
            503: "`database_unavailable`: nothing was changed; repeat the request",
        }
    if route.scope is not None:
        found[403] = f"`forbidden`: the key lacks the scope `{route.scope}`"
    if "<" in route.path:
        found[404] = "`not_found`: missing, or another tenant's"
    if route.body is not None:
        found |= {400: "`bad_request`: not valid JSON", 415: "`unsupported_media_type`: send JSON"}
        found[408] = "`request_timeout`: the body did not come in time"
    if route.is_repeatable:
        found[409] = "`idempotency_in_flight`"
        found[422] += ", `idempotency_mismatch`"
    for status, about in route.problems.items():
        found[status] = ", ".join(filter(None, [found.get(status), about]))
    return found


def edge() -> Edge:
    """What the running application was made with."""
    found: Edge = flask.current_app.extensions[EXTENSION]
    return found


def authenticate() -> Caller:
    """Who asks; counts the request, unless the shell only repeats one that waits.

    Raises:
        Unauthenticated, RateLimited
    """
    caller = edge().keyring.caller(secret_of(_headers()))
    flask.g.caller = caller
    if not scope_of(flask.request.environ).get(AGAIN):
        flask.g.allowance = edge().limiter.take(caller.key)
    return caller


def authenticate_reporter(token: str) -> None:
    """Let in who holds a hook token; counts the request as `authenticate` does.

    Raises:
        Unauthenticated, RateLimited
    """
    context = edge().context
    reporter = external.find_reporter(context.db, context.sealer, token)
    flask.g.reporter, flask.g.caller = reporter, reporter.caller()
    if not scope_of(flask.request.environ).get(AGAIN):
        flask.g.allowance = edge().limiter.take(reporter.id)


def _let_in(route: Route) -> None:
    if route.by_token:
        token = secret_of(_headers())
        if route.scope is None or token.startswith(f"{TOKEN_PREFIX}_"):
            authenticate_reporter(token)
            return
    if route.scope is not None:
        demand(authenticate(), route.scope)


def _guarded(route: Route, view: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(view)
    def guarded(**path: str) -> Any:
        _let_in(route)
        if route.body is not None and flask.request.content_length and not flask.request.is_json:
            raise UnsupportedMediaType("Send the body as JSON with `Content-Type: application/json`.")
        return view(**path)

    return guarded


def _named(view: functools.partial[flask.Response], handler: Handler) -> Callable[..., Any]:
    @functools.wraps(handler)
    def named(**given: Any) -> flask.Response:
        return view(given)

    return named


def _answer(route: Route, handler: Handler, given: dict[str, Any]) -> flask.Response:
    query, body = given.pop("query", {}), given.pop("body", {})
    who, upload = flask.g.get("caller", NOBODY), scope_of(flask.request.environ).get(UPLOAD)
    call = Call(edge(), who, given, query, body, _headers(), upload=upload, _reporter=flask.g.get("reporter"))
    if route.is_page:
        form = flask.request.form.to_dict(flat=False)
        call = replace(call, form=form, address=flask.request.remote_addr or "")
    if route.is_repeatable and (key := _idempotency_key()) is not None:
        digest = upload.sha256 if upload else hashlib.sha256(flask.request.get_data()).hexdigest()
        call = replace(call, _key=key, _route=f"{route.method} {flask.request.path}"[:500], _body_hash=digest)
    try:
        reply = handler(call)
    except Replayed as replayed:
        again = replayed.answer
        reply = Reply(again.status, again.text, headers={**again.headers, "Idempotent-Replayed": "true"})
    response = flask.Response(reply.content, reply.status, dict(reply.headers), content_type=reply.media_type)
    if route.waits is not None and (waiting := route.waits(json.loads(reply.content), query)) is not None:
        response.headers[WAIT_HEADER] = waiting.header()
    return response


def _headers() -> Mapping[str, str]:
    return {name.lower(): value for name, value in flask.request.headers.items()}


def _idempotency_key() -> str | None:
    text = flask.request.headers.get(IDEMPOTENCY_HEADER)
    if text is None:
        return None
    match = _KEY.fullmatch(text.strip())
    if match is None:
        raise InvalidField(IDEMPOTENCY_HEADER, "must be 1 to 255 printable ASCII characters without spaces")
    return match[1]


def _extras(route: Route, operation: str) -> dict[str, Any]:
    words = dict(route.headers)
    if route.is_repeatable:
        about = "The same key with the same body gives the same answer for 24 hours, and the effect happens once."
        words[IDEMPOTENCY_HEADER] = about
    schema = {"type": "string"}
    parameters: list[dict[str, Any]] = [
        {"in": "header", "name": name, "required": False, "schema": schema, "description": about}
        for name, about in words.items()
    ]
    extras: dict[str, Any] = {"operationId": operation, "x-headers": parameters}
    if route.is_page and route.method == "POST":
        extras["requestBody"] = {"content": {"application/x-www-form-urlencoded": {"schema": {"type": "object"}}}}
    if route.takes_file:
        extras["requestBody"] = {"content": {"application/octet-stream": {}}, "description": "The file's bytes."}
    if route.by_token:
        extras["security"] = [{"hook": []}, *([] if route.scope is None else [{"bearer": []}, {"key": []}])]
    elif route.scope is None:
        extras["security"] = []
    else:
        extras["x-scope"] = route.scope.value
    return extras


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


def _malformed(detail: str) -> NoReturn:
    abort(400, messages={"json": [detail]})
    raise AssertionError  # abort always raises; its types do not say so
