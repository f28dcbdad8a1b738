"""A workspace as a tar: what may be read comes out as it is, the rest is named and left out."""

from __future__ import annotations

import io
import os
import socket
import tarfile
import zlib
from pathlib import Path

import pytest

from shared.domain.errors import InvalidField, NotFound, WorkspaceUnusable
from shared.workspaces import archive

SECRET = b"the secret beside the workspace"
MUCH = 1 << 30


@pytest.fixture
def root(tmp_path):
    """A workspace with one of everything."""
    tmp_path = tmp_path.resolve()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_bytes(SECRET)
    root = tmp_path / "workspace"
    (root / "sub/deep").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "file").write_bytes(b"hello")
    (root / "sub/run.sh").write_bytes(b"#!/bin/sh\n")
    (root / "sub/run.sh").chmod(0o4755)
    (root / "sub/deep/ünï").write_bytes(bytes(range(256)) * 2000)
    (root / "sub/up").symlink_to("../file")
    (root / "to-sub").symlink_to("sub/deep")
    (root / "out").symlink_to("../outside/secret")
    (root / "absolute").symlink_to(root / "file")
    (root / "hidden-way").symlink_to("sub/deep/x/../../..")
    (root / "hard").hardlink_to(tmp_path / "outside/secret")
    os.mkfifo(root / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / "socket"))
    return root


def packed(root: Path, path: str = ".", *, most: int = MUCH) -> tarfile.TarFile:
    return tarfile.open(fileobj=io.BytesIO(b"".join(archive.pack(root, path, most_bytes=most))))


def left_out(tar: tarfile.TarFile) -> dict[str, str]:
    text = tar.extractfile(archive.LEFT_OUT).read().decode()
    return dict(line.split(": ", 1) for line in text.splitlines())


def test_what_may_be_read_comes_out_as_it_is(root, tmp_path):
    tar = packed(root)

    assert sorted(tar.getnames()) == sorted(
        ["empty", "file", "sub", "sub/deep", "sub/deep/ünï", "sub/run.sh", "sub/up", "to-sub", archive.LEFT_OUT]
    )
    tar.extractall(tmp_path / "unpacked")  # noqa: S202 - our own; the first releases of 3.11 know no filter
    unpacked = tmp_path / "unpacked"
    assert (unpacked / "to-sub/ünï").read_bytes() == (root / "sub/deep/ünï").read_bytes()
    assert (unpacked / "sub/up").read_bytes() == b"hello"
    modes = {one.name: oct(one.mode) for one in tar if one.isreg()}
    assert (modes["sub/run.sh"], modes["file"]) == ("0o755", "0o644")


def test_what_is_left_out_is_named_and_why(root):
    tar = packed(root)

    reasons = left_out(tar)
    assert set(reasons) == {"out", "absolute", "hidden-way", "hard", "fifo", "socket"}
    assert "hard links" in reasons["hard"]
    assert SECRET not in b"".join(archive.pack(root, most_bytes=MUCH))


def test_files_beyond_the_bound_are_left_out_however_large_they_claim_to_be(root):
    with (root / "sparse").open("wb") as file:
        file.truncate(1 << 40)

    tar = packed(root, most=1000)

    assert {"file", "sub/run.sh"} <= set(tar.getnames())
    assert {"sparse", "sub/deep/ünï"} <= set(left_out(tar))


def test_a_folder_alone_and_a_folder_with_nothing_odd_need_no_remark(root):
    assert packed(root, "sub/deep").getnames() == ["ünï"]
    assert packed(root, "empty").getnames() == []


@pytest.mark.parametrize(
    ("path", "refusal"),
    [("file", InvalidField), ("none", NotFound), ("../outside", InvalidField), ("fifo", InvalidField)],
)
def test_what_is_no_folder_inside_is_refused_before_the_first_byte(root, path, refusal):
    with pytest.raises(refusal):
        next(archive.pack(root, path, most_bytes=MUCH))


def test_a_workspace_that_is_gone_is_refused(root):
    with pytest.raises(WorkspaceUnusable):
        next(archive.pack(root.parent / "gone", most_bytes=MUCH))


def test_names_of_any_length_and_of_any_bytes_come_out(root):
    long = "x" * 200 + "/" + "y" * 200
    (root / long).parent.mkdir()
    (root / long).write_bytes(b"far")
    Path(os.fsdecode(os.fsencode(root) + b"/od\xffd")).write_bytes(b"odd")

    names = packed(root).getnames()

    assert long in names
    assert os.fsdecode(b"od\xffd") in names


def test_a_file_that_shrinks_or_grows_meanwhile_does_not_break_the_archive(root):
    (root / "aaa").write_bytes(b"x" * 600_000)
    pieces = archive.pack(root, most_bytes=MUCH)
    got = b""
    while len(got) < 100_000:
        got += next(pieces)
    (root / "aaa").write_bytes(b"")
    (root / "file").write_bytes(b"much longer than before")

    with tarfile.open(fileobj=io.BytesIO(got + b"".join(pieces))) as tar:
        assert tar.getmember("aaa").size == 600_000
        assert tar.extractfile("file").read() == b"much longer than before"


def test_compressed_it_is_the_same(root):
    plain = b"".join(archive.pack(root, most_bytes=MUCH))

    assert zlib.decompress(b"".join(archive.pack(root, most_bytes=MUCH, gzip=True)), wbits=31) == plain


def test_an_archive_given_up_half_way_leaves_no_descriptor_open(root):
    before = len(list(Path("/proc/self/fd").iterdir()))

    pieces = archive.pack(root, most_bytes=MUCH)
    for _ in range(6):
        next(pieces)
    pieces.close()

    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize(
    ("prefix", "target", "stays"),
    [
        ("", "file", True),
        ("", "./sub//file", True),
        ("", "..", False),
        ("", "/etc/passwd", False),
        ("a/", "../file", True),
        ("a/", "../../file", False),
        ("a/b/", "../../file", True),
        ("a/b/", "x/../../../file", False),
        ("a/b/", "x/../file", False),
        ("", "", True),
    ],
)
def test_a_symlink_is_judged_by_its_text_alone(prefix, target, stays):
    assert archive.stays_inside(prefix, target) is stays
