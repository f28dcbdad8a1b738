"""Errors of the files of workspaces: what cannot be written there, and where there is no room."""

from __future__ import annotations

from shared.domain.errors import Conflict, Unavailable


class FileThere(Conflict):
    """`If-None-Match: *` met a file of that name."""

    code = "file_exists"

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} is there already. Leave If-None-Match out to replace it.", path=path)


class FolderNotEmpty(Conflict):
    """A folder that holds something is removed only where that was asked for."""

    code = "folder_not_empty"

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} is a folder that holds something; recursive=true removes it.", path=path)


class WorkspaceFull(Conflict):
    """The workspace would hold more than one may."""

    code = "workspace_full"

    def __init__(self, used_bytes: int, limit_bytes: int) -> None:
        super().__init__(
            f"The workspace holds {used_bytes} bytes and may hold {limit_bytes} (CORRAL_WORKSPACE_BYTES). "
            "Remove something from it.",
            used_bytes=used_bytes,
            limit_bytes=limit_bytes,
        )


class VolumeFull(Unavailable):
    """The disk that holds the workspace has too little room left."""

    code = "volume_full"

    def __init__(self, free_bytes: int, keep_bytes: int) -> None:
        super().__init__(
            f"The worker's disk has {free_bytes} bytes free, and {keep_bytes} must stay free (CORRAL_DISK_FREE).",
            free_bytes=free_bytes,
            keep_bytes=keep_bytes,
        )


class UploadsFull(Unavailable):
    """This API process takes as many uploads at once as it may."""

    code = "too_many_uploads"

    def __init__(self, limit: int) -> None:
        super().__init__(f"{limit} files are on their way here already. Try again in a moment.", limit=limit)


class ArchivesFull(Unavailable):
    """This API process passes on as many archives at once as it may."""

    code = "too_many_archives"

    def __init__(self, limit: int) -> None:
        super().__init__(f"{limit} archives are on their way here already. Try again in a moment.", limit=limit)


class FolderInUse(Conflict):
    """Another session works in the folder, above or below it, and one of the two does not share."""

    code = "folder_in_use"

    def __init__(self, path: str, session: str | None) -> None:
        super().__init__(
            f"{session or 'Another session'} works in {path}, above or below it. End it, or start both with "
            "shared: true.",
            path=path,
            session=session,
        )
