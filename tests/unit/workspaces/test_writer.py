"""Writing into a workspace: whole or not at all, through no symlink, and nothing outside is ever touched."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import threading
import time
from pathlib import Path

import pytest

from shared.domain.errors import InvalidField, NotFound, WorkspaceUnusable
from shared.domain.errors_files import FileThere, FolderNotEmpty, VolumeFull, WorkspaceFull
from shared.workspaces import writer
from shared.workspaces.kind import Place
from shared.workspaces.room import Bounds, measure
from shared.workspaces.writer import Incoming

SECRET = "outside, and not to be changed"


@pytest.fixture
def root(tmp_path):
    """A workspace with one of everything, beside files nobody may change."""
    tmp_path = tmp_path.resolve()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_text(SECRET)
    root = tmp_path / "workspace"
    (root / "sub").mkdir(parents=True)
    (root / "file").write_text("old")
    (root / "to-file").symlink_to("file")
    (root / "to-sub").symlink_to("sub")
    (root / "to-outside").symlink_to("../outside")
    (root / "to-secret").symlink_to("../outside/secret")
    (root / "dangling").symlink_to("../outside/made")
    (root / "hard").hardlink_to(tmp_path / "outside/secret")
    os.mkfifo(root / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / "socket"))
    return root


def write(root: Path, path: str, data: bytes = b"new", *, create_only: bool = False) -> writer.Written:
    incoming = Incoming(root, path)
    try:
        incoming.put(data)
        return incoming.publish(create_only=create_only)
    finally:
        incoming.close()


def outside(root: Path) -> list[str]:
    return [found.name for found in (root.parent / "outside").iterdir()]


def left_over(root: Path) -> list[str]:
    return [found.name for found in root.rglob(f"{writer.UNFINISHED}*")]


def test_a_file_is_made_with_the_folders_above_it_and_replaced_whole(root):
    made = write(root, "a/b/c.txt", b"one")
    again = write(root, "./a//b/c.txt", b"two!")

    assert (made.is_new, again.is_new) == (True, False)
    assert (again.entry.path, again.entry.type, again.entry.size_bytes) == ("a/b/c.txt", "file", 4)
    assert (root / "a/b/c.txt").read_text() == "two!"
    assert stat.S_IMODE((root / "a/b/c.txt").stat().st_mode) == 0o644
    assert left_over(root) == []


def test_a_replaced_script_stays_one(root):
    (root / "file").chmod(0o4755)

    write(root, "file")

    assert stat.S_IMODE((root / "file").stat().st_mode) == 0o755


@pytest.mark.parametrize(
    ("path", "refusal"),
    [
        ("", InvalidField),
        (".", InvalidField),
        ("..", InvalidField),
        ("/etc/x", InvalidField),
        ("../outside/secret", InvalidField),
        ("sub/../../outside/secret", InvalidField),
        ("file\0x", InvalidField),
        ("x" * 256, InvalidField),
        ("\ud800", InvalidField),
        ("file/below", InvalidField),
        ("to-file", InvalidField),
        ("to-sub/x", InvalidField),
        ("to-outside/x", InvalidField),
        ("to-secret", InvalidField),
        ("dangling", InvalidField),
        ("fifo", InvalidField),
        ("socket", InvalidField),
        ("sub", InvalidField),
    ],
)
def test_what_is_no_plain_file_inside_is_not_written(root, path, refusal):
    with pytest.raises(refusal) as refused:
        write(root, path)

    assert str(root.parent) not in str(refused.value)
    assert (root.parent / "outside/secret").read_text() == SECRET
    assert (outside(root), left_over(root)) == (["secret"], [])


def test_a_second_name_of_a_file_outside_is_replaced_and_the_file_stays(root):
    write(root, "hard")

    assert (root / "hard").read_text() == "new"
    assert (root.parent / "outside/secret").read_text() == SECRET


def test_a_file_that_is_there_can_be_spared(root):
    with pytest.raises(FileThere):
        write(root, "file", create_only=True)

    assert write(root, "fresh", create_only=True).is_new
    assert (root / "file").read_text() == "old"
    assert (root / "fresh").stat().st_nlink == 1
    assert left_over(root) == []


def test_what_is_given_up_leaves_the_old_file_and_nothing_else(root):
    incoming = Incoming(root, "file")
    incoming.put(b"half")
    incoming.close()
    incoming.close()

    assert (root / "file").read_text() == "old"
    assert left_over(root) == []


def test_a_workspace_that_is_gone_is_not_made_anew(root):
    with pytest.raises(WorkspaceUnusable):
        write(root.parent / "gone", "x")

    assert not (root.parent / "gone").exists()


def test_a_symlink_is_removed_and_not_what_it_names(root):
    for path, kind in [("to-outside", "symlink"), ("hard", "file"), ("fifo", "other"), ("sub", "folder")]:
        assert writer.remove(root, path).type == kind

    assert (outside(root), (root.parent / "outside/secret").read_text()) == (["secret"], SECRET)


@pytest.mark.parametrize(
    ("path", "refusal"),
    [
        (".", InvalidField),
        ("../outside", InvalidField),
        ("to-sub/x", InvalidField),
        ("to-outside/secret", InvalidField),
        ("none", NotFound),
        ("none/below", NotFound),
        ("full", FolderNotEmpty),
    ],
)
def test_what_cannot_be_removed_stays(root, path, refusal):
    (root / "full").mkdir()
    (root / "full/file").write_text("x")

    with pytest.raises(refusal):
        writer.remove(root, path)

    assert (root / "full/file").exists()
    assert outside(root) == ["secret"]


def test_a_folder_goes_with_all_that_is_in_it_but_not_what_its_symlinks_name(root):
    (root / "full/deep").mkdir(parents=True)
    (root / "full/deep/out").symlink_to("../../../outside")

    writer.remove(root, "full", recursive=True)

    assert not (root / "full").exists()
    assert outside(root) == ["secret"]


def test_no_descriptor_is_left_open(root):
    before = len(list(Path("/proc/self/fd").iterdir()))

    for path in ("file", "a/b/c", "fifo", "to-outside/x", "file/x", "sub"):
        for ask in (write, writer.remove):
            try:
                ask(root, path)
            except (InvalidField, NotFound, FolderNotEmpty):
                continue

    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_swap_of_folder_and_symlink_never_lets_a_byte_out(root):
    (root / "inside").mkdir()
    (root / "way-out").symlink_to("../outside")
    done = threading.Event()

    def swap():
        while not done.is_set():
            for name in ("inside", "way-out"):
                try:
                    (root / name).rename(root / "target")
                    (root / "target").rename(root / name)
                except OSError:
                    # A write met the moment in which nothing was there, and made the folder.
                    shutil.rmtree(root / "target", ignore_errors=True)

    swapping = threading.Thread(target=swap)
    swapping.start()
    written, until = 0, time.monotonic() + 0.7
    try:
        while time.monotonic() < until:
            try:
                write(root, "target/secret", b"attack")
                written += 1
            except (InvalidField, NotFound):
                continue
    finally:
        done.set()
        swapping.join()

    assert (outside(root), (root.parent / "outside/secret").read_text()) == (["secret"], SECRET)
    assert written > 0


def test_a_disk_that_must_stay_free_and_a_full_workspace_take_nothing(root):
    place = Place(root=root, home=root, managed=True)
    (root / "big").write_bytes(b"x" * 100_000)

    with pytest.raises(VolumeFull):
        Bounds(free_bytes=1 << 60).check(place)
    with pytest.raises(WorkspaceFull):
        Bounds(workspace_bytes=150_000).check(place, 60_000)
    Bounds(workspace_bytes=200_000).check(place, 60_000)
    # What Corral did not make is its owner's to fill.
    Bounds(workspace_bytes=1).check(Place(root=root, home=root, managed=False), 60_000)


def test_a_measure_counts_each_file_once_and_stops_at_its_bound(root):
    (root / "sub/one").write_bytes(b"x" * 50_000)
    before = measure(root).size_bytes
    (root / "sub/two").hardlink_to(root / "sub/one")

    assert measure(root).size_bytes == before
    assert not measure(root).truncated
    assert measure(root, most=3).truncated
