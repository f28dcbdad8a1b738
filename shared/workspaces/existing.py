"""Existing folders sessions may work in: those that the operator's allow-list holds."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Final

from shared.domain.errors import InvalidField, WorkspaceUnusable
from shared.domain.json import JsonValue
from shared.workspaces.kind import Volume

PATH_BYTES: Final = 4095
"""The longest path the kernel takes."""


def wished(value: JsonValue, volume_hint: Sequence[Path]) -> Path:
    """An absolute path, as a caller wrote it into `workspace.path`. Looks at no disk.

    Where the caller knows the allow-list a foreign path is refused at once; `opened` has the last word.

    Raises:
        InvalidField: it cannot be taken.
    """
    path = _path(value)
    if volume_hint and not is_beneath(path, volume_hint):
        raise InvalidField("workspace.path", "is not in a folder that CORRAL_ALLOWED_FOLDERS names")
    return path


def opened(value: JsonValue, volume: Volume) -> Path:
    """The real path, without symlinks, so that what it names cannot be moved by changing one.

    Raises:
        InvalidField: it cannot be taken.
        WorkspaceUnusable: the operator does not let sessions work there, or the worker cannot.
    """
    path = _path(value)
    real = Path(os.path.realpath(path))
    # The same words for absent and foreign ones: a caller must not learn what else lies on the disk.
    if not is_beneath(real, [Path(os.path.realpath(root)) for root in volume.allowed_roots]):
        raise WorkspaceUnusable(f"{path} is not in a folder that CORRAL_ALLOWED_FOLDERS of the worker names.")
    if overlap(real, volume.root):
        raise WorkspaceUnusable(f"{path} would show the workspaces of other sessions.")
    if not os.path.isdir(real):  # noqa: PTH112 - False, where Path.is_dir raises, for what may not be looked at
        raise WorkspaceUnusable(f"{path} is not a folder on the worker.")
    if not os.access(real, os.R_OK | os.W_OK | os.X_OK):
        raise WorkspaceUnusable(f"{path} cannot be read and written by the worker.")
    return real


def is_beneath(path: Path, roots: Sequence[Path]) -> bool:
    """Whether `path` is one of `roots` or lies in one."""
    return any(path.is_relative_to(root) for root in roots)


def overlap(one: PurePath, other: PurePath) -> bool:
    """Whether two folders are the same, or one lies in the other."""
    return one.is_relative_to(other) or other.is_relative_to(one)


def _path(value: JsonValue) -> Path:
    if not isinstance(value, str):
        raise InvalidField("workspace.path", "must be a text")
    try:
        size = len(value.encode())
    except UnicodeEncodeError as trouble:
        raise InvalidField("workspace.path", "must be Unicode text") from trouble
    if "\0" in value:
        raise InvalidField("workspace.path", "must not hold NUL")
    if size > PATH_BYTES:
        raise InvalidField("workspace.path", f"must have at most {PATH_BYTES} bytes")
    path = Path(value)
    if not path.is_absolute():
        raise InvalidField("workspace.path", "must be absolute, such as /srv/projects/app")
    if ".." in path.parts:
        raise InvalidField("workspace.path", "must not hold '..'")
    return path
