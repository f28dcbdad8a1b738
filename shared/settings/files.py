"""Settings of files and of the life of workspaces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from shared.domain.parsing import count, count_or_none, maybe_count
from shared.settings.entry import setting


@dataclass(frozen=True, slots=True)
class Files:
    """Files of workspaces, and how much of them there may be."""

    heading: ClassVar[str] = "Workspaces and their files"
    file_limit: int = setting(
        "CORRAL_FILE_LIMIT", 100 * 1024 * 1024, "Largest file that `PUT …/files/{path}` takes, bytes.", count
    )
    archive_limit: int = setting(
        "CORRAL_ARCHIVE_LIMIT",
        4 * 1024**3,
        "Bytes of files one archive may hold; what goes beyond is left out, and named in its last entry.",
        count,
    )
    disk_free: int = setting(
        "CORRAL_DISK_FREE",
        256 * 1024 * 1024,
        "Bytes that stay free on a worker's disk: where less would be left, `PUT …/files/{path}` takes no file.",
        count_or_none,
    )
    workspace_bytes: int | None = setting(
        "CORRAL_WORKSPACE_BYTES",
        None,
        "Bytes a workspace that Corral made may take on the disk with what `PUT …/files/{path}` adds; what the agent "
        "writes itself is not bounded by it. Empty: any number.",
        maybe_count,
    )
