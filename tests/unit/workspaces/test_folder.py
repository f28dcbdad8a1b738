"""The folder kind: what a caller may name, what it may not, and what is never removed."""

from __future__ import annotations

import os
import stat

import pytest

from shared.domain.errors import InvalidField, WorkspaceUnusable
from shared.domain.ids import mint_session
from shared.workspaces.folder import Folder
from shared.workspaces.volume import open_volume

FOLDER = Folder()


@pytest.fixture
def project(tmp_path):
    """An existing folder on the allow-list."""
    project = tmp_path.resolve() / "projects/app"
    project.mkdir(parents=True)
    (project / "source").write_text("precious")
    return project


@pytest.fixture
def volume(tmp_path, project):
    return open_volume(tmp_path / "volume", [project.parent])


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"path": 5}, "workspace.path"),
        ({"path": True}, "workspace.path"),
        ({"path": ["/x"]}, "workspace.path"),
        ({"path": {}}, "workspace.path"),
        ({"path": ""}, "workspace.path"),
        ({"path": "relative"}, "workspace.path"),
        ({"path": "~/x"}, "workspace.path"),
        ({"path": "/srv/../etc"}, "workspace.path"),
        ({"path": "/srv/.."}, "workspace.path"),
        ({"path": "/srv/a\0b"}, "workspace.path"),
        ({"path": "/srv/\ud800"}, "workspace.path"),
        ({"path": "/" + "x/" * 3000}, "workspace.path"),
        ({"kind": "git"}, "workspace.kind"),
        ({"kind": 1}, "workspace.kind"),
        ({"root": "/srv"}, "workspace.root"),
    ],
)
def test_a_spec_that_cannot_be_taken_is_refused_by_field(spec, field):
    with pytest.raises(InvalidField) as refused:
        FOLDER.check(spec, ())

    assert refused.value.facts["field"] == field


@pytest.mark.parametrize(
    ("spec", "completed"),
    [
        ({}, {"kind": "folder"}),
        ({"path": None}, {"kind": "folder"}),
        ({"kind": "folder", "path": "/srv//app/./x/"}, {"kind": "folder", "path": "/srv/app/x"}),
    ],
)
def test_a_spec_is_completed_and_normalised(spec, completed):
    assert FOLDER.check(spec, ()) == completed


def test_where_the_allow_list_is_known_a_foreign_path_is_refused_at_once(project):
    assert FOLDER.check({"path": str(project)}, [project.parent])
    with pytest.raises(InvalidField, match="CORRAL_ALLOWED_FOLDERS"):
        FOLDER.check({"path": "/etc"}, [project.parent])


def test_an_existing_folder_is_opened_where_it_is_and_never_removed(project, volume):
    session, spec = mint_session(), FOLDER.check({"path": str(project)}, ())

    place = FOLDER.open(session, spec, volume)
    FOLDER.remove(session, spec, volume)

    assert (place.root, place.managed) == (project, False)
    assert place.home.is_relative_to(volume.root)
    assert not place.home.exists()
    assert (project / "source").read_text() == "precious"


def test_a_symlink_to_an_allowed_folder_is_opened_as_what_it_names(tmp_path, project, volume):
    (project.parent / "link").symlink_to(project)

    assert FOLDER.open(mint_session(), {"path": str(project.parent / "link")}, volume).root == project


@pytest.mark.parametrize("path", ["/", "/etc", "{allowed}/none", "{allowed}-not", "{allowed}/out", "{allowed}/file"])
def test_what_is_not_allowed_or_no_folder_is_not_opened_and_nothing_is_made(path, project, volume):
    allowed = project.parent
    allowed.with_name("projects-not").mkdir()
    (allowed / "out").symlink_to("/etc")
    (allowed / "file").write_text("x")

    with pytest.raises(WorkspaceUnusable):
        FOLDER.open(mint_session(), {"path": path.format(allowed=allowed)}, volume)

    assert not (volume.root / "sessions").exists()


@pytest.mark.parametrize("inner", [".", "sessions"])
def test_the_workspaces_of_others_cannot_be_opened_by_path(tmp_path, inner):
    volume = open_volume(tmp_path / "volume", [tmp_path])
    (volume.root / "sessions").mkdir()

    for path in (volume.root / inner, volume.root.parent):
        with pytest.raises(WorkspaceUnusable, match="other sessions"):
            FOLDER.open(mint_session(), {"path": str(path)}, volume)


def test_nothing_is_allowed_where_no_folder_is_named(tmp_path, project):
    with pytest.raises(WorkspaceUnusable):
        FOLDER.open(mint_session(), {"path": str(project)}, open_volume(tmp_path / "volume"))


def test_a_folder_that_may_not_be_written_is_refused(project, volume, monkeypatch):
    # Root may write everything, so the kernel's answer is given here.
    monkeypatch.setattr(os, "access", lambda *_: False)

    with pytest.raises(WorkspaceUnusable, match="read and written"):
        FOLDER.open(mint_session(), {"path": str(project)}, volume)


@pytest.mark.parametrize("name", ["workspace", "home", "."])
def test_a_symlink_an_agent_put_in_its_place_is_not_entered(name, tmp_path, volume):
    session = mint_session()
    own = FOLDER.open(session, {}, volume).root.parent
    outside = tmp_path / "outside"
    outside.mkdir()
    place = (own / name).resolve()
    place.rename(tmp_path / "moved")
    place.symlink_to(outside)

    with pytest.raises(WorkspaceUnusable):
        FOLDER.open(session, {}, volume)
    FOLDER.remove(session, {}, volume)

    assert outside.is_dir()
    assert not own.exists()
    assert not own.is_symlink()


def test_removing_does_not_follow_symlinks_out_and_needs_no_write_permission(tmp_path, volume):
    session = mint_session()
    place = FOLDER.open(session, {}, volume)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").write_text("x")
    (place.root / "out").symlink_to(tmp_path / "outside")
    closed = place.root / "cache/module"
    closed.mkdir(parents=True)
    (closed / "file").write_text("x")
    closed.chmod(stat.S_IRUSR | stat.S_IXUSR)
    closed.parent.chmod(0)

    FOLDER.remove(session, {}, volume)

    assert not place.root.exists()
    assert (tmp_path / "outside/file").exists()


def test_folders_nested_deeper_than_a_stack_are_removed(volume):
    session = mint_session()
    here = os.open(FOLDER.open(session, {}, volume).root, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("deeper", dir_fd=here)
        below = os.open("deeper", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)

    FOLDER.remove(session, {}, volume)

    assert not (volume.root / "sessions" / session).exists()


def test_a_volume_that_cannot_be_written_is_told_without_its_path(tmp_path, volume):
    (volume.root / "sessions").write_text("a file where a folder should be")

    with pytest.raises(WorkspaceUnusable) as refused:
        FOLDER.open(mint_session(), {}, volume)

    assert str(tmp_path) not in str(refused.value)
