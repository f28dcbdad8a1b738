"""A volume has one id for ever, whoever opens it first."""

from __future__ import annotations

import threading

import pytest

from shared.domain.errors import VolumeUnusable
from shared.workspaces.volume import ID_FILE, open_volume


def test_a_volume_keeps_its_id_and_no_other_file(tmp_path):
    first = open_volume(tmp_path / "new/volume", [tmp_path])

    again = open_volume(tmp_path / "new/volume")

    assert first.id == again.id
    assert first.id.startswith("vol_")
    assert first.allowed_roots == (tmp_path,)
    assert [path.name for path in first.root.iterdir()] == [ID_FILE]
    assert first.root.stat().st_mode & 0o777 == 0o700


def test_two_volumes_have_two_ids(tmp_path):
    assert open_volume(tmp_path / "one").id != open_volume(tmp_path / "two").id


def test_workers_that_open_a_new_volume_at_once_agree_on_its_id(tmp_path):
    start, ids = threading.Barrier(8), []

    def open_it():
        start.wait(10)
        ids.append(open_volume(tmp_path / "volume").id)

    threads = [threading.Thread(target=open_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert len(ids) == 8
    assert len(set(ids)) == 1
    assert [path.name for path in (tmp_path / "volume").iterdir()] == [ID_FILE]


def test_a_root_behind_a_symlink_is_kept_as_what_it_is(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")

    assert open_volume(tmp_path / "link").root == (tmp_path / "real").resolve()


@pytest.mark.parametrize("content", ["", "something else", "vol_", "vol_x/../y", "\xff"])
def test_an_id_file_that_holds_something_else_is_told_and_kept(tmp_path, content):
    (tmp_path / ID_FILE).write_text(content, encoding="latin-1")

    with pytest.raises(VolumeUnusable, match="CORRAL_WORKSPACE_ROOT"):
        open_volume(tmp_path)

    assert (tmp_path / ID_FILE).read_text(encoding="latin-1") == content


def test_a_root_that_is_a_file_is_told(tmp_path):
    (tmp_path / "file").write_text("x")

    with pytest.raises(VolumeUnusable, match="name a folder"):
        open_volume(tmp_path / "file")
