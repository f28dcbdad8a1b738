"""Bad input: each a documented status and code, as a problem, with nothing half-made left behind."""

from __future__ import annotations

import json
import socket
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from api.shell import ShellOptions
from tests.fixtures.api import Api, api_running

JSON = {"Content-Type": "application/json"}
GOOD = {"agent": "demo"}
DEEP = "[" * 200_000 + "]" * 200_000


@cache
def documented() -> dict[str, Any]:
    text = (Path(__file__).parents[2] / "docs/openapi.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def check(answer, status: int, code: str, route: str | None = None) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["code"] == code
    assert problem["status"] == status
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert documented()["x-problem-codes"][code] == status
    if route is not None:
        method, _, path = route.partition(" ")
        assert str(status) in documented()["paths"][path][method.lower()]["responses"]
    assert "Traceback" not in answer.text
    assert "/work/" not in answer.text
    return dict(problem)


def nothing_made(api: Api) -> bool:
    return not (
        api.http.get("/v1/sessions").json()["data"]
        or api.http.get("/v1/webhooks").json()["data"]
        or api.http.get("/v1/events").json()["data"]
    )


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({}, "invalid_request", "agent"),
        ({"agent": 7}, "invalid_request", "agent"),
        ({"agent": "ghost"}, "unknown_agent", None),
        ({**GOOD, "agnet": "typo"}, "invalid_request", "agnet"),
        ({**GOOD, "workspace": {"kind": "cloud"}}, "unknown_workspace_kind", None),
        ({**GOOD, "workspace": {}}, "invalid_request", "workspace.kind"),
        ({**GOOD, "workspace": {"kind": "folder", "path": "relative"}}, "invalid_field", "workspace.path"),
        ({**GOOD, "workspace": {"kind": "folder", "path": "/a/../../etc"}}, "invalid_field", "workspace.path"),
        ({**GOOD, "workspace": {"kind": "folder", "pfad": "/a"}}, "invalid_field", "workspace.pfad"),
        ({**GOOD, "mode": "reckless"}, "invalid_request", "mode"),
        ({**GOOD, "mode": "bypass"}, "unsupported", None),
        ({**GOOD, "prompt": ""}, "invalid_request", "prompt"),
        ({**GOOD, "prompt": " \n "}, "invalid_request", "prompt"),
        ({**GOOD, "prompt": "nul \0 here"}, "invalid_request", "prompt"),
        ({**GOOD, "prompt": ["a"]}, "invalid_request", "prompt"),
        ({**GOOD, "title": "two\nlines"}, "invalid_request", "title"),
        ({**GOOD, "metadata": {"a": 1}}, "invalid_request", "metadata.a.value"),
        ({**GOOD, "metadata": {str(n): "" for n in range(51)}}, "invalid_request", "metadata"),
        ({**GOOD, "env": {"BAD NAME": "x"}}, "invalid_request", "env.BAD NAME.key"),
        ({**GOOD, "limits": {"turn_s": -1}}, "invalid_request", "limits.turn_s"),
        ({**GOOD, "limits": {"turn_s": "10"}}, "invalid_request", "limits.turn_s"),
        ({**GOOD, "limits": {"max_turns": 1.5}}, "invalid_request", "limits.max_turns"),
        ({**GOOD, "limits": {"max_turns": True}}, "invalid_request", "limits.max_turns"),
        ({**GOOD, "allowed_domains": ["fine.example.com", "127.0.0.1"]}, "invalid_field", "allowed_domains[1]"),
        ({**GOOD, "allowed_domains": ["*.com"]}, "invalid_field", "allowed_domains[0]"),
        ({**GOOD, "webhook": {"url": "http://169.254.169.254/latest"}}, "invalid_field", "webhook.url"),
        ({**GOOD, "webhook": {"url": "http://2852039166/"}}, "invalid_field", "webhook.url"),
        ({**GOOD, "webhook": {"url": "ftp://example.com"}}, "invalid_field", "webhook.url"),
        ({**GOOD, "webhook": {"url": "http://10.0.0.1/"}}, "invalid_field", "webhook.url"),
        ({**GOOD, "webhook": {"url": "http://127.0.0.1/", "secret": "short"}}, "invalid_field", "webhook.secret"),
        ({**GOOD, "webhook": {"url": "http://127.0.0.1/", "events": ["No!"]}}, "invalid_field", "webhook.events"),
        ({**GOOD, "ask_timeout_s": -5}, "invalid_request", "ask_timeout_s"),
        ([GOOD], "invalid_request", None),
    ],
)
def test_a_session_that_cannot_be_is_refused_whole(sqlite_api, body, code, field):
    problem = check(sqlite_api.http.post("/v1/sessions", json=body), 422, code, "POST /v1/sessions")

    if field is not None:
        assert field in [one["field"] for one in problem["errors"]]
    assert nothing_made(sqlite_api)


