"""The table from errors to statuses is whole, and a problem on the wire has the form of RFC 9457."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from api.problems import Problem, from_error, from_fields, from_status, status_of
from shared.domain import errors

DOCS = Path(__file__).parents[3] / "docs"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.NotFound("session", "ses_1"), 404),
        (errors.SessionEnded("ses_1", None), 409),
        (errors.TurnOver("trn_1", "completed"), 409),
        (errors.UnknownAgent("x", "demo"), 422),
        (errors.InvalidField("url", "is bad"), 422),
        (errors.FilesAway("away"), 503),
        (errors.RateLimited(10, 3.2), 429),
        (errors.HistoryRemoved(7), 410),
        (errors.Forbidden("no"), 403),
        (errors.Unauthenticated("who"), 401),
    ],
)
def test_an_error_has_the_status_of_its_family_unless_it_has_its_own(error, status):
    problem = from_error(error)

    assert problem.status == status_of(type(error)) == status
    assert problem.code == error.code


def test_a_problem_is_json_with_every_member():
    document = json.loads(from_error(errors.VersionMismatch(4)).body("req_1"))

    assert document == {
        "type": "/docs#version_mismatch",
        "title": "Version mismatch",
        "status": 409,
        "detail": "The resource is at version 4; read it again and repeat.",
        "code": "version_mismatch",
        "request_id": "req_1",
        "details": {"actual": 4},
    }


def test_a_fact_called_status_does_not_hide_the_http_status():
    document = json.loads(from_error(errors.AskClosed("ask_1", "answered", "ann", "slack")).body("req_1"))

    assert document["status"] == 409
    assert document["details"]["status"] == "answered"
    assert document["details"]["answered_by"] == "ann"


def test_a_field_is_named_by_its_path_without_where_it_came_from():
    problem = from_fields({"json": {"limits": {"turn_s": ["Not a number."]}, "_schema": ["Wrong."]}})

    assert [(one.field, one.message) for one in problem.errors] == [
        ("limits.turn_s", "Not a number."),
        ("json", "Wrong."),
    ]
    assert "limits.turn_s" in problem.detail


@pytest.mark.parametrize(
    ("problem", "header", "value"),
    [
        (from_error(errors.RateLimited(10, 3.2)), "Retry-After", "3"),
        (from_error(errors.RateLimited(10, 0.01)), "Retry-After", "1"),
        (from_error(errors.FilesAway("away")), "Retry-After", "2"),
        (from_error(errors.Unauthenticated("who")), "WWW-Authenticate", 'Bearer realm="corral"'),
        (from_status(405, "no", {"Allow": "GET"}), "Allow", "GET"),
    ],
)
def test_what_may_be_repeated_says_when(problem: Problem, header, value):
    assert problem.headers[header] == value


def test_every_code_is_documented():
    page = (DOCS / "api.md").read_text(encoding="utf-8")
    codes = json.loads((DOCS / "openapi.json").read_text(encoding="utf-8"))["x-problem-codes"]

    missing = [code for code, status in codes.items() if f"| `{code}` | {status} |" not in page]

    assert missing == []
