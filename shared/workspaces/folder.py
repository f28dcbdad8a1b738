"""Workspace kind `folder`: a new empty folder on the worker's volume, or an existing one on its allow-list."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PurePath

from shared.domain.errors import InvalidField, WorkspaceUnusable
from shared.domain.ids import SessionId
from shared.domain.json import JsonObject, JsonValue
from shared.workspaces import managed
from shared.workspaces.copying import copy_tree
from shared.workspaces.kind import Place, Volume

PATH_BYTES = 4095
"""The longest path the kernel takes."""
KEYS = {"kind", "path", "shared"}


class Folder:
    """A folder as it is: what the agent writes stays there, and nothing is copied.

    A managed one lies at `<volume>/sessions/<session>/workspace`; an existing one (`path`) stays where it is and is
    never removed. Either way the agent's home is `<volume>/sessions/<session>/home`.
    """

    name = "folder"
    portable = False

    def check(self, spec: JsonObject, volume_hint: Sequence[Path]) -> JsonObject:
        if unknown := sorted(spec.keys() - KEYS):
            raise InvalidField(f"workspace.{unknown[0]}", "is unknown; a folder takes path and shared, or nothing")
        if spec.get("kind", self.name) != self.name:
            raise InvalidField("workspace.kind", f"must be {self.name}")
        shared = spec.get("shared", False)
        if not isinstance(shared, bool):
            raise InvalidField("workspace.shared", "must be true or false")
        if spec.get("path") is None:
            if shared:
                raise InvalidField("workspace.shared", "is for an existing folder; a new one is this session's alone")
            return {"kind": self.name}
        path = _path(spec["path"])
        # Where the caller knows the allow-list a foreign path is refused at once; `open` has the last word.
        if volume_hint and not _is_beneath(path, volume_hint):
            raise InvalidField("workspace.path", "is not in a folder that CORRAL_ALLOWED_FOLDERS names")
        return {"kind": self.name, "path": str(path), **({"shared": True} if shared else {})}

    def fork(self, spec: JsonObject, source: SessionId) -> JsonObject:
        """A folder Corral made is copied; an existing one is worked in by both."""
        return spec if spec.get("path") is not None else {"kind": self.name, "copy_of": source}

    def open(self, session: SessionId, spec: JsonObject, volume: Volume) -> Place:
        own = managed.own(session, volume)
        existing = spec.get("path")
        root = own / "workspace" if existing is None else _existing(_path(existing), volume)
        try:
            for folder in (own.parent, own, own / "home"):
                _make(folder)
            if isinstance(source := spec.get("copy_of"), str) and not root.exists():
                copy_tree(managed.own(SessionId(source), volume) / "workspace", root)
            _make(root)
            (own / "home").chmod(0o700)
        except OSError as trouble:
            raise WorkspaceUnusable(f"the worker's volume cannot be written ({trouble.strerror}).") from trouble
        return Place(root=root, home=own / "home", managed=existing is None)

    def find(self, session: SessionId, spec: JsonObject, volume: Volume) -> Place | None:
        own = managed.own(session, volume)
        existing = spec.get("path")
        if own.is_symlink() or not (own / "home").is_dir():
            return None
        root = own / "workspace" if existing is None else _existing(_path(existing), volume)
        return Place(root=root, home=own / "home", managed=existing is None) if _is_folder(root) else None

    def remove(self, session: SessionId, spec: JsonObject, volume: Volume) -> None:
        managed.remove(session, volume)


def may_share(one: JsonObject, other: JsonObject) -> bool:
    """Whether both specs say that they share their folder."""
    return one.get("shared") is True and other.get("shared") is True


def overlap(one: PurePath, other: PurePath) -> bool:
    """Whether two folders are the same, or one lies in the other."""
    return one.is_relative_to(other) or other.is_relative_to(one)


def _make(folder: Path) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink():
        raise WorkspaceUnusable("a symlink stands in its place on the worker's volume.")


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


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


def _is_beneath(path: Path, roots: Sequence[Path]) -> bool:
    return any(path.is_relative_to(root) for root in roots)


def _existing(path: Path, volume: Volume) -> Path:
    """The real path, without symlinks, so that what it names cannot be moved by changing one."""
    real = Path(os.path.realpath(path))
    # The same words for absent and foreign ones: a caller must not learn what else lies on the disk.
    if not _is_beneath(real, [Path(os.path.realpath(root)) for root in volume.allowed_roots]):
        raise WorkspaceUnusable(f"{path} is not in a folder that CORRAL_ALLOWED_FOLDERS of the worker names.")
    if real.is_relative_to(volume.root) or volume.root.is_relative_to(real):
        raise WorkspaceUnusable(f"{path} would show the workspaces of other sessions.")
    if not os.path.isdir(real):  # noqa: PTH112 - False, where Path.is_dir raises, for what may not be looked at
        raise WorkspaceUnusable(f"{path} is not a folder on the worker.")
    if not os.access(real, os.R_OK | os.W_OK | os.X_OK):
        raise WorkspaceUnusable(f"{path} cannot be read and written by the worker.")
    return real
