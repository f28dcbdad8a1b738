"""Sessions in clones, through a whole fleet: the agent works on the repository's files, callers read them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fakes import github_server
from tests.fixtures.fleet import CALM, Client, Fleet, data_of
from tests.fixtures.git_server import TOKEN, GitServer, git

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


def test_what_an_agent_did_becomes_a_pull_request(fleet_on_sqlite: Fleet, git_server: GitServer) -> None:
    git_server.make("private/orchard", {"plum.txt": "green"})
    url = git_server.url("private/orchard")
    place = url.removeprefix("https://").partition("/")[0]
    with github_server.running(TOKEN) as git_hub:
        credentials = {"CORRAL_GIT_TOKENS": f"{place}={TOKEN}", "CORRAL_GITHUB_HOST": place}
        client = fleet_on_sqlite.up("a", **CALM, **git_server.env(), **credentials, CORRAL_GITHUB_API=git_hub.api)
        made = client.start("write plum.txt ripe;say Ripe now.;run env", workspace={"kind": "git", "url": url})
        client.turn(made["turn"]["id"])
        session = made["id"]

        def propose(body: object, key: str) -> tuple[int, dict[str, Any], str | None]:
            headers = {"Idempotency-Key": key}
            answer = client.ask("POST", f"/sessions/{session}/pull-request", body, headers=headers)
            return answer.status_code, answer.json(), answer.headers.get("Idempotent-Replayed")

        opened, replayed = propose({"title": "Plums"}, "one"), propose({"title": "Plums"}, "one")
        shown = propose({}, "two")
        refused = propose({"branch": "-x"}, "three")
        log = client.events(session)

    assert (opened[0], replayed[0], replayed[2], shown[0]) == (201, 201, "true", 200)
    assert opened[1] == replayed[1] == shown[1]
    assert git("log", "-1", "--format=%an %s", f"corral/{session}", cwd=git_server.folder / "private/orchard.git") == (
        "Corral Plums"
    )
    (told,) = git_hub.pulls
    assert (told["head"], told["base"], told["body"].splitlines()[0]) == (f"corral/{session}", "main", "Ripe now.")
    assert (refused[0], refused[1]["errors"][0]["field"]) == (422, "branch")
    assert [data_of(one)["url"] for one in log if data_of(one).get("kind") == "pull_request"] == [opened[1]["url"]]
    # Neither the log nor the agent's environment, which it printed, holds the operator's token.
    assert TOKEN not in str(log)
