"""git, bounded: what it may not outlast, may not flood, may not listen to, and what of its words callers see."""

from __future__ import annotations

import subprocess
import time

import pytest

from shared.domain.errors_git import GitFailed, GitTimedOut, NotARepository
from shared.workspaces.gitcmd import Bounds, run, run_in
from shared.workspaces.kind import NoWalls, Place


@pytest.fixture
def place(tmp_path):
    root, home = tmp_path / "workspace", tmp_path / "home"
    home.mkdir()
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    return Place(root, home, managed=True)


def test_output_beyond_its_bound_is_cut_and_said_to_be(place):
    (place.root / "large").write_text("plum\n" * 100_000)

    whole = run_in(place, NoWalls(), ["hash-object", "large"])
    cut = run_in(place, NoWalls(), ["diff", "--no-index", "/dev/null", "large"], bounds=Bounds(output_bytes=1000))

    assert (len(whole.output), whole.truncated) == (41, False)
    assert (len(cut.output), cut.truncated) == (1000, True)


def test_a_command_that_takes_too_long_is_killed_with_what_it_started(place):
    (place.root / ".git/config").write_text('[alias]\n\tnap = "!sleep 60 & echo $! > pid; sleep 60"\n')

    began = time.monotonic()
    with pytest.raises(GitTimedOut):
        run_in(place, NoWalls(), ["nap"], bounds=Bounds(timeout_s=0.5))

    assert time.monotonic() - began < 30
    gone = subprocess.run(["ps", "-o", "stat=", "-p", (place.root / "pid").read_text().strip()], capture_output=True)  # noqa: PLW1510
    assert gone.stdout.strip()[:1] in (b"", b"Z")


def test_who_watches_ends_a_command_by_raising(place):
    def full():
        raise GitFailed("nap", "it is too large")

    (place.root / ".git/config").write_text('[alias]\n\tnap = "!sleep 60"\n')

    with pytest.raises(GitFailed, match="too large"):
        run(["nap"], place.root, watch=full)


def test_a_repository_above_the_workspace_is_not_seen(place):
    inner = Place(place.root / "inner", place.home, managed=True)
    inner.root.mkdir()

    with pytest.raises(NotARepository):
        run_in(inner, NoWalls(), ["status"])


def test_neither_fsmonitor_nor_hooks_nor_the_agents_own_config_are_heard(place):
    canary = place.root.parent / "canary"
    touch = f"#!/bin/sh\ntouch {canary}\n"
    hook = place.root / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    for script in (hook, place.home / "monitor"):
        script.write_text(touch)
        script.chmod(0o755)
    (place.home / ".gitconfig").write_text(f"[core]\n\tfsmonitor = {place.home}/monitor\n")
    (place.root / ".git/config").write_text(f"[core]\n\tfsmonitor = {place.home}/monitor\n\thooksPath = .git/hooks\n")

    run_in(place, NoWalls(), ["status"])
    who = ["-c", "user.name=A", "-c", "user.email=a@example.com"]
    run_in(place, NoWalls(), [*who, "commit", "-q", "--allow-empty", "-m", "plum"])

    assert not canary.exists()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["clone", "--", "ext::sh -c touch% /tmp/x", "there"], "not allowed"),
        (["clone", "--", "https://192.0.2.1/secret-name", "there"], "not allowed"),
        (["rev-parse", "--verify", "no-such-ref^{commit}"], "status 128"),
        (["fetch", "--", "/secret/path"], "git fetch"),
    ],
)
def test_a_failure_names_neither_paths_nor_hosts(place, args, words):
    with pytest.raises(GitFailed, match=words) as failed:
        run_in(place, NoWalls(), args)

    assert failed.value.code == "git_failed"
    assert not any(word in failed.value.message for word in ("secret", str(place.root), "192.0.2.1"))
