"""Files of a workspace: everything inside can be read, nothing outside ever, whatever the agent builds there."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from shared.domain.errors import InvalidField, NotFound, WorkspaceUnusable
from shared.workspaces import opener
from tests import races

SECRET = "the secret beside the workspace"


@pytest.fixture
def root(tmp_path):
    """A workspace with one of everything, and a secret beside it."""
    tmp_path = tmp_path.resolve()
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_text(SECRET)
    root = tmp_path / "workspace"
    (root / "sub/deep/deeper/deepest").mkdir(parents=True)
    (root / "file").write_text("hello")
    (root / "sub/file").write_text("below")
    (root / "sub/deep/file").write_text("deep")
    (root / "to-file").symlink_to("file")
    (root / "to-sub").symlink_to("sub")
    (root / "sub/up-inside").symlink_to("../file")
    (root / "to-absolute").symlink_to(tmp_path / "secret")
    (root / "to-absolute-inside").symlink_to(root / "file")
    (root / "to-relative").symlink_to("../secret")
    (root / "to-outside").symlink_to("../outside")
    (root / "to-proc").symlink_to("/proc/self/root")
    (root / "dangling").symlink_to("nothing")
    (root / "loop").symlink_to("loop")
    (root / "hard").hardlink_to(tmp_path / "outside/secret")
    os.mkfifo(root / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / "socket"))
    return root


@pytest.fixture(params=["openat2", "step by step"])
def way(request, monkeypatch):
    """Both ways of the opener: the kernel's, and the one for kernels without it."""
    if request.param == "step by step":
        monkeypatch.setattr(opener, "_OPENAT2", 9999)
    return request.param


@pytest.mark.parametrize(
    ("path", "text"),
    [("file", "hello"), ("sub/file", "below"), ("./sub//file", "below"), ("sub/./deep/file", "deep")],
)
def test_what_lies_inside_is_read(way, root, path, text):
    chunk = opener.read(root, path)

    assert (chunk.data.decode(), chunk.offset, chunk.size_bytes) == (text, 0, len(text))


@pytest.mark.parametrize(("path", "text"), [("to-file", "hello"), ("to-sub/file", "below"), ("sub/up-inside", "hello")])
def test_a_symlink_that_stays_inside_is_followed(root, path, text):
    assert opener.read(root, path).data.decode() == text


# The classes of paths, and of what they may lead to, that a caller or an agent can make; both ways agree on them.
@pytest.mark.parametrize(
    ("path", "refusal"),
    [
        ("", InvalidField),
        ("/etc/passwd", InvalidField),
        ("..", InvalidField),
        ("../secret", InvalidField),
        ("sub/../../secret", InvalidField),
        ("sub/../file", InvalidField),
        ("file\0x", InvalidField),
        ("x" * 256, InvalidField),
        ("x/" * 2048 + "x", InvalidField),
        ("\ud800", InvalidField),
        ("nothing", NotFound),
        ("file/below", NotFound),
        ("to-absolute", NotFound),
        ("to-absolute-inside", NotFound),
        ("to-relative", NotFound),
        ("to-outside/secret", NotFound),
        ("to-proc/etc/passwd", NotFound),
        ("dangling", NotFound),
        ("loop", NotFound),
        (".", InvalidField),
        ("sub", InvalidField),
        ("fifo", InvalidField),
        ("socket", InvalidField),
        ("hard", InvalidField),
    ],
)
def test_what_lies_outside_or_is_no_plain_file_is_refused(way, root, path, refusal):
    with pytest.raises(refusal) as refused:
        opener.read(root, path)

    assert SECRET not in str(refused.value)
    assert str(root.parent) not in str(refused.value)


def test_without_the_kernels_help_no_symlink_is_followed(root, monkeypatch):
    monkeypatch.setattr(opener, "_OPENAT2", 9999)

    for path in ("to-file", "to-sub/file", "sub/up-inside"):
        with pytest.raises(NotFound):
            opener.read(root, path)


def test_a_device_inside_is_not_read(way):
    # Only root makes devices; there is a folder full of them.
    with pytest.raises(InvalidField):
        opener.read(Path("/dev"), "zero")

    assert opener.info(Path("/dev"), "zero").type == "other"


def test_a_device_is_no_file(root, way):
    # As root one can make one; anybody may link to one, which leads outside.
    (root / "null").symlink_to("/dev/null")

    with pytest.raises(NotFound):
        opener.read(root, "null")


