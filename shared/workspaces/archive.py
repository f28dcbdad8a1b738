"""A workspace as a tar stream, made piece by piece: plain files, folders, and symlinks that stay inside.

Nothing is ever read that `opener.read` would refuse. What is left out is named in a last entry of the archive.
"""

from __future__ import annotations

import os
import stat
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from shared.domain.errors import CorralError
from shared.workspaces.opener import FOLDER, checked, open_file, opened_folder, opened_root
from shared.workspaces.writer import UNFINISHED

LEFT_OUT = "corral-left-out.txt"
"""Name of the archive's last entry, which is there where something was left out: a line each, with the reason."""
PIECE = 256 * 1024
MAX_ENTRIES = 200_000
MAX_DEPTH = 100
"""Folders in folders: each open one is a descriptor."""
_TOLD = 1000
"""Left out things that are named; the others are counted."""
_GZIP = 31
"""zlib's `wbits` for a gzip header."""


@dataclass(slots=True)
class _Trip:
    """One walk through a workspace."""

    top: int
    room: int
    """Bytes of files that may still be packed."""
    entries: int = 0
    left_out: list[str] = field(default_factory=list)
    unnamed: int = 0

    def leave_out(self, path: str, reason: str) -> None:
        if len(self.left_out) < _TOLD:
            self.left_out.append(f"{_line(path)}: {reason}\n")
        else:
            self.unnamed += 1


def pack(root: Path, path: str = ".", *, most_bytes: int, gzip: bool = False) -> Iterator[bytes]:
    """The folder `path` of the workspace as a tar archive, in pieces of up to 256 KiB; names in it begin below `path`.

    Files beyond `most_bytes` together are left out. Blocks on disk with each piece; close it to stop.

    Raises:
        InvalidField: `path` cannot be taken, or is no folder.
        NotFound: there is nothing, or it lies outside.
        WorkspaceUnusable: the workspace is gone.
    """
    pieces = _tar(root, checked(path), most_bytes)
    return _zipped(pieces) if gzip else pieces


def _tar(root: Path, path: str, most_bytes: int) -> Iterator[bytes]:
    with opened_root(root) as top, opened_folder(top, path) as folder:
        trip = _Trip(folder, most_bytes)
        # The first piece only comes once the folder is open: a refusal is told before any byte of an answer.
        yield b""
        yield from _folder(trip, folder, "", 0)
        if trip.left_out:
            yield from _told(trip)
        yield b"\0" * 2 * tarfile.BLOCKSIZE


def _folder(trip: _Trip, folder: int, prefix: str, depth: int) -> Iterator[bytes]:
    with os.scandir(folder) as names:
        found = sorted(name.name for name in names if not name.name.startswith(UNFINISHED))
    for name in found:
        if trip.entries >= MAX_ENTRIES:
            trip.leave_out(f"{prefix}{name}", f"the archive has {MAX_ENTRIES} entries already")
            return
        trip.entries += 1
        yield from _one(trip, folder, name, prefix, depth)


def _one(trip: _Trip, folder: int, name: str, prefix: str, depth: int) -> Iterator[bytes]:
    path = f"{prefix}{name}"
    try:
        there = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return
    if stat.S_ISDIR(there.st_mode):
        yield from _inner(trip, folder, name, prefix, depth)
    elif stat.S_ISREG(there.st_mode):
        yield from _file(trip, folder, name, path)
    elif stat.S_ISLNK(there.st_mode):
        yield from _symlink(trip, folder, name, prefix)
    else:
        trip.leave_out(path, "neither file, folder nor symlink")


def _inner(trip: _Trip, folder: int, name: str, prefix: str, depth: int) -> Iterator[bytes]:
    path = f"{prefix}{name}"
    if depth == MAX_DEPTH:
        trip.leave_out(path, f"lies deeper than {MAX_DEPTH} folders")
        return
    try:
        below = os.open(name, FOLDER | os.O_NOFOLLOW, dir_fd=folder)
    except OSError:
        trip.leave_out(path, "cannot be opened")
        return
    try:
        yield _header(path, os.fstat(below), tarfile.DIRTYPE, 0o755)
        yield from _folder(trip, below, f"{path}/", depth + 1)
    finally:
        os.close(below)


def _file(trip: _Trip, folder: int, name: str, path: str) -> Iterator[bytes]:
    try:
        file, there = open_file(folder, name)
    except CorralError as problem:
        trip.leave_out(path, problem.message.removeprefix("path: "))
        return
    try:
        if there.st_size > trip.room:
            trip.leave_out(path, "the archive would be too large")
            return
        trip.room -= there.st_size
        yield _header(path, there, tarfile.REGTYPE, 0o755 if there.st_mode & 0o100 else 0o644)
        yield from _content(file, there.st_size)
    finally:
        os.close(file)


def _content(file: int, size: int) -> Iterator[bytes]:
    left = size
    while left and (piece := os.read(file, min(left, PIECE))):
        left -= len(piece)
        yield piece
    # It shrank since its size was told.
    while left:
        piece = bytes(min(left, PIECE))
        left -= len(piece)
        yield piece
    if over := size % tarfile.BLOCKSIZE:
        yield bytes(tarfile.BLOCKSIZE - over)


def _symlink(trip: _Trip, folder: int, name: str, prefix: str) -> Iterator[bytes]:
    path = f"{prefix}{name}"
    with suppress(OSError):
        target = os.readlink(name, dir_fd=folder)
        if stays_inside(prefix, target):
            there = os.stat(name, dir_fd=folder, follow_symlinks=False)
            yield _header(path, there, tarfile.SYMTYPE, 0o777, target)
        else:
            trip.leave_out(path, "a symlink that may lead outside")


def stays_inside(prefix: str, target: str) -> bool:
    """Whether a symlink in the folder `prefix` ("" or "a/b/") surely names something inside, wherever it is unpacked.

    Judged by its text alone, so no race can change it: relative, and ".." only at its beginning, where each goes up one
    real folder. Behind another symlink a ".." could go up anywhere.
    """
    parts = [part for part in target.split("/") if part not in ("", ".")]
    ups = next((n for n, part in enumerate(parts) if part != ".."), len(parts))
    return not target.startswith("/") and ups <= prefix.count("/") and ".." not in parts[ups:]


def _header(path: str, there: os.stat_result, kind: bytes, mode: int, target: str = "") -> bytes:
    entry = tarfile.TarInfo(path)
    entry.type, entry.mode, entry.linkname = kind, mode, target
    entry.size = there.st_size if kind == tarfile.REGTYPE else 0
    entry.mtime = max(0, min(int(there.st_mtime), 2**33 - 1))
    return entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _told(trip: _Trip) -> Iterator[bytes]:
    more = [f"and {trip.unnamed} more\n"] if trip.unnamed else []
    text = "".join([*trip.left_out, *more]).encode()
    entry = tarfile.TarInfo(LEFT_OUT)
    entry.size, entry.mode = len(text), 0o644
    yield entry.tobuf(tarfile.PAX_FORMAT) + text + bytes(-len(text) % tarfile.BLOCKSIZE)


def _line(path: str) -> str:
    shown = path.encode("utf-8", "backslashreplace").decode()
    return "".join(letter if letter.isprintable() else "?" for letter in shown)


def _zipped(pieces: Iterator[bytes]) -> Iterator[bytes]:
    # The fastest level: who packs shares the machine with agents.
    squeeze = zlib.compressobj(1, wbits=_GZIP)
    for piece in pieces:
        if not piece:
            yield b""
        elif made := squeeze.compress(piece):
            yield made
    yield squeeze.flush()
