"""Sessions in clones, through a whole fleet: the agent works on the repository's files, callers read them."""

from __future__ import annotations

import pytest

from tests.fixtures.fleet import CALM, Client, Fleet
from tests.fixtures.git_server import GitServer

pytestmark = pytest.mark.timeout(120)


def _text(client: Client, session: str, path: str) -> str:
    return client.ask("GET", f"/sessions/{session}/files/{path}").text


def test_an_agent_works_in_a_clone_and_a_bad_repository_is_told(fleet_on_sqlite: Fleet, git_server: GitServer) -> None:
    git_server.make("orchard", {"plum.txt": "ripe"})
    client = fleet_on_sqlite.up("a", **CALM, **git_server.env())

    made = client.start("append plum.txt and sweet", workspace={"kind": "git", "url": git_server.url("orchard")})
    lost = client.start("say hello", workspace={"kind": "git", "url": git_server.url("absent")})
    turn = client.turn(made["turn"]["id"])
    ended = client.session(lost["id"], "ended")

    assert (turn["status"], _text(client, made["id"], "plum.txt")) == ("completed", "ripeand sweet\n")
    assert made["workspace"]["spec"] == {"kind": "git", "url": git_server.url("orchard")}
    assert (ended["end_reason"], "no such repository" in ended["end_detail"]) == ("start_failed", True)
    refused = client.ask("POST", "/sessions", {"agent": "demo", "workspace": {"kind": "git", "url": "file:///etc"}})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "workspace.url")
