"""How much a workspace holds and how much room its disk has left, held against what the operator allows."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from shared.domain.errors_files import VolumeFull, WorkspaceFull
from shared.workspaces.kind import Place
from shared.workspaces.opener import opened_root

MAX_COUNTED = 200_000
"""Entries looked at when a workspace is measured; what lies beyond is not counted."""
_BLOCK_BYTES = 512
"""Unit of `st_blocks`, whatever the file system's own is."""


@dataclass(frozen=True, slots=True)
class Measure:
    """What a workspace takes on its disk. `truncated`: it holds more entries than were counted."""

    size_bytes: int
    entries: int
    truncated: bool


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the operator allows. `workspace_bytes` bounds each workspace Corral made; None: no bound."""

    free_bytes: int = 0
    """What must stay free on a disk."""
    workspace_bytes: int | None = None

    def check(self, place: Place, more_bytes: int = 0) -> None:
        """Return if `more_bytes` may be written into `place`. Blocks on disk.

        Raises:
            VolumeFull: too little would stay free.
            WorkspaceFull: the workspace would hold too much.
            WorkspaceUnusable: it is gone.
        """
        with opened_root(place.root) as top:
            disk = os.fstatvfs(top)
        free = disk.f_bavail * disk.f_frsize
        if free - more_bytes < self.free_bytes:
            raise VolumeFull(free, self.free_bytes)
        if self.workspace_bytes is None or not place.managed:
            return
        used = measure(place.root).size_bytes
        if used + more_bytes > self.workspace_bytes:
            raise WorkspaceFull(used, self.workspace_bytes)


def measure(root: Path, *, most: int = MAX_COUNTED) -> Measure:
    """What lies beneath `root`, as it takes room on the disk; a file with several names counts once.

    Raises:
        WorkspaceUnusable: it is gone.
    """
    size = entries = 0
    linked: set[tuple[int, int]] = set()
    with opened_root(root) as top:
        # fwalk goes by descriptors: a folder that becomes a symlink under our hands leads nowhere.
        for _, folders, files, folder in os.fwalk(".", dir_fd=top):
            for name in (*folders, *files):
                if entries == most:
                    return Measure(size, entries, truncated=True)
                entries += 1
                size += _room(name, folder, linked)
    return Measure(size, entries, truncated=False)


def _room(name: str, folder: int, linked: set[tuple[int, int]]) -> int:
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return 0
    if found.st_nlink > 1:
        if (found.st_dev, found.st_ino) in linked:
            return 0
        linked.add((found.st_dev, found.st_ino))
    return found.st_blocks * _BLOCK_BYTES
