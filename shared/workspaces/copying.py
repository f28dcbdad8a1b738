"""Copies a workspace's files, so that another session begins with them."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from shared.domain.errors import WorkspaceUnusable


def copy_tree(source: Path, target: Path) -> None:
    """Copy `source`, a folder, to `target`, which is whole as soon as it is there. Where it is there, nothing is done.

    Links stay links, what is neither file nor folder (pipes, sockets) is left out.

    Raises:
        WorkspaceUnusable: `source` is gone, or cannot be copied; nothing of the copy is left.
    """
    if source.is_symlink() or not source.is_dir():
        raise WorkspaceUnusable("the files it was to begin with are no longer on the worker's volume.")
    # Beside the target, then moved: a copy that broke off must not be taken for a whole one.
    fresh = Path(tempfile.mkdtemp(prefix=".copy-", dir=target.parent))
    try:
        shutil.copytree(source, fresh, symlinks=True, copy_function=_copy, dirs_exist_ok=True)
        fresh.chmod(0o700)
        fresh.rename(target)
    except (shutil.Error, OSError, RecursionError) as trouble:
        if not target.is_dir():
            raise WorkspaceUnusable("the files it was to begin with cannot all be copied.") from trouble
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _copy(source: str, target: str) -> str:
    return str(shutil.copy2(source, target, follow_symlinks=False)) if os.path.isfile(source) else target  # noqa: PTH113
