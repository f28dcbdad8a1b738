"""Reads files beneath one folder and nothing outside it, however paths, links and renames are arranged inside.

The kernel walks the path (openat2, RESOLVE_BENEATH): looking first and opening later loses the race against a rename.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from shared.domain.errors import InvalidField, NotFound, WorkspaceUnusable

MAX_DEPTH = 3
MAX_ENTRIES = 5000
MAX_READ_BYTES = 8 * 1024 * 1024
PATH_BYTES = 4095
NAME_BYTES = 255

_OPENAT2 = 437
"""The call's number, the same on x86-64 and AArch64."""
_NO_MAGICLINKS, _NO_SYMLINKS, _BENEATH = 0x02, 0x04, 0x08
_RETRIES = 128
"""openat2 answers EAGAIN when something was renamed during its walk; a rename storm must not hold us for ever."""
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
"""Flags for opening a folder."""
_LIBC = ctypes.CDLL(None, use_errno=True)


class _How(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing in a workspace. `path` is relative to its root ("." is the root); `type` is file, folder, symlink
    or other.
    """

    path: str
    type: str
    size_bytes: int
    modified_at: datetime


@dataclass(frozen=True, slots=True)
class Listing:
    """What a folder holds, by path. `truncated`: there is more than was asked for."""

    entries: tuple[Entry, ...]
    truncated: bool


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a file: `data` begins at `offset`; the whole file had `size_bytes` when it was opened."""

    data: bytes
    offset: int
    size_bytes: int
    modified_at: datetime


def listing(root: Path, path: str, *, depth: int = 1, limit: int = MAX_ENTRIES) -> Listing:
    """What the folder `path` holds, down to `depth` levels (1 to 3), at most `limit` entries. Symlinks are shown,
    not followed.

    Raises:
        InvalidField: `path` cannot be taken, or is no folder.
        NotFound: there is nothing, or it lies outside.
    """
    depth, limit = min(max(depth, 1), MAX_DEPTH), min(max(limit, 1), MAX_ENTRIES)
    inside = checked(path)
    with opened_root(root) as top, opened_folder(top, inside) as folder:
        found = list(islice(_walk(folder, "" if inside == "." else f"{inside}/", depth), limit + 1))
    entries = sorted(found[:limit], key=lambda entry: entry.path)
    return Listing(tuple(entries), truncated=len(found) > limit)


def info(root: Path, path: str) -> Entry:
    """What `path` names; a symlink inside is followed, as `read` would.

    Raises:
        InvalidField: `path` cannot be taken.
        NotFound: there is nothing, or it lies outside.
    """
    inside = checked(path)
    with opened_root(root) as top, _beneath(top, inside, os.O_PATH | os.O_CLOEXEC) as file:
        return entry_of(inside, os.fstat(file))


def read(root: Path, path: str, *, offset: int = 0, limit: int = MAX_READ_BYTES) -> Chunk:
    """Up to `limit` bytes (at most 8 MiB) of the regular file `path`, from `offset`.

    Raises:
        InvalidField: `path` cannot be taken, or is no regular file, or the file has a second name elsewhere.
        NotFound: there is nothing, or it lies outside.
    """
    inside = checked(path)
    with opened_root(root) as top:
        file, found = open_file(top, inside)
    try:
        data = _part(file, max(offset, 0), min(max(limit, 0), MAX_READ_BYTES))
    finally:
        os.close(file)
    return Chunk(data, max(offset, 0), found.st_size, _moment(found))


def open_file(folder: int, path: str) -> tuple[int, os.stat_result]:
    """A descriptor of the regular file `path` beneath the open folder, and what it is. Close it.

    What was opened is judged, never what a look before would have found: it could be another by then.

    Raises:
        InvalidField: it is no regular file, or has a second name elsewhere.
        NotFound: there is nothing, or it lies outside.
    """
    file = _opened(folder, path, _READ)
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode):
            raise InvalidField("path", "is not a regular file")
        # A second name may be one outside: whoever may not read that file could link it into a workspace.
        if found.st_nlink != 1:
            raise InvalidField("path", "has several names (hard links), which are not read")
    except BaseException:
        os.close(file)
        raise
    return file, found


def opened_folder(top: int, path: str) -> contextlib.AbstractContextManager[int]:
    """A descriptor of the folder `path` beneath the open folder `top`.

    Raises:
        InvalidField: it is no folder.
        NotFound: there is nothing, or it lies outside.
    """
    return _beneath(top, path, FOLDER)


