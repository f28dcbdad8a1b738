"""The folders of one session on a volume, for kinds that make its workspace themselves."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from shared.domain.errors import InvalidField, WorkspaceUnusable
from shared.domain.ids import SessionId, is_id
from shared.workspaces.copying import copy_tree
from shared.workspaces.kind import Place, Volume

REMOVE_S: Final = 600.0


def own(session: SessionId, volume: Volume) -> Path:
    """Where all of the session is on the volume.

    Raises:
        InvalidField: it is no session id, which could name any folder.
    """
    if not is_id(session, "ses"):
        raise InvalidField("session", "is no session id")
    return volume.root / "sessions" / session


def place(session: SessionId, volume: Volume) -> Place:
    """Its workspace and its home, whether they are there or not."""
    folder = own(session, volume)
    return Place(folder / "workspace", folder / "home", managed=True)


def found(session: SessionId, volume: Volume) -> Place | None:
    """The same where both are there."""
    known = place(session, volume)
    return known if has_home(session, volume) and _is_folder(known.root) else None


def has_home(session: SessionId, volume: Volume) -> bool:
    """Whether `prepare` has been here."""
    folder = own(session, volume)
    return not folder.is_symlink() and (folder / "home").is_dir()


def make(session: SessionId, volume: Volume, fill: Callable[[Path], None]) -> Place:
    """Its workspace, filled once by `fill`, which makes the folder it is given; whole as soon as it is there.

    Raises:
        WorkspaceUnusable: the volume cannot be written; nothing of a new workspace is left.
    """
    known = prepare(session, volume)
    try:
        if not known.root.exists():
            with _fresh(known.root.parent) as fresh:
                fill(fresh / "workspace")
                (fresh / "workspace").chmod(0o700)
                (fresh / "workspace").rename(known.root)
    except OSError as trouble:
        raise WorkspaceUnusable(f"the worker's volume cannot be written ({trouble.strerror}).") from trouble
    return known


def prepare(session: SessionId, volume: Volume) -> Place:
    """Its home, made where it is not there, and where its workspace is to be.

    Raises:
        WorkspaceUnusable: the volume cannot be written.
    """
    known = place(session, volume)
    try:
        for folder in (known.root.parent.parent, known.root.parent, known.home):
            _make(folder)
        known.home.chmod(0o700)
    except OSError as trouble:
        raise WorkspaceUnusable(f"the worker's volume cannot be written ({trouble.strerror}).") from trouble
    if known.root.is_symlink():
        raise WorkspaceUnusable("a symlink stands in its place on the worker's volume.")
    return known


def copy_of(source: SessionId, volume: Volume, root: Path) -> None:
    """Copy the workspace of another session to `root`, as `copying.copy_tree` does."""
    copy_tree(place(source, volume).root, root)


def remove(session: SessionId, volume: Volume) -> None:
    """Remove all of the session from the volume. Idempotent; follows no symlink.

    Raises:
        WorkspaceUnusable: not all of it could be removed.
    """
    folder = own(session, volume)
    try:
        if folder.is_symlink():
            folder.unlink()
        elif folder.exists():
            _remove_tree(folder)
    except (OSError, RecursionError, subprocess.SubprocessError) as trouble:
        problem = getattr(trouble, "strerror", None) or "its folders are nested too deep"
        raise WorkspaceUnusable(f"not all of it could be removed from the worker's volume ({problem}).") from trouble


@contextmanager
def _fresh(beside: Path) -> Iterator[Path]:
    # One that was broken off by the end of a worker; nobody else works in a session's folder.
    for left in beside.glob(".fresh-*"):
        shutil.rmtree(left, ignore_errors=True)
    fresh = Path(tempfile.mkdtemp(prefix=".fresh-", dir=beside))
    try:
        yield fresh
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _make(folder: Path) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink():
        raise WorkspaceUnusable("a symlink stands in its place on the worker's volume.")


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _remove_tree(top: Path) -> None:
    try:
        shutil.rmtree(top, ignore_errors=True)
    except RecursionError:
        # Nested deeper than Python's stack; rm has no such bound.
        subprocess.run(["rm", "-rf", "--", str(top)], check=False, capture_output=True, timeout=REMOVE_S)
    if top.exists():
        _loosen(top)
        shutil.rmtree(top)


def _loosen(top: Path) -> None:
    # Agents leave folders behind that nobody may write (Go's module cache does so). None of their processes is
    # left by now, so no folder turns into a symlink under our hands.
    top.chmod(0o700)
    for parent, names, _ in os.walk(top):
        for name in names:
            folder = Path(parent, name)
            if not folder.is_symlink():
                folder.chmod(0o700)
