"""Who works in an existing folder: one session alone, or all that said they would share it."""

from __future__ import annotations

from pathlib import PurePosixPath

from shared.domain.errors_files import FolderInUse
from shared.domain.session import SessionSpec
from shared.operations.transaction import Act
from shared.store import folders
from shared.workspaces.existing import overlap
from shared.workspaces.folder import Folder, may_share


def take(act: Act, spec: SessionSpec) -> None:
    """Return if a session with this spec may be made: nobody who will not share works in its folder, above or below.

    Judged by the paths as they are written; what symlinks make of them the worker sees when it opens the folder.

    Raises:
        FolderInUse: somebody does.
    """
    path = spec.workspace.get("path")
    if spec.workspace_kind != Folder.name or not isinstance(path, str):
        return
    folders.lock(act.connection)
    for holder in folders.holders(act.connection, Folder.name):
        if may_share(spec.workspace, holder.workspace):
            continue
        if overlap(PurePosixPath(path), PurePosixPath(str(holder.workspace["path"]))):
            # Whose it is, is nobody's business but its tenant's.
            raise FolderInUse(path, holder.session if holder.tenant == act.caller.tenant else None)