def checked(path: str) -> str:
    """`path` as it is asked of the kernel: relative, without empty parts; "." is the root.

    Raises:
        InvalidField: it cannot be taken.
    """
    try:
        raw = os.fsencode(path)
    except UnicodeEncodeError as trouble:
        raise InvalidField("path", "must be Unicode text") from trouble
    parts = raw.split(b"/")
    if not raw:
        raise InvalidField("path", "must not be empty; '.' is the workspace itself")
    # To the C library a name would end there, and another file be opened than the one checked.
    if b"\0" in raw:
        raise InvalidField("path", "must not hold NUL")
    if raw.startswith(b"/"):
        raise InvalidField("path", "must be relative to the workspace")
    if b".." in parts:
        raise InvalidField("path", "must not hold '..'")
    if len(raw) > PATH_BYTES or any(len(part) > NAME_BYTES for part in parts):
        raise InvalidField("path", f"must have at most {PATH_BYTES} bytes, and {NAME_BYTES} in each name")
    return "/".join(os.fsdecode(part) for part in parts if part not in (b"", b".")) or "."


@contextlib.contextmanager
def opened_root(root: Path) -> Iterator[int]:
    """A descriptor of the folder `root`.

    Raises:
        WorkspaceUnusable: it is gone, or a symlink stands on the way to it.
    """
    try:
        # No symlink on the way either: an agent could put one in the place of its own workspace.
        top = _open(-100, str(root), FOLDER, _NO_SYMLINKS | _NO_MAGICLINKS)
    except OSError as trouble:
        raise WorkspaceUnusable("its folder cannot be opened; it may have been removed.") from trouble
    try:
        yield top
    finally:
        os.close(top)


@contextlib.contextmanager
def _beneath(top: int, path: str, flags: int) -> Iterator[int]:
    file = _opened(top, path, flags)
    try:
        yield file
    finally:
        os.close(file)


def _opened(top: int, path: str, flags: int) -> int:
    try:
        return _open(top, path, flags, _BENEATH | _NO_MAGICLINKS)
    except OSError as trouble:
        if trouble.errno == errno.ENOTDIR and flags == FOLDER:
            raise InvalidField("path", "is not a folder") from trouble
        # ENXIO: a socket, or a named pipe nobody reads. Neither is a file one could read.
        if trouble.errno == errno.ENXIO:
            raise InvalidField("path", "is not a regular file") from trouble
        if trouble.errno in (errno.EACCES, errno.EPERM):
            raise InvalidField("path", "may not be read by the worker") from trouble
        raise NotFound("file", path.encode("utf-8", "backslashreplace").decode()) from trouble


def _open(folder: int, path: str, flags: int, resolve: int) -> int:
    how = _How(flags, 0, resolve)
    raw = os.fsencode(path)
    for _ in range(_RETRIES):
        opened = _LIBC.syscall(_OPENAT2, folder, raw, ctypes.byref(how), ctypes.sizeof(how))
        if opened >= 0:
            return int(opened)
        number = ctypes.get_errno()
        # ENOSYS: before Linux 5.6. EPERM: a container's filter that does not know the call yet.
        if number in (errno.ENOSYS, errno.EPERM):
            return open_step_by_step(folder, path, flags)
        if number not in (errno.EAGAIN, errno.EINTR):
            raise OSError(number, os.strerror(number))
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def open_step_by_step(folder: int, path: str, flags: int) -> int:
    """What openat2 does, where the kernel lacks it: one name after the other, and no symlink at all.

    Raises:
        OSError: as open(2).
    """
    here = os.open("/", FOLDER) if path.startswith("/") else os.dup(folder)
    names = [name for name in path.split("/") if name not in ("", ".")] or ["."]
    try:
        for name in names[:-1]:
            inner = os.open(name, FOLDER | os.O_NOFOLLOW, dir_fd=here)
            os.close(here)
            here = inner
        opened = os.open(names[-1], flags | os.O_NOFOLLOW, dir_fd=here)
    finally:
        os.close(here)
    return opened


def _walk(folder: int, prefix: str, depth: int) -> Iterator[Entry]:
    inner: list[str] = []
    with os.scandir(folder) as names:
        for name in names:
            with contextlib.suppress(OSError):
                yield entry_of(prefix + name.name, name.stat(follow_symlinks=False))
                if name.is_dir(follow_symlinks=False):
                    inner.append(name.name)
    for known in inner if depth > 1 else ():
        try:
            below = os.open(known, FOLDER | os.O_NOFOLLOW, dir_fd=folder)
        except OSError:
            continue
        try:
            yield from _walk(below, f"{prefix}{known}/", depth - 1)
        finally:
            os.close(below)


def _part(file: int, offset: int, limit: int) -> bytes:
    parts = []
    while limit > 0 and (part := os.pread(file, min(limit, 1 << 20), offset)):
        parts.append(part)
        offset += len(part)
        limit -= len(part)
    return b"".join(parts)


def entry_of(path: str, found: os.stat_result) -> Entry:
    """How what stat(2) tells is shown."""
    kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "symlink"}
    kind = kinds.get(stat.S_IFMT(found.st_mode), "other")
    return Entry(path, kind, found.st_size if kind == "file" else 0, _moment(found))


def _moment(found: os.stat_result) -> datetime:
    # A file may claim any time; datetime ends with the year 9999.
    try:
        return datetime.fromtimestamp(found.st_mtime_ns / 1e9, tz=UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, tz=UTC)
