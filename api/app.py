"""The Flask application: the synchronous part of the API. The shell in front of it is `shell.py`."""

from __future__ import annotations

import time
from typing import Any

import flask
import structlog
from flask_smorest import Api
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix

from api import openapi
from api.problems import MEDIA_TYPE, Problem, from_error, from_fields, from_status
from api.resources import (
    asks,
    batches,
    budgets,
    commands,
    deliveries,
    external,
    files,
    fleet,
    forks,
    gitviews,
    history,
    hooks,
    links,
    probes,
    prompts,
    sessions,
    turns,
    usage,
    webhooks,
)
from api.routes import EXTENSION, Edge
from api.schemas.fields import describe_variant
from api.wire import AGAIN, REQUEST_ID, REQUEST_ID_HEADER, SECURITY_HEADERS, VERSION, request_id, scope_of
from shared.domain.errors import CorralError
from shared.telemetry import metrics

log = structlog.get_logger(__name__)

RESOURCES = (
    sessions,
    external,
    forks,
    prompts,
    commands,
    turns,
    asks,
    links,
    batches,
    history,
    files,
    gitviews,
    hooks,
    webhooks,
    deliveries,
    fleet,
    usage,
    budgets,
    probes,
)


class ProblemApi(Api):  # type: ignore[misc] # flask-smorest ships no types
    """flask-smorest with our problems in place of its own errors."""

    def handle_http_exception(self, error: HTTPException) -> flask.Response:
        """A problem for what HTTP itself, or the parsing of a request, found wrong."""
        return _respond(_of_http(error))


def make_app(edge: Edge, *, body_limit: int, proxy_hops: int = 0) -> flask.Flask:
    """The application. Opens nothing; everything it needs is in `edge`."""
    app = flask.Flask("api", static_folder=None)
    app.config.update(
        API_TITLE="Corral",
        API_VERSION=VERSION,
        OPENAPI_VERSION="3.1.0",
        MAX_CONTENT_LENGTH=body_limit,
        PROPAGATE_EXCEPTIONS=False,
    )
    # Merging slashes answers with a redirect and a page of HTML.
    app.url_map.merge_slashes = False
    app.extensions[EXTENSION] = edge
    app.before_request(_begin)
    app.after_request(_finish)
    app.register_error_handler(CorralError, _on_error)
    app.register_error_handler(Exception, _on_surprise)
    api = ProblemApi(app)
    api.ma_plugin.converter.add_attribute_function(describe_variant)
    for resource in RESOURCES:
        api.register_blueprint(resource.routes.blueprint)
    app.extensions[probes.DOCUMENT] = openapi.complete(api.spec.to_dict())
    if proxy_hops:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=proxy_hops, x_proto=proxy_hops)  # type: ignore[method-assign]
    return app


def _begin() -> None:
    scope = scope_of(flask.request.environ)
    flask.g.began_s = time.perf_counter()
    flask.g.request_id = scope.get(REQUEST_ID) or request_id(flask.request.headers.get(REQUEST_ID_HEADER, ""))
    structlog.contextvars.bind_contextvars(request_id=flask.g.request_id)


def _finish(response: flask.Response) -> flask.Response:
    response.headers[REQUEST_ID_HEADER] = flask.g.request_id
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    if (allowance := flask.g.get("allowance")) is not None:
        response.headers.update(allowance.headers())
    if not scope_of(flask.request.environ).get(AGAIN):
        rule = flask.request.url_rule
        route = rule.rule if rule else "unmatched"
        metrics.REQUESTS.labels(method=flask.request.method, route=route, status=response.status_code).inc()
        _tell(response, route, time.perf_counter() - flask.g.began_s)
    return response


def _tell(response: flask.Response, route: str, duration_s: float) -> None:
    metrics.REQUEST_SECONDS.labels(route=route).observe(duration_s)
    caller = flask.g.get("caller")
    # What changes something is worth a line; what only reads is counted.
    write = log.debug if flask.request.method in {"GET", "HEAD", "OPTIONS"} else log.info
    write(
        "request.served",
        method=flask.request.method,
        route=route,
        path=_path(),
        status=response.status_code,
        duration_s=round(duration_s, 4),
        tenant=caller.tenant if caller else None,
        key=caller.key if caller else None,
    )


def _path() -> str:
    """The request's path for the log; the path of a link is a secret."""
    path = flask.request.path
    return f"{links.PREFIX}…" if path.startswith(links.PREFIX) else path


def _on_error(error: CorralError) -> flask.Response:
    return _respond(from_error(error))


def _on_surprise(error: Exception) -> flask.Response:
    # Here the surprise ends: the caller learns a request id, the operator the whole story.
    log.error("request.failed", path=_path(), method=flask.request.method, exc_info=error)
    return _respond(from_status(500, "Something went wrong here. It has been logged under this request id."))


def _of_http(error: HTTPException) -> Problem:
    data: dict[str, Any] = getattr(error, "data", {})
    status = error.code or 500
    if status == 422 and "messages" in data:
        return from_fields(data["messages"])
    if status == 400 and isinstance(data.get("messages"), dict):
        return from_status(400, " ".join(data["messages"].get("json", ["The request cannot be read."])))
    allowed = getattr(error, "valid_methods", None)
    headers = {"Allow": ", ".join(sorted(allowed))} if status == 405 and allowed else None
    return from_status(status, error.description or error.name, headers)


def _respond(problem: Problem) -> flask.Response:
    return flask.Response(
        problem.body(flask.g.get("request_id", "")),
        problem.status,
        dict(problem.headers),
        content_type=MEDIA_TYPE,
    )
