"""A workspace copied: whole or not at all, links as links, nothing but files and folders."""

from __future__ import annotations

import os

import pytest

from shared.domain.errors import WorkspaceUnusable
from shared.domain.ids import mint_session
from shared.workspaces.copying import copy_tree
from shared.workspaces.folder import Folder
from shared.workspaces.volume import open_volume


@pytest.fixture
def source(tmp_path):
    source = tmp_path / "source"
    (source / "deep" / "er").mkdir(parents=True)
    (source / "deep" / "er" / "plum.txt").write_text("one")
    (source / "run.sh").write_text("#!/bin/sh\n")
    (source / "run.sh").chmod(0o755)
    (source / "inside").symlink_to("deep/er/plum.txt")
    (source / "outside").symlink_to("/etc/passwd")
    os.mkfifo(source / "pipe")
    return source


def test_files_folders_modes_and_links_are_copied_and_pipes_are_not(source, tmp_path):
    copy_tree(source, tmp_path / "copy")

    copy = tmp_path / "copy"
    assert sorted(path.name for path in copy.iterdir()) == ["deep", "inside", "outside", "run.sh"]
    assert (copy / "deep" / "er" / "plum.txt").read_text() == "one"
    assert (copy / "run.sh").stat().st_mode & 0o777 == 0o755
    assert (copy / "outside").readlink() == (source / "outside").readlink()
    assert copy.stat().st_mode & 0o777 == 0o700
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "source"]


def test_what_is_there_already_stays(source, tmp_path):
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "mine").write_text("mine")

    copy_tree(source, tmp_path / "copy")

    assert [path.name for path in (tmp_path / "copy").iterdir()] == ["mine"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "source"]


def test_a_source_that_is_gone_or_a_link_is_refused(source, tmp_path):
    (tmp_path / "link").symlink_to(source)

    for wrong in (tmp_path / "gone", tmp_path / "link", source / "run.sh"):
        with pytest.raises(WorkspaceUnusable):
            copy_tree(wrong, tmp_path / "copy")

    assert not (tmp_path / "copy").exists()


def test_a_forked_folder_begins_with_the_files_and_goes_its_own_way(tmp_path):
    folder, volume = Folder(), open_volume(tmp_path / "volume")
    first, second = mint_session(), mint_session()
    place = folder.open(first, {"kind": "folder"}, volume)
    (place.root / "plum.txt").write_text("one")
    spec = folder.fork({"kind": "folder"}, first)

    forked = folder.open(second, spec, volume)
    (place.root / "plum.txt").write_text("two")
    again = folder.open(second, spec, volume)

    assert (again.root / "plum.txt").read_text() == "one"
    assert forked.managed
    assert forked.root != place.root


def test_a_fork_of_an_existing_folder_works_in_it(tmp_path):
    spec = {"kind": "folder", "path": str(tmp_path)}

    assert Folder().fork(spec, mint_session()) == spec
