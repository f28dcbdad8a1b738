"""Writes and removes files beneath one folder and nothing outside it, however paths and links are arranged inside.

Every step goes by the descriptor of the folder before it and follows no symlink. A file appears whole or not at all:
its bytes are gathered beside it and moved into its place.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from shared.domain.errors import InvalidField, NotFound
from shared.domain.errors_files import FileThere, FolderNotEmpty, VolumeFull
from shared.workspaces.opener import FOLDER, Entry, checked, entry_of, opened_root

UNFINISHED = ".corral-unfinished-"
"""Begins the name under which bytes are gathered; only the end of the whole worker leaves one behind."""
_FILE_MODE, _FOLDER_MODE = 0o644, 0o755
_FRESH = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Written:
    """A file that was put into a workspace. `is_new`: there was none of its name."""

    entry: Entry
    is_new: bool


class Incoming:
    """A file on its way into a workspace, with the folders above it; seen by nobody before `publish`.

    Blocks on disk. Closing it before `publish` leaves no file behind.

    Raises:
        InvalidField: the path cannot be taken, leads through a symlink, or may not be written.
        WorkspaceUnusable: the workspace is gone.
        VolumeFull: the disk is full.
    """

    def __init__(self, root: Path, path: str) -> None:
        with ExitStack() as stack:
            self._path, self._folder, self._name = stack.enter_context(_parent(root, path, make=True))
            _refuse_what_is_no_file(_there(self._folder, self._name))
            self._fresh = f"{UNFINISHED}{secrets.token_hex(8)}"
            stack.callback(self._drop)
            self._file = -1
            with _told():
                self._file = os.open(self._fresh, _FRESH, 0o600, dir_fd=self._folder)
                _hand_over(self._file, self._folder)
            self._stack = stack.pop_all()

    def put(self, data: bytes) -> None:
        """Add bytes at the end."""
        with _told():
            while data:
                data = data[os.write(self._file, data) :]

    def publish(self, *, create_only: bool) -> Written:
        """Put the file into its place; one that was there before is replaced, and its permissions are kept.

        Raises:
            FileThere: there is one, and `create_only`.
            InvalidField: what is there is no plain file.
        """
        before = _there(self._folder, self._name)
        if before is not None and create_only:
            raise FileThere(self._path)
        _refuse_what_is_no_file(before)
        with _told(self._path):
            os.fchmod(self._file, _FILE_MODE if before is None else stat.S_IMODE(before.st_mode) & 0o777)
            os.fsync(self._file)
            self._move(create_only=create_only)
        return Written(entry_of(self._path, os.fstat(self._file)), is_new=before is None)

    def close(self) -> None:
        """Give up what was not published. Idempotent."""
        self._stack.close()

    def _move(self, *, create_only: bool) -> None:
        names = {"src_dir_fd": self._folder, "dst_dir_fd": self._folder}
        if create_only:
            # A link, unlike a move, never replaces what somebody faster has put there.
            os.link(self._fresh, self._name, follow_symlinks=False, **names)
            os.unlink(self._fresh, dir_fd=self._folder)
        else:
            os.rename(self._fresh, self._name, **names)  # noqa: PTH104 - Path knows no descriptors

    def _drop(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            with suppress(OSError):
                os.unlink(self._fresh, dir_fd=self._folder)


def remove(root: Path, path: str, *, recursive: bool = False) -> Entry:
    """Remove a file, a symlink (not what it names) or a folder; what it was.

    Raises:
        InvalidField: the path cannot be taken, leads through a symlink, or may not be removed.
        NotFound: there is nothing.
        FolderNotEmpty: it is a folder that holds something, and not `recursive`.
    """
    with _parent(root, path, make=False) as (inside, folder, name):
        found = _there(folder, name)
        if found is None:
            raise NotFound("file", _shown(inside))
        with _told(inside):
            if not stat.S_ISDIR(found.st_mode):
                os.unlink(name, dir_fd=folder)
            elif recursive:
                shutil.rmtree(name, dir_fd=folder)
            else:
                os.rmdir(name, dir_fd=folder)
        return entry_of(inside, found)


@contextmanager
def _parent(root: Path, path: str, *, make: bool) -> Iterator[tuple[str, int, str]]:
    """The path as it is told, the descriptor of the folder it lies in, and the last name."""
    inside = checked(path)
    *above, name = inside.split("/")
    if name == ".":
        raise InvalidField("path", "is the workspace itself")
    with opened_root(root) as top, ExitStack() as stack:
        here = top
        for part in above:
            here = _below(here, part, make=make)
            stack.callback(os.close, here)
        yield inside, here, name


def _below(folder: int, name: str, *, make: bool) -> int:
    with _told(name):
        try:
            return os.open(name, FOLDER | os.O_NOFOLLOW, dir_fd=folder)
        except FileNotFoundError:
            if not make:
                raise
        with suppress(FileExistsError):
            os.mkdir(name, _FOLDER_MODE, dir_fd=folder)
        made = os.open(name, FOLDER | os.O_NOFOLLOW, dir_fd=folder)
        try:
            _hand_over(made, folder)
        except BaseException:
            os.close(made)
            raise
        return made


def _hand_over(made: int, folder: int) -> None:
    """Whoever owns the folder owns what is made in it: agents may run as a user of their own."""
    if os.geteuid() == 0:
        owner = os.fstat(folder)
        os.fchown(made, owner.st_uid, owner.st_gid)


def _there(folder: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _refuse_what_is_no_file(found: os.stat_result | None) -> None:
    if found is not None and not stat.S_ISREG(found.st_mode):
        raise InvalidField("path", "is not a regular file")


@contextmanager
def _told(path: str = "") -> Iterator[None]:
    try:
        yield
    except OSError as trouble:
        _tell(trouble, path)


def _tell(trouble: OSError, path: str) -> NoReturn:
    match trouble.errno:
        case errno.ENOSPC | errno.EDQUOT:
            raise VolumeFull(0, 0) from trouble
        case errno.EEXIST:
            raise FileThere(_shown(path)) from trouble
        case errno.ENOTEMPTY:
            raise FolderNotEmpty(_shown(path)) from trouble
        case errno.ENOENT:
            raise NotFound("file", _shown(path)) from trouble
        case errno.ENOTDIR | errno.ELOOP:
            raise InvalidField("path", "leads through what is no folder") from trouble
        case errno.EISDIR:
            raise InvalidField("path", "is not a regular file") from trouble
    raise InvalidField("path", f"cannot be written by the worker ({trouble.strerror})") from trouble


def _shown(path: str) -> str:
    return path.encode("utf-8", "backslashreplace").decode()
