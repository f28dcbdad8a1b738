"""Two sessions in one existing folder, where only symlinks show that it is one: seen when the folder is opened."""

from __future__ import annotations

import os
from pathlib import Path

from shared.domain.errors import WorkspaceUnusable
from shared.domain.session import Session
from shared.store import folders
from shared.store.database import Database
from shared.workspaces.existing import overlap
from shared.workspaces.folder import Folder, may_share
from shared.workspaces.kind import Place, Volume


def check(database: Database, session: Session, place: Place, volume: Volume) -> None:
    """Return unless an older living session works in this folder of this disk and one of the two does not share.

    Blocks on database and disk.

    Raises:
        WorkspaceUnusable: one does.
    """
    if session.spec.workspace_kind != Folder.name:
        return
    real = Path(os.path.realpath(place.root))
    with database.read() as connection:
        holders = folders.holders(connection, Folder.name)
    for holder in holders:
        if holder.session == session.id:
            # The list is by age: of two the older one works on.
            return
        is_here = holder.volume_id in {None, volume.id}
        if not is_here or may_share(session.spec.workspace, holder.workspace):
            continue
        if overlap(real, Path(os.path.realpath(str(holder.workspace["path"])))):
            raise WorkspaceUnusable("another session works in the same folder under another name.")
