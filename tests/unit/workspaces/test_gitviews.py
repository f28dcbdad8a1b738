"""What git says of a workspace, with a real git: as it is there, bounded, and whatever the repository's own wishes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from shared.domain.errors import InvalidField
from shared.domain.errors_git import NotARepository
from shared.workspaces import gitviews
from shared.workspaces.kind import NoWalls, Place

WALLS = NoWalls()
ME = {
    "GIT_AUTHOR_NAME": "Ann Ödegård",
    "GIT_AUTHOR_EMAIL": "ann@example.com",
    "GIT_COMMITTER_NAME": "c",
    "GIT_COMMITTER_EMAIL": "c@example.com",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
}


def git(root: Path, *args: str) -> str:
    done = subprocess.run(
        ["git", *args], cwd=root, env={**os.environ, **ME}, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def place(tmp_path):
    """A repository with one commit."""
    root = tmp_path.resolve() / "workspace"
    (root / "src").mkdir(parents=True)
    git(root, "init", "-q", "-b", "main")
    (root / "src/app.py").write_text("one\ntwo\n")
    (root / "old").write_text("a file that moves\n" * 5)
    (root / "gone").write_text("x\n")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "First\n\nbody")
    return Place(root=root, home=root, managed=True)


def test_the_diff_shows_changed_new_and_removed_files_and_can_be_applied(place, tmp_path):
    root = place.root
    (root / "src/app.py").write_text("one\n2\n")
    (root / "gone").unlink()
    (root / "src/new.py").write_text("a\nb\n")
    (root / "no newline").write_text("end")
    (root / "empty").touch()
    (root / ".gitignore").write_text("ignored\n")
    (root / "ignored").write_text("x")
    (root / "out").symlink_to("/etc/passwd")

    found = gitviews.diff(place, WALLS)

    assert (found.base, found.truncated) == (git(root, "rev-parse", "HEAD"), False)
    assert "-two\n+2\n" in found.text
    assert "root:" not in found.text
    assert "b/ignored" not in found.text
    copy = tmp_path / "copy"
    git(tmp_path, "clone", "-q", str(root), str(copy))
    subprocess.run(["git", "apply", "-"], cwd=copy, input=found.text.encode(), check=True)
    assert (copy / "src/new.py").read_text() == "a\nb\n"
    assert (copy / "no newline").read_text() == "end"
    assert (copy / "empty").exists()
    assert not (copy / "gone").exists()


def test_the_diff_from_another_commit_and_before_the_first_one(place):
    first = git(place.root, "rev-parse", "HEAD")
    (place.root / "second").write_text("x\n")
    git(place.root, "add", ".")
    git(place.root, "commit", "-q", "-m", "Second")

    assert gitviews.diff(place, WALLS).text == ""
    assert "+++ b/second" in gitviews.diff(place, WALLS, base=first).text
    git(place.root, "checkout", "-q", "--orphan", "fresh")
    unborn = gitviews.diff(place, WALLS)
    assert (unborn.base, "+++ b/src/app.py" in unborn.text) == (None, True)
    assert gitviews.log(place, WALLS, limit=5) == ()
    assert gitviews.status(place, WALLS).head is None


@pytest.mark.parametrize("base", ["none", "--output=x", "-p", "a..b", "HEAD:src", "", "x y", "a" * 201, "@{-1}"])
def test_a_base_that_is_no_commit_is_refused(place, base):
    with pytest.raises(InvalidField):
        gitviews.diff(place, WALLS, base=base)

    assert not (place.root / "x").exists()


def test_a_diff_too_large_is_cut_and_says_so(place, monkeypatch):
    monkeypatch.setattr(gitviews, "DIFF_BYTES", 1000)
    (place.root / "new").write_text("line\n" * 400)
    assert gitviews.diff(place, WALLS).truncated
    (place.root / "new").unlink()
    (place.root / "old").write_text("other\n" * 400)

    found = gitviews.diff(place, WALLS)

    assert (len(found.text), found.truncated) == (1000, True)


def test_what_git_does_not_know_and_is_no_text_is_named_only(place):
    (place.root / "blob").write_bytes(b"a\0b")
    (place.root / "large").write_text("x" * (gitviews.NEW_BYTES + 1))
    os.mkfifo(place.root / "fifo")

    found = gitviews.diff(place, WALLS)

    assert "Binary files /dev/null and b/blob differ" in found.text
    assert "b/large\nnew file mode 100644\nToo large" in found.text
    assert "fifo" not in found.text


def test_the_status_names_every_change(place):
    root = place.root
    git(root, "mv", "old", "new name")
    (root / "src/app.py").write_text("changed\n")
    (root / "gone").unlink()
    (root / "added").write_text("x")
    git(root, "add", "added")
    (root / "ünknown").write_text("x")

    found = gitviews.status(place, WALLS)

    assert (found.branch, found.head, found.upstream) == ("main", git(root, "rev-parse", "HEAD"), None)
    assert {(one.path, one.status, one.staged, one.old_path) for one in found.changes} == {
        ("new name", "renamed", True, "old"),
        ("src/app.py", "modified", False, None),
        ("gone", "deleted", False, None),
        ("added", "added", True, None),
        ("ünknown", "untracked", False, None),
    }


def test_the_status_tells_how_far_a_branch_is_from_the_one_it_follows_and_a_detached_head(place, tmp_path):
    copy = tmp_path / "copy"
    git(tmp_path, "clone", "-q", str(place.root), str(copy))
    git(copy, "commit", "-q", "--allow-empty", "-m", "more")
    there = Place(root=copy.resolve(), home=copy, managed=True)

    found = gitviews.status(there, WALLS)

    assert (found.upstream, found.ahead, found.behind, found.changes) == ("origin/main", 1, 0, ())
    git(copy, "checkout", "-q", "--detach")
    assert gitviews.status(there, WALLS).branch is None


def test_the_log_is_newest_first_and_pages(place):
    git(place.root, "commit", "-q", "--allow-empty", "-m", "Second: ünï\x1f \n\nbody")

    commits = gitviews.log(place, WALLS, limit=10)

    assert [one.subject for one in gitviews.log(place, WALLS, limit=1, skip=1)] == ["First"]
    assert [one.subject for one in commits] == ["Second: ünï\x1f", "First"]
    assert commits[0].parents == (commits[1].id,)
    assert (commits[-1].author, commits[-1].parents) == ("Ann Ödegård", ())


def test_a_folder_that_is_no_repository_says_so_also_beneath_one(place):
    inner = place.root / "src"

    for ask in (gitviews.diff, gitviews.status, lambda *at: gitviews.log(*at, limit=1)):
        with pytest.raises(NotARepository):
            ask(Place(root=inner, home=inner, managed=True), WALLS)


def test_what_the_repository_wishes_of_git_is_not_done(place):
    """What runs nothing even without walls; filters, which git cannot be told to leave out, are the walls' business."""
    root, canary = place.root, place.root / "canary"
    program = root / "program"
    program.write_text(f"#!/bin/sh\ntouch {canary}\n")
    program.chmod(0o755)
    for name in (
        "core.fsmonitor", "core.pager", "pager.diff", "pager.log", "diff.external", "core.sshCommand", "gpg.program",
        "diff.evil.textconv", "diff.evil.command",
    ):  # fmt: skip
        git(root, "config", name, str(program))
    git(root, "config", "log.showSignature", "true")
    git(root, "config", "color.ui", "always")
    git(root, "config", "diff.noprefix", "true")
    (root / ".gitattributes").write_text("* diff=evil\n")
    (root / "src/app.py").write_text("changed\n")

    text = gitviews.diff(place, WALLS).text
    gitviews.status(place, WALLS)
    gitviews.log(place, WALLS, limit=5)

    assert not canary.exists()
    assert "--- a/src/app.py\n+++ b/src/app.py\n" in text
