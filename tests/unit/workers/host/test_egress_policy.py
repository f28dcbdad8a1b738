"""Base URLs an operator gives agents are the operator's word, wherever they lead; nothing else is."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from shared.workspaces.kind import NoWalls
from workers.host.egress import policy
from workers.host.egress.request import Authority


@pytest.mark.parametrize(
    ("env", "command", "named"),
    [
        ({"ANTHROPIC_BASE_URL": "http://127.0.0.1:4000"}, "", {("127.0.0.1", 4000)}),
        ({"X_BASE_URL": "https://Model.Internal/v1"}, "", {("model.internal", 443)}),
        ({"CONFIG": '{"options": {"baseURL": "http://[::1]:81/v1"}}'}, "", {("::1", 81)}),
        ({}, "codex -c model_providers.x.base_url=http://localhost:5/v1", {("localhost", 5)}),
        ({}, "codex -c 'model_providers.x.base_url=\"http://a.test/v1\"'", {("a.test", 80)}),
        ({"HTTPS_PROXY": "http://proxy.test:3128", "DOCS": "https://docs.test"}, "agent https://x.test", set()),
        ({"A_BASE_URL": "not a URL", "B_BASE_URL": "http://x:99999", "C_BASE_URL": "ftp://x"}, "", set()),
    ],
)
def test_base_urls_of_the_operator_are_named(env, command, named):
    assert policy.named_by(env, [command]) == {Authority(*one) for one in named}


def test_doors_are_those_on_loopback():
    named = policy.named_by({"A_BASE_URL": "http://localhost:7", "B_BASE_URL": "http://10.0.0.1:8"}, [])

    assert policy.Policy(named=named).doors == [Authority("localhost", 7)]


@pytest.mark.parametrize(
    ("is_listed", "cuts", "env", "warns"),
    [
        (True, False, {}, "No wall"),
        (True, True, {"https_proxy": "x"}, "proxy"),
        (True, True, {}, ""),
        (False, False, {}, ""),
    ],
)
def test_an_operator_is_told_what_is_not_held(is_listed, cuts, env, warns):
    lists = SimpleNamespace(is_listed=is_listed, domains=["example.org"], networks=["10.0.0.0/8"])
    said = SimpleNamespace(egress=lists, child_env=env, agent_commands={})
    walls = SimpleNamespace(cuts_network=cuts) if cuts else NoWalls()

    told = policy.troubles(said, walls)

    assert (warns in told[0]) if warns else told == []
    assert (policy.held(said, walls) is not None) == (is_listed and cuts)
