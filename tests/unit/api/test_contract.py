"""The check that holds every answer against the OpenAPI document catches what it is for."""

from __future__ import annotations

import httpx
import jsonschema
import pytest

from tests.fixtures import contract


def answer(path: str, status: int, body: object) -> httpx.Response:
    return httpx.Response(status, json=body, request=httpx.Request("GET", f"http://x{path}"))


def test_a_status_that_is_not_documented_is_caught():
    with pytest.raises(AssertionError, match="418"):
        contract.check(answer("/v1/me", 418, {}))


def test_a_body_that_does_not_fit_is_caught():
    with pytest.raises(jsonschema.ValidationError):
        contract.check(answer("/v1/turns/trn_1", 200, {"id": 7}))


def test_an_answer_that_fits_passes():
    contract.check(answer("/v1/me", 200, {"tenant_id": "t", "key_id": "k", "name": "n", "scopes": ["read"]}))
