"""For whoever runs it: probes, metrics, the documentation page, limits, and what a surprise looks like."""

from __future__ import annotations

import re

import flask
import pytest

from api.app import make_app
from api.routes import EXTENSION
from shared.domain.tenant import Scope
from tests.fixtures.api import Api, api_running, make_key, register_worker

DEAD_REDIS = "redis://127.0.0.1:1/0"


def test_readiness_warns_of_what_is_missed_and_stops_for_what_is_needed(sqlite_url, valkey_url):
    with api_running(sqlite_url, valkey_url) as api:
        lonely = api.http.get("/readyz").json()
        register_worker(api.edge)
        ready = api.http.get("/readyz").json()
    with api_running(sqlite_url, DEAD_REDIS) as api:
        without_redis = api.http.get("/readyz")
        made = api.http.post("/v1/sessions", json={"agent": "demo", "prompt": "still accepted"})
        with api.edge.context.db.write() as connection:
            connection.exec_driver_sql("ALTER TABLE workers RENAME TO gone")
        without_database = api.http.get("/readyz")
        alive = api.http.get("/healthz")

    assert (lonely["status"], lonely["missing"]) == ("ready", [])
    assert "No worker" in lonely["warnings"][0]
    assert ready == {"status": "ready", "missing": [], "warnings": []}
    assert without_redis.status_code == 200
    assert "Redis is away" in without_redis.json()["warnings"][0]
    assert made.status_code == 201
    assert without_database.status_code == 503
    assert without_database.json()["missing"] == ["The database cannot be reached."]
    assert alive.json() == {"status": "ok"}


def test_metrics_tell_requests_by_route_and_never_by_id(sqlite_api):
    session = sqlite_api.create("hi")["id"]
    sqlite_api.http.get(f"/v1/sessions/{session}")

    text = sqlite_api.http.get("/metrics").text

    assert 'route="/v1/sessions/<session_id>"' in text
    assert session not in text


def test_metrics_may_be_closed(sqlite_url, valkey_url):
    with api_running(sqlite_url, valkey_url, CORRAL_METRICS_OPEN="0") as api:
        without = api.http.get("/metrics", headers={"Authorization": "none"}).status_code
        reader = api.client(Scope.READ).get("/metrics").status_code
        admin = api.http.get("/metrics").status_code

    assert (without, reader, admin) == (401, 403, 200)


def test_the_documentation_page_asks_no_other_host(sqlite_api):
    page = sqlite_api.http.get("/docs", headers={"Authorization": "none"})
    assets = re.findall(r'(?:href|src)="([^"#]+)"', page.text)

    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "https://" not in page.text
    assert {"/docs/docs.js", "/docs/docs.css", "/openapi.json"} <= set(assets)
    for asset in assets:
        answer = sqlite_api.http.get(asset)
        assert answer.status_code == 200, asset
        assert asset == "/openapi.json" or "https://" not in answer.text
    assert sqlite_api.http.get("/docs/../app.py").status_code == 404
    assert sqlite_api.http.get("/docs/app.py").status_code == 404


def test_a_key_that_asks_too_often_is_told_when_to_come_back(sqlite_url, valkey_url):
    with api_running(sqlite_url, valkey_url, CORRAL_RATE_LIMIT="3") as api:
        answers = [api.http.get("/v1/me") for _ in range(4)]
        other = api.client().get("/v1/me")

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[0].headers["ratelimit"].startswith('"key";r=2')
    assert answers[3].json()["code"] == "rate_limited"
    assert 1 <= int(answers[3].headers["retry-after"]) <= 20
    assert answers[3].headers["ratelimit"] == f'"key";r=0;t={answers[3].headers["retry-after"]}'
    assert other.status_code == 200


def test_waiting_counts_as_one_request(sqlite_url, valkey_url):
    with api_running(sqlite_url, valkey_url, CORRAL_RATE_LIMIT="5") as api:
        session = api.create()["id"]
        host = api.host(session)
        waited = api.http.get(f"/v1/sessions/{session}", params={"wait_s": 0.5})
        host.up()
        left = api.http.get("/v1/me").headers["ratelimit"]

    assert waited.status_code == 200
    assert left.startswith('"key";r=2'), "of five: create, wait, me"


@pytest.fixture
def broken(sqlite_api: Api) -> flask.Flask:
    """The application with one route that fails as no route should."""
    app = make_app(sqlite_api.edge, body_limit=1000)
    app.view_functions["fleet.get_me"] = lambda: 1 / 0
    assert app.extensions[EXTENSION] is sqlite_api.edge
    return app


def test_a_surprise_is_a_problem_and_its_story_stays_here(sqlite_api, broken):
    key = make_key(sqlite_api.edge)

    answer = broken.test_client().get("/v1/me", headers={"Authorization": f"Bearer {key}"})

    assert answer.status_code == 500
    assert answer.content_type == "application/problem+json"
    assert answer.get_json()["code"] == "internal_error"
    assert answer.get_json()["request_id"] == answer.headers["X-Request-Id"]
    assert "division" not in answer.get_data(as_text=True)
