"""The worktree kind: a branch of its own, and a repository that is left as it was."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from shared.domain.errors import InvalidField, WorkspaceUnusable
from shared.domain.errors_git import GitFailed
from shared.domain.ids import mint_session
from shared.workspaces import gitcmd
from shared.workspaces.kind import NoWalls
from shared.workspaces.volume import open_volume
from shared.workspaces.worktree import Worktree
from tests.fixtures.git_server import git

KIND = Worktree()


@pytest.fixture
def repository(tmp_path):
    """A local repository on the allow-list, with one commit on main."""
    repository = tmp_path.resolve() / "projects/app"
    repository.mkdir(parents=True)
    git("init", "-q", "-b", "main", cwd=repository)
    (repository / "plum.txt").write_text("ripe\n")
    git("add", ".", cwd=repository)
    git("commit", "-q", "-m", "plum", cwd=repository)
    return repository


@pytest.fixture
def volume(tmp_path, repository):
    return open_volume(tmp_path / "volume", [repository.parent])


def branches(repository):
    return git("for-each-ref", "--format=%(refname:short)", "refs/heads", cwd=repository).split()


def test_a_local_repository_gets_a_worktree_on_a_branch_of_its_own_and_is_left_as_it_was(repository, volume):
    session, spec = mint_session(), KIND.check({"path": str(repository)}, [repository.parent])

    place = KIND.open(session, spec, volume)
    again = KIND.open(session, spec, volume)
    (place.root / "made").write_text("x")
    told = gitcmd.run_in(place, NoWalls(), ["status", "--porcelain", "--branch"]).output.decode()
    found = KIND.find(session, spec, volume)
    KIND.remove(session, spec, volume)
    KIND.remove(session, spec, volume)

    assert place == again == found
    assert (place.managed, place.openings) == (True, [repository / ".git"])
    assert told == f"## corral/{session}\n?? made\n"
    assert not place.root.exists()
    assert branches(repository) == ["main"]
    assert git("worktree", "list", "--porcelain", cwd=repository).count("worktree ") == 1
    assert (repository / "plum.txt").read_text() == "ripe\n"


def test_a_branch_with_commits_of_its_own_outlives_its_worktree(repository, volume):
    session, spec = mint_session(), KIND.check({"path": str(repository), "branch": "feature/plum"}, ())
    place = KIND.open(session, spec, volume)
    git("commit", "-q", "--allow-empty", "-m", "mine", cwd=place.root)

    KIND.remove(session, spec, volume)

    assert branches(repository) == ["feature/plum", "main"]


def test_no_two_sessions_share_a_branch_and_none_takes_one_that_is_there(repository, volume):
    wish = KIND.check({"path": str(repository), "branch": "plum"}, ())
    KIND.open(mint_session(), wish, volume)

    for branch in ("plum", "main", "main/inner"):
        late = mint_session()
        with pytest.raises(GitFailed, match="branch"):
            KIND.open(late, {**wish, "branch": branch}, volume)
        KIND.remove(late, {**wish, "branch": branch}, volume)

    assert branches(repository) == ["main", "plum"]


def test_a_fork_begins_at_the_commit_and_with_the_changes_of_its_source(repository, volume):
    source, copy, spec = mint_session(), mint_session(), KIND.check({"path": str(repository)}, ())
    place = KIND.open(source, spec, volume)
    git("commit", "-q", "--allow-empty", "-m", "mine", cwd=place.root)
    (place.root / "plum.txt").write_text("changed\n")
    (place.root / "made").write_text("new\n")

    forked = KIND.open(copy, KIND.fork(spec, source), volume)

    assert git("rev-parse", "HEAD", cwd=forked.root) == git("rev-parse", "HEAD", cwd=place.root)
    assert git("status", "--porcelain", "--branch", cwd=forked.root) == f"## corral/{copy}\n M plum.txt\n?? made"
    (forked.root / "plum.txt").write_text("its own\n")
    assert (place.root / "plum.txt").read_text() == "changed\n"


def test_one_that_broke_off_is_made_anew(repository, volume):
    session, spec = mint_session(), KIND.check({"path": str(repository)}, ())
    place = KIND.open(session, spec, volume)
    note = place.root.parent / "worktree"
    note.write_text(note.read_text().replace("true", "false"))
    (place.root / "plum.txt").unlink()

    assert KIND.find(session, spec, volume) is None
    KIND.open(session, spec, volume)

    assert (place.root / "plum.txt").read_text() == "ripe\n"


def test_only_the_top_of_an_allowed_repository_is_taken(repository, volume, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(repository, elsewhere)
    linked = repository.parent / "linked"
    linked.mkdir()
    (linked / ".git").symlink_to(elsewhere / ".git")
    (repository / "inner").mkdir()
    (repository.parent / "empty").mkdir()
    git("init", "-q", cwd=repository.parent / "empty")

    for path in (elsewhere, linked, repository / "inner", repository.parent / "gone", repository.parent / "empty"):
        session, spec = mint_session(), {"kind": "worktree", "path": str(path)}
        with pytest.raises((WorkspaceUnusable, GitFailed)):
            KIND.open(session, spec, volume)
        KIND.remove(session, spec, volume)


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({}, "workspace"),
        ({"path": "/srv/app", "url": "acme/orchard"}, "workspace"),
        ({"path": "../app"}, "workspace.path"),
        ({"path": "/srv/app", "branch": "-x"}, "workspace.branch"),
        ({"path": "/srv/app", "branch": "a..b"}, "workspace.branch"),
        ({"path": "/srv/app", "ref": "HEAD:x"}, "workspace.ref"),
        ({"path": "/srv/app", "depth": 1}, "workspace.depth"),
        ({"url": "file:///srv/app"}, "workspace.url"),
        ({"url": "acme/orchard", "kind": "git"}, "workspace.kind"),
    ],
)
def test_a_spec_that_cannot_be_taken_is_refused_by_field(spec, field):
    with pytest.raises(InvalidField) as refused:
        KIND.check(spec, ())

    assert refused.value.facts["field"] == field


def test_of_a_repository_on_a_server_two_sessions_get_clones_and_no_branch_twice(git_server, volume):
    git_server.make("orchard", {"plum.txt": "ripe\n"})
    volume = replace(volume, git=git_server.rules())
    spec = KIND.check({"url": git_server.url("orchard"), "branch": "plum"}, ())
    one, other = mint_session(), mint_session()

    place = KIND.open(one, spec, volume)
    with pytest.raises(GitFailed, match="another session"):
        KIND.open(other, spec, volume)
    with pytest.raises(GitFailed, match="has a branch main"):
        KIND.open(other, {**spec, "branch": "main"}, volume)
    KIND.remove(one, spec, volume)
    later = KIND.open(other, spec, volume)

    assert not place.root.exists()
    assert git("branch", "--show-current", cwd=later.root) == "plum"
    assert later.openings == ()