def test_a_part_of_a_file_is_read_by_offset_and_limit(root):
    (root / "big").write_bytes(bytes(range(256)) * 8000)

    assert opener.read(root, "big", offset=255, limit=3).data == b"\xff\0\x01"
    assert opener.read(root, "big", offset=2_048_000 - 2).data == b"\xfe\xff"
    assert opener.read(root, "big", offset=99_999_999).data == b""
    assert opener.read(root, "big", limit=0).data == b""
    assert opener.read(root, "big", offset=-5, limit=2).data == b"\0\x01"


def test_a_read_never_takes_more_than_its_limit_into_memory(root):
    with (root / "sparse").open("wb") as file:
        file.truncate(1 << 40)

    chunk = opener.read(root, "sparse", limit=1 << 50)

    assert (len(chunk.data), chunk.size_bytes) == (opener.MAX_READ_BYTES, 1 << 40)


def test_a_listing_shows_what_is_there_and_follows_no_symlink(way, root):
    found = opener.listing(root, ".", depth=3)

    shown = {entry.path: entry.type for entry in found.entries}
    assert shown["file"] == shown["sub/deep/file"] == "file"
    assert shown["sub/deep/deeper"] == "folder"
    assert shown["to-outside"] == shown["to-sub"] == shown["loop"] == "symlink"
    assert shown["fifo"] == "other"
    assert "sub/deep/deeper/deepest" not in shown
    assert not [path for path in shown if path.startswith(("to-outside/", "to-sub/"))]
    assert list(shown) == sorted(shown)
    assert not found.truncated
    assert "below" not in {entry.path for entry in opener.listing(root, ".").entries}


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_a_listing_ends_at_its_limit_and_says_so(root, limit):
    found = opener.listing(root, ".", depth=3, limit=limit)

    assert (len(found.entries), found.truncated) == (limit, True)


def test_a_listing_of_a_folder_below_names_paths_from_the_root(root):
    assert [entry.path for entry in opener.listing(root, "sub/deep").entries] == ["sub/deep/deeper", "sub/deep/file"]
    assert [entry.path for entry in opener.listing(root, "sub", depth=99).entries][-1] == "sub/up-inside"


@pytest.mark.parametrize(
    ("path", "refusal"), [("file", InvalidField), ("none", NotFound), ("to-outside", (NotFound, InvalidField))]
)
def test_what_is_no_folder_inside_is_not_listed(way, root, path, refusal):
    with pytest.raises(refusal):
        opener.listing(root, path)


def test_info_tells_type_size_and_time(way, root):
    os.utime(root / "file", (1_000_000_000, 1_000_000_000))

    found = opener.info(root, "file")

    assert (found.path, found.type, found.size_bytes) == ("file", "file", 5)
    assert found.modified_at.isoformat() == "2001-09-09T01:46:40+00:00"
    assert opener.info(root, ".").type == "folder"
    assert opener.info(root, "fifo").type == "other"


def test_a_file_from_the_year_ten_thousand_is_shown_all_the_same(root):
    os.utime(root / "file", ns=(0, 10**18 * 9))

    assert opener.info(root, "file").size_bytes == 5


def test_a_name_that_is_no_utf_8_can_be_listed_and_read(root):
    Path(os.fsdecode(os.fsencode(root) + b"/od\xffd")).write_text("odd")

    (path,) = [entry.path for entry in opener.listing(root, ".").entries if entry.path.startswith("od")]

    assert opener.read(root, path).data == b"odd"


@pytest.mark.parametrize("place", ["missing", "symlink"])
def test_a_root_that_is_gone_or_was_replaced_is_not_entered(way, root, place):
    (root.parent / "symlink").symlink_to(root.parent / "outside")

    with pytest.raises(WorkspaceUnusable):
        opener.read(root.parent / place, "secret")


def test_no_descriptor_is_left_open(way, root):
    before = len(list(Path("/proc/self/fd").iterdir()))

    for path in ("file", "sub", "fifo", "hard", "to-outside/secret", "none/none", "socket"):
        for ask in (opener.read, opener.info, opener.listing):
            try:
                ask(root, path)
            except (InvalidField, NotFound):
                continue

    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_race_of_renames_never_leaks_what_lies_outside(way, tmp_path):
    """A short slice of `make race`."""
    tally = races.run(races.arena(tmp_path), 0.7)

    assert (tally.leaks, tally.changed_outside) == (0, 0)
    assert tally.opens > tally.answered > 0