@pytest.mark.parametrize(
    ("content", "headers", "status", "code"),
    [
        (b"{", JSON, 400, "bad_request"),
        (b'{"agent": NaN}', JSON, 400, "bad_request"),
        (b'{"agent": "\xff"}', JSON, 400, "bad_request"),
        (DEEP.encode(), JSON, 400, "bad_request"),
        (b'{"agent": "\\ud800"}', JSON, 422, "invalid_request"),
        (b"agent=demo", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "unsupported_media_type"),
        (b"{}", {"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
        (b"", JSON, 422, "invalid_request"),
        (b'{"prompt": "' + b"x" * (2 << 20) + b'"}', JSON, 413, "body_too_large"),
    ],
    ids=["half", "nan", "bytes", "deep", "surrogate", "form", "text", "empty", "2 MiB"],
)
def test_a_body_that_cannot_be_read_is_refused(sqlite_api, content, headers, status, code):
    check(sqlite_api.http.post("/v1/sessions", content=content, headers=headers), status, code, "POST /v1/sessions")

    assert nothing_made(sqlite_api)


def test_a_body_that_grows_too_large_on_the_way_is_refused(sqlite_api):
    pieces = (b"x" * 65536 for _ in range(40))

    check(sqlite_api.http.post("/v1/sessions", content=pieces, headers=JSON), 413, "body_too_large")


def test_a_body_in_pieces_is_taken_whole(sqlite_api):
    text = json.dumps({**GOOD, "title": "in pieces"}).encode()

    answer = sqlite_api.http.post(
        "/v1/sessions", content=(text[n : n + 7] for n in range(0, len(text), 7)), headers=JSON
    )

    assert answer.json()["title"] == "in pieces"


@pytest.mark.parametrize(
    "path",
    [
        "/v1/sessions?limit=0",
        "/v1/sessions?limit=201",
        "/v1/sessions?limit=ten",
        "/v1/sessions?cursor=forged",
        "/v1/sessions?cursor=%00",
        "/v1/sessions?status=tired",
        "/v1/sessions?created_after=yesterday",
        "/v1/sessions?created_after=2026-01-01T00:00:00",
        "/v1/sessions?q=%00",
        "/v1/sessions?metadata=x",
        "/v1/sessions?metadata.%00=x",
        "/v1/sessions?unknown=1",
        "/v1/asks?status=lonely",
        "/v1/events?cursor=Zm9yZ2Vk",
        "/v1/keys?limit=9999999999999999999999",
        "/v1/me?who=am-i",
    ],
)
def test_a_query_that_cannot_be_is_refused(sqlite_api, path):
    answer = sqlite_api.http.get(path)

    assert answer.status_code == 422, answer.text
    assert answer.json()["code"] in {"invalid_request", "invalid_field"}
    assert answer.json()["errors"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, "not_found"),
        ("GET", "/", 404, "not_found"),
        ("GET", "//v1//sessions", 404, "not_found"),
        ("GET", "/v1/sessions/", 404, "not_found"),
        ("GET", "/v1/sessions/ses_missing", 404, "not_found"),
        ("GET", "/v1/sessions/../../etc/passwd", 404, "not_found"),
        ("GET", "/v1/sessions/%00", 404, "not_found"),
        ("GET", "/v1/sessions/%ff%fe", 404, "not_found"),
        ("GET", "/v1/turns/ses_wrongkind", 404, "not_found"),
        ("PUT", "/v1/sessions", 405, "method_not_allowed"),
        ("DELETE", "/v1/me", 405, "method_not_allowed"),
        ("POST", "/healthz", 405, "method_not_allowed"),
    ],
)
def test_a_path_that_leads_nowhere_is_a_problem(sqlite_api, method, path, status, code):
    answer = sqlite_api.http.request(method, path)

    check(answer, status, code)
    if status == 405:
        assert answer.headers["allow"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": ""},
        {"Authorization": "Basic abc"},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer crl_" + "x" * 38},
        {"Authorization": "Bearer " + "x" * 5000},
        {"Authorization": b"Bearer \xff"},
    ],
)
def test_a_request_without_a_good_key_is_refused(sqlite_api, headers):
    answer = sqlite_api.http.get("/v1/me", headers=headers)

    check(answer, 401, "unauthenticated", "GET /v1/me")
    assert "Bearer" in answer.headers["www-authenticate"]


def test_the_key_may_come_as_x_api_key(sqlite_api):
    answer = sqlite_api.http.get("/v1/me", headers={"Authorization": "", "X-Api-Key": sqlite_api.key})

    assert answer.json()["name"] == "test"


def test_a_statement_that_is_wrong_is_a_fault_of_ours_and_not_an_outage(sqlite_api):
    with sqlite_api.edge.context.db.write() as connection:
        connection.exec_driver_sql("DROP TABLE asks")

    # A table that is not there is what sqlite calls an operational error; to repeat the request would not help.
    check(sqlite_api.http.get("/v1/asks"), 500, "internal_error", "GET /v1/asks")


@pytest.mark.parametrize(
    ("wished", "is_taken"), [("abc-123.DEF_9", True), ("short", False), ("with space!", False), ("x" * 65, False)]
)
def test_a_request_id_is_the_callers_own_where_it_is_harmless(sqlite_api, wished, is_taken):
    answer = sqlite_api.http.get("/v1/me", headers={"X-Request-Id": wished})

    assert (answer.headers["x-request-id"] == wished) is is_taken
    assert answer.headers["x-request-id"]


def test_every_answer_has_the_security_headers(sqlite_api):
    for path in ("/v1/me", "/healthz", "/v1/nothing", "/docs", "/openapi.json"):
        headers = sqlite_api.http.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "server" not in headers


def test_a_caller_that_trickles_its_body_is_not_waited_for(sqlite_url, valkey_url):
    with api_running(sqlite_url, valkey_url, options=ShellOptions(threads=2, body_s=0.2)) as api:
        host, port = api.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as caller:
            lines = ["POST /v1/sessions HTTP/1.1", "Host: x", f"X-Api-Key: {api.key}", "Content-Length: 100", "", ""]
            caller.sendall("\r\n".join(lines).encode() + b'{"agent":')
            answer = b""
            while piece := caller.recv(65536):
                answer += piece

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"request_timeout"' in answer
