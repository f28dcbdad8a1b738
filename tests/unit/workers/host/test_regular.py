"""Whatever an agent has put in the place of its transcript, reading it neither waits nor follows."""

from __future__ import annotations

import os

import pytest

from workers.host import regular


def test_a_file_is_read_and_its_ended_lines_are_counted(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"one\ntwo\ntorn")

    assert regular.content(file, 100) == b"one\ntwo\ntorn"
    assert regular.lines(file) == 2


def test_a_file_of_several_megabytes_is_counted_whole(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"x" * 99 + b"\n" + (b"y" * 99 + b"\n") * 40_000)

    assert regular.lines(file) == 40_001
    assert regular.content(file, 1000) is None


@pytest.mark.parametrize("what", ["nothing", "link", "pipe", "folder"])
def test_what_is_no_file_is_neither_read_nor_waited_for(tmp_path, what):
    (tmp_path / "real").write_bytes(b"secret\n")
    file = tmp_path / "file"
    match what:
        case "link":
            file.symlink_to(tmp_path / "real")
        case "pipe":
            os.mkfifo(file)
        case "folder":
            file.mkdir()

    assert regular.content(file, 100) is None
    assert regular.lines(file) is None
