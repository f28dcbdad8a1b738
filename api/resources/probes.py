"""For whoever runs this: liveness, readiness, metrics, and the documentation."""

from __future__ import annotations

import json
from importlib import resources

import flask
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from api.auth import demand
from api.routes import EXTENSION, Call, Reply, Route, Routes, Shown, authenticate, tell
from api.schemas.fleet import HealthView, ReadyView
from shared.domain.tenant import Scope
from shared.operations import health

routes = Routes("operation", "For whoever runs this.")

DOCUMENT = f"{EXTENSION}.openapi"
"""Where the application keeps its OpenAPI document."""
_PAGE_POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; frame-ancestors 'none'"
_ASSETS = {"docs.js": "text/javascript; charset=utf-8", "docs.css": "text/css; charset=utf-8"}


@routes.add(Route("GET", "/healthz", replies={200: Shown(HealthView, "It runs.")}, scope=None))
def healthz(_: Call) -> Reply:
    """Whether the process runs and answers; looks at nothing else."""
    return tell(HealthView, {"status": "ok"})


@routes.add(
    Route(
        "GET",
        "/readyz",
        replies={200: Shown(ReadyView, "Ready."), 503: Shown(ReadyView, "Not ready: see `missing`.")},
        scope=None,
    )
)
def readyz(call: Call) -> Reply:
    """Whether the process can do its work: `missing` stops it (503), `warnings` are what will be missed."""
    found = health.look(call.context, call.edge.redis)
    told = {
        "status": "not_ready" if found.missing else "ready",
        "missing": found.missing,
        "warnings": found.warnings,
    }
    return tell(ReadyView, told, 503 if found.missing else 200)


@routes.add(
    Route(
        "GET",
        "/metrics",
        replies={200: Shown(None, "Metrics in Prometheus' text form.", "text/plain")},
        scope=None,
        problems={401: "`unauthenticated`, where the operator closed it", 403: "`forbidden`", 429: "`rate_limited`"},
    )
)
def metrics(call: Call) -> Reply:
    """Metrics for Prometheus; with `CORRAL_METRICS_OPEN=0` only for keys with scope `admin`."""
    if not call.edge.metrics_open:
        demand(authenticate(), Scope.ADMIN)
    return Reply(200, generate_latest(), CONTENT_TYPE_LATEST)


@routes.add(
    Route(
        "GET",
        "/openapi.json",
        replies={200: Shown(None, "This description, OpenAPI 3.1.", "application/json")},
        scope=None,
    )
)
def openapi(_: Call) -> Reply:
    """Every route, status and schema."""
    return Reply(200, json.dumps(flask.current_app.extensions[DOCUMENT]))


@routes.add(
    Route("GET", "/docs", replies={200: Shown(None, "A page for people.", "text/html")}, scope=None),
)
def docs(_: Call) -> Reply:
    """The documentation as a page; it asks no other host for anything."""
    return Reply(200, _asset("docs.html"), "text/html; charset=utf-8", {"Content-Security-Policy": _PAGE_POLICY})


@routes.add(
    Route(
        "GET",
        "/docs/<asset>",
        replies={200: Shown(None, "A part of the page.", "text/plain")},
        scope=None,
    )
)
def docs_asset(call: Call) -> Reply:
    """Script and style of the documentation page."""
    name = call.path["asset"]
    if name not in _ASSETS:
        flask.abort(404)
    return Reply(200, _asset(name), _ASSETS[name], {"Cache-Control": "max-age=3600"})


def _asset(name: str) -> bytes:
    return (resources.files("api") / "static" / name).read_bytes()
