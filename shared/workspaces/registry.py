"""Every workspace kind, by name. A new kind is one file and one line here."""

from __future__ import annotations

from collections.abc import Mapping

from shared.domain.errors import UnknownWorkspaceKind
from shared.workspaces.folder import Folder
from shared.workspaces.git import Git
from shared.workspaces.kind import Kind
from shared.workspaces.worktree import Worktree

KINDS: Mapping[str, Kind] = {kind.name: kind for kind in (Folder(), Git(), Worktree())}


def find(name: str) -> Kind:
    """The kind called `name`.

    Raises:
        UnknownWorkspaceKind: there is none; the message lists those there are.
    """
    if name not in KINDS:
        raise UnknownWorkspaceKind(name, ", ".join(sorted(KINDS)))
    return KINDS[name]
