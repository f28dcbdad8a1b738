"""Mirrors: as fresh as their server, no way around it, and no more of them than the operator has room for."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from shared.domain.addresses import AddressRules
from shared.domain.errors_git import GitFailed
from shared.domain.git import GitRules, remote_of
from shared.workspaces import gitreach, mirrors
from shared.workspaces.volume import open_volume
from tests.fixtures.git_server import TOKEN, git


@pytest.fixture
def volume(tmp_path, git_server):
    return replace(open_volume(tmp_path / "volume"), git=git_server.rules())


def test_each_use_sees_what_the_server_has_now_and_mends_what_a_killed_fetch_left(git_server, volume):
    git_server.make("plums", {"plum.txt": "one\n"})
    remote = remote_of(git_server.url("plums"))
    with mirrors.refreshed(volume, remote) as mirror:
        before = git("rev-parse", "main", cwd=mirror.path)
    (mirror.path / "packed-refs.lock").touch()
    (mirror.path / "objects/pack").mkdir(exist_ok=True)
    (mirror.path / "objects/pack/tmp_pack_x").touch()
    git_server.commit("plums", {"plum.txt": "two\n"})
    git_server.push("plums", "main", "main:refs/heads/other")
    git_server.push("plums", ":refs/heads/absent", "main")

    with mirrors.refreshed(volume, remote) as mirror:
        after = git("rev-parse", "main", "other", cwd=mirror.path).split()

    assert (mirror.head, before in after, len(set(after))) == ("main", False, 1)
    assert not (mirror.path / "objects/pack/tmp_pack_x").exists()


def test_clones_that_begin_together_on_a_new_volume_all_get_what_they_ask_for(git_server, volume):
    remotes = [remote_of(git_server.url(f"together/{name}")) for name in "abcdefgh"]
    for name in "abcdefgh":
        git_server.make(f"together/{name}", {"plum.txt": f"{name}\n"})
    ready = threading.Barrier(len(remotes))

    def begin(remote):
        ready.wait(30)
        with mirrors.refreshed(volume, remote) as mirror:
            return mirror.head

    with ThreadPoolExecutor(len(remotes)) as pool:
        heads = list(pool.map(begin, remotes))

    assert heads == ["main"] * len(remotes)
    assert sorted(one.name for one in (volume.root / "mirrors").glob("*askpass*")) == ["askpass"]


def test_who_lost_access_gets_nothing_from_the_mirror(git_server, volume):
    git_server.make("private/plums", {"plum.txt": "one\n"})
    remote = remote_of(git_server.url("private/plums"))
    known = replace(volume, git=git_server.rules(tokens={remote.place: TOKEN}))

    with mirrors.refreshed(known, remote) as mirror:
        assert mirror.path.is_dir()
    with pytest.raises(GitFailed, match="CORRAL_GIT_TOKENS"), mirrors.refreshed(volume, remote):
        pytest.fail("the mirror was opened")


def test_the_longest_unused_mirrors_go_first_and_the_one_in_use_stays(git_server, volume):
    names = ["first", "second", "third"]
    paths = []
    for age, name in enumerate(names):
        git_server.make(name, {"plum.txt": name})
        with mirrors.refreshed(volume, remote_of(git_server.url(name))) as mirror:
            paths.append(mirror.path)
        old = time.time() - 86400 + age
        os.utime(mirror.path, (old, old))
    room = sum(map(mirrors.size_bytes, paths[1:])) + 1000
    tight = replace(volume, git=git_server.rules(mirrors_bytes=room))

    with mirrors.refreshed(tight, remote_of(git_server.url("third"))):
        pass

    assert [path.is_dir() for path in paths] == [False, True, True]


def test_ssh_goes_to_the_address_that_was_looked_at_with_the_operators_key_alone(tmp_path):
    allowed = AddressRules.read(["127.0.0.0/8"], ["22"])
    rules = GitRules(addresses=allowed, ssh_key=Path("/keys/plum"), known_hosts=Path("/keys/known hosts"))

    reach = gitreach.reach(rules, remote_of("git@127.0.0.1:acme/orchard.git"), tmp_path / "askpass")

    command = reach.env["GIT_SSH_COMMAND"]
    assert reach.protocols == "ssh"
    assert command.startswith("ssh -F /dev/null -oBatchMode=yes -oStrictHostKeyChecking=yes ")
    for option in ("-oHostName=127.0.0.1", "-oIdentityFile=/keys/plum", "-oIdentityAgent=none", "'-oUserKnownHosts"):
        assert option in command
    assert "GIT_ASKPASS" not in reach.env
