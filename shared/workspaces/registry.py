"""Every workspace kind, by name. A new kind is one file and one line here."""

from __future__ import annotations

from collections.abc import Mapping

from shared.domain.errors import UnknownWorkspaceKind
from shared.workspaces.folder import Folder
from shared.workspaces.git import Git
from shared.workspaces.kind import Kind

KINDS: Mapping[str, Kind] = {kind.name: kind for kind in (Folder(), Git())}


def find(name: str) -> Kind:
    """The kind called `name`.

    Raises:
        UnknownWorkspaceKind: there is none; the message lists those there are.
    """
    if name not in KINDS:
        raise UnknownWorkspaceKind(name, ", ".join(sorted(KINDS)))
    return KINDS[name]
