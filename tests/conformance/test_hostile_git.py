"""Hostile URLs, refs and repositories: none may run anything, reach elsewhere, or leave something behind."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace

import pytest

from shared.domain.errors import InvalidField
from shared.domain.errors_git import GitFailed
from shared.domain.git import GitRules
from shared.domain.ids import mint_session
from shared.workspaces import gitcmd
from shared.workspaces.git import Git
from shared.workspaces.gitcmd import Reach
from shared.workspaces.kind import NoWalls
from shared.workspaces.volume import open_volume
from tests.fixtures.git_server import TOKEN, git

KIND = Git()
TOUCH = "touch CANARY"

URLS = [
    "",
    None,
    7,
    ["https://example.com/x"],
    "--upload-pack=touch CANARY",
    "-uCANARY",
    "ext::sh -c touch% CANARY",
    "fd::17/plum",
    "file:///etc",
    "/etc",
    "./x",
    "../x",
    "https:/example.com/x",
    "https:example.com/x",
    "http://example.com/x",
    "git://example.com/x",
    "ftp://example.com/x",
    "transport::https://example.com/x",
    "HTTPS::https://example.com/x",
    "https://user@example.com/x",
    "https://user:password@example.com/x",
    "https://:password@example.com/x",
    "https://example.com",
    "https://example.com/",
    "https://example.com/x?y=1",
    "https://example.com/x#y",
    "https://example.com/../../etc",
    "https://example.com/x/./y",
    "https://example.com/-x",
    "https://example.com/x%00y",
    "https://example.com/x%0ay",
    "https://example.com/x y",
    "https://example.com/x\ny",
    "https://example.com/$(touch CANARY)",
    "https://example.com/`touch CANARY`",
    "https://example.com:0/x",
    "https://example.com:99999/x",
    "https://example.com:-1/x",
    "https://[::1]/x",
    "https://-oProxyCommand=touch/x",
    "https://exa_mple.com/x",
    "https://example.com\\@evil.example/x",
    "https://" + "x" * 3000,
    "ssh://-oProxyCommand=touch% CANARY/x",
    "ssh://git@-oProxyCommand=touch/x",
    "ssh://-oProxyCommand=touch@example.com/x",
    "ssh://git:password@example.com/x",
    "git@-oProxyCommand=touch:x",
    "git@example.com:-oProxyCommand=touch",
    "git@example.com:../x",
    "owner/..",
    "owner/-x",
    "-owner/x",
    "owner/x/y",
    "owner/x;touch CANARY",
    "owner",
]
REFS = [
    "",
    7,
    "-x",
    "--upload-pack=touch CANARY",
    "a..b",
    "a/../b",
    "a//b",
    "a/",
    "/a",
    "a b",
    "a\nb",
    "a\0b",
    "a:b",
    "+a",
    "a~1",
    "a^{commit}",
    "a@{1}",
    "a.lock",
    "a/.b",
    "HEAD:plum",
    "$(touch CANARY)",
    "é",
    "a" * 300,
]
MORE = [
    {"depth": 0},
    {"depth": -1},
    {"depth": True},
    {"depth": "1"},
    {"depth": 1.5},
    {"depth": 10**9},
    {"depth": 1, "ref": "0" * 40},
    {"copy_of": "ses_0000000000000000000000000"},
    {"config": {"core.fsmonitor": "touch CANARY"}},
    {"kind": "folder"},
]


@pytest.mark.parametrize(
    "spec",
    [*({"url": url} for url in URLS), *({"ref": ref} for ref in REFS), *MORE],
    ids=lambda spec: ascii(next(iter(spec.values())))[:40],
)
def test_what_git_could_take_for_something_else_is_refused_by_field(spec):
    with pytest.raises(InvalidField) as refused:
        KIND.check({"url": "https://example.com/plum.git", **spec}, ())

    assert refused.value.facts["field"].startswith("workspace.")


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("acme/orchard", "https://github.com/acme/orchard.git"),
        ("acme/orchard.git", "https://github.com/acme/orchard.git"),
        ("https://GitHub.com:443/acme/orchard/", "https://github.com/acme/orchard"),
        ("https://git.example:8443/a%20b/c~d.git", "https://git.example:8443/a%20b/c~d.git"),
        ("git@github.com:acme/orchard.git", "ssh://git@github.com/acme/orchard.git"),
        ("ssh://git.example:2222/orchard", "ssh://git@git.example:2222/orchard"),
    ],
)
def test_what_names_a_repository_is_normalised(given, url):
    assert KIND.check({"url": given, "ref": "feature/plum-1.2"}, ()) == {
        "kind": "git",
        "url": url,
        "ref": "feature/plum-1.2",
    }


@pytest.fixture
def volume(tmp_path, git_server):
    return replace(open_volume(tmp_path / "volume"), git=git_server.rules())


def left_behind(volume):
    """Workspaces and half-made folders on the volume."""
    sessions, kept = volume.root / "sessions", volume.root / "mirrors"
    return [*sessions.glob("*/workspace"), *sessions.glob("*/.fresh-*"), *kept.glob(".fresh-*")]


def test_private_addresses_are_refused_unless_the_operator_allows_them(git_server, volume):
    spec = KIND.check({"url": git_server.url("orchard")}, ())
    before = list(git_server.seen)

    for rules in (GitRules(ca_file=git_server.ca_file), GitRules()):
        with pytest.raises(GitFailed, match="CORRAL_GIT_ALLOW"):
            KIND.open(mint_session(), spec, replace(volume, git=rules))

    assert git_server.seen == before
    assert not left_behind(volume)


@pytest.mark.parametrize(
    ("name", "wish", "words"),
    [
        ("absent", {}, "no such repository"),
        ("private/orchard", {}, "CORRAL_GIT_TOKENS"),
        ("moved/orchard", {}, "another address"),
        ("orchard", {"ref": "no-such-branch"}, "no such ref"),
        ("orchard", {"ref": "no-such-branch", "depth": 1}, "no such ref"),
        ("orchard", {"ref": "0" * 40}, "no such commit"),
    ],
)
def test_a_clone_that_fails_says_why_and_leaves_nothing(git_server, volume, orchard, name, wish, words):
    spec = KIND.check({"url": git_server.url(name), **wish}, ())

    with pytest.raises(GitFailed, match=words) as failed:
        KIND.open(mint_session(), spec, volume)

    assert not left_behind(volume)
    assert str(volume.root) not in failed.value.message


@pytest.fixture(scope="module")
def orchard(git_server):
    return git_server.make("orchard", {"plum.txt": "ripe\n"})


def test_a_repository_above_its_size_is_cut_off(git_server, volume):
    git_server.make("large", {"noise": os.urandom(3_000_000).hex()})
    spec = KIND.check({"url": git_server.url("large")}, ())

    with pytest.raises(GitFailed, match="CORRAL_GIT_SIZE_LIMIT"):
        KIND.open(mint_session(), spec, replace(volume, git=git_server.rules(size_bytes=1_000_000)))

    assert not left_behind(volume)


def test_a_token_opens_a_private_repository_and_is_found_nowhere(git_server, volume):
    git_server.make("private/plums", {"plum.txt": "secret\n"})
    url = git_server.url("private/plums")
    place = url.removeprefix("https://").partition("/")[0]
    volume = replace(volume, git=git_server.rules(tokens={place: TOKEN}))

    opened = KIND.open(mint_session(), KIND.check({"url": url}, ()), volume)

    assert (opened.root / "plum.txt").read_text() == "secret\n"
    assert git("remote", "get-url", "origin", cwd=opened.root) == url
    everything = [path.read_bytes() for path in volume.root.rglob("*") if path.is_file()]
    assert everything
    assert not [text for text in everything if TOKEN.encode() in text]
    assert TOKEN not in repr(volume)


# What a repository can bring along that runs something where git is told to listen to it.
HOSTILE = {
    ".gitattributes": "* filter=evil diff=evil merge=evil\n",
    ".gitconfig": f'[core]\n\tfsmonitor = {TOUCH}\n[filter "evil"]\n\tsmudge = {TOUCH}\n\tclean = {TOUCH}\n',
    ".gitmodules": '[submodule "evil"]\n\tpath = evil\n\turl = ext::sh -c touch% CANARY\n\tupdate = !touch CANARY\n',
    ".githooks/post-checkout": f"#!/bin/sh\n{TOUCH}\n",
    ".lfsconfig": f"[lfs]\n\tstandalonetransferagent = {TOUCH}\n",
    "plum.txt": "ripe\n",
}


def test_a_hostile_repository_runs_nothing_while_it_is_cloned(git_server, volume, tmp_path, monkeypatch):
    canary = tmp_path / "canary"
    config = tmp_path / "hostile-config"
    config.write_text(f'[core]\n\tfsmonitor = touch {canary}\n[filter "evil"]\n\tsmudge = touch {canary} && cat\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("GIT_SSH_COMMAND", f"touch {canary}")
    monkeypatch.setenv("GIT_TEMPLATE_DIR", str(tmp_path))
    git_server.make("hostile", {path: text.replace("CANARY", str(canary)) for path, text in HOSTILE.items()})

    place = KIND.open(mint_session(), KIND.check({"url": git_server.url("hostile")}, ()), volume)

    assert (place.root / "plum.txt").read_text() == "ripe\n"
    assert not canary.exists()
    # The attribute itself is there: a git that listens to such a configuration does run it.
    subprocess.run(["git", "status"], cwd=place.root, check=True, capture_output=True)
    assert canary.exists()


CONFIGS = {
    "fsmonitor": "[core]\n\tfsmonitor = touch CANARY\n",
    "hooks": "[core]\n\thooksPath = evil\n",
    "pager": "[core]\n\tpager = touch CANARY\n[pager]\n\tstatus = touch CANARY\n",
    "ssh": "[core]\n\tsshCommand = touch CANARY\n",
    "askpass": "[core]\n\taskPass = touch CANARY\n",
    "credential helper": '[credential]\n\thelper = "!touch CANARY"\n',
    "alternate refs": "[core]\n\talternateRefsCommand = touch CANARY\n",
    "remote helper": '[remote "origin"]\n\turl = ext::sh -c touch% CANARY\n\tuploadpack = touch CANARY\n',
    "rewritten url": '[url "ext::sh -c touch% CANARY"]\n\tinsteadOf = https://example.com/\n',
    "included file": "[include]\n\tpath = evil-config\n",
}


@pytest.mark.parametrize("name", CONFIGS)
def test_what_an_agent_configures_is_not_heard_by_a_command_of_ours(git_server, volume, orchard, name):
    canary = volume.root.parent / "canary"
    place = KIND.open(mint_session(), KIND.check({"url": git_server.url("orchard")}, ()), volume)
    config = place.root / ".git/config"
    config.write_text(config.read_text() + CONFIGS[name].replace("CANARY", str(canary)))
    (place.root / ".git/evil-config").write_text(f"[core]\n\tfsmonitor = touch {canary}\n")
    (place.root / "evil").mkdir()
    for hook in ("post-checkout", "pre-commit", "reference-transaction", "post-index-change"):
        (place.root / "evil" / hook).write_text(f"#!/bin/sh\ntouch {canary}\n")
        (place.root / "evil" / hook).chmod(0o755)

    for args in (["status"], ["log", "-1"], ["diff", "--no-ext-diff", "--no-textconv"], ["branch", "plum"]):
        gitcmd.run_in(place, NoWalls(), args)
    with pytest.raises(GitFailed):
        gitcmd.run_in(place, NoWalls(), ["fetch", "origin"])

    assert not canary.exists()


def test_a_filter_of_the_agents_runs_behind_the_walls_alone(git_server, volume, orchard):
    seen = []

    class Walls(NoWalls):
        def enclose(self, spec, place, *, network, openings=()):
            seen.append((list(spec.argv)[-1], place.root, network))
            return super().enclose(spec, place, network=network, openings=openings)

    place = KIND.open(mint_session(), KIND.check({"url": git_server.url("orchard")}, ()), volume)
    gitcmd.run_in(place, Walls(), ["status"])

    assert seen == [("status", place.root, False)]


def test_a_repository_reached_through_links_of_an_agent_is_not_entered_by_another_session(git_server, volume, orchard):
    spec = KIND.check({"url": git_server.url("orchard")}, ())
    one = KIND.open(mint_session(), spec, volume)
    (one.root / ".git/objects/info/alternates").write_text("/\n")

    other = KIND.open(mint_session(), spec, volume)

    assert not (other.root / ".git/objects/info/alternates").exists()
    assert gitcmd.run(["fsck", "--full"], other.root, reach=Reach()).status == 0
    # Nothing of it is shared with the mirror: what one session writes into its files another does not see.
    assert {path.stat().st_nlink for path in other.root.rglob("*") if path.is_file()} == {1}
