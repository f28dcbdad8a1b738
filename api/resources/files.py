"""Files of a workspace: list, look at, read, write, remove, pack. Nothing outside the workspace, ever."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from api.routes import Call, Reply, Route, Routes, Shown, tell
from api.schemas.files import ArchiveQuery, EntryView, FileQuery, FilesQuery, ListingView, RemovalQuery
from api.wire import FETCH_HEADER
from shared.domain.errors import InvalidField
from shared.domain.ids import SessionId
from shared.domain.tenant import Scope
from shared.operations import files
from shared.workspaces.opener import Chunk, Entry, Listing
from shared.workspaces.remote import Payload
from shared.workspaces.writer import Written

routes = Routes("files", "What lies in a session's workspace.")

_AWAY = {503: "`files_away`: no live worker has the disk", 422: "`invalid_field`: the path leads out of the workspace"}


def _session(call: Call) -> SessionId:
    return call.id("session_id", "ses", SessionId)


@routes.add(
    Route(
        "GET",
        "/v1/sessions/<session_id>/files",
        replies={200: Shown(ListingView, "What the workspace holds.")},
        scope=Scope.READ,
        query=FilesQuery,
        problems=_AWAY,
    )
)
def list_files(call: Call) -> Reply:
    """What the workspace holds. Works after the session's end, for as long as the files lie there."""
    return _listing(_list(call, "."))


@routes.add(
    Route(
        "GET",
        "/v1/sessions/<session_id>/files/<path:path>",
        replies={
            200: Shown(
                None,
                "A file's bytes (text as `text/plain`), with its size in `X-Corral-File-Size`; a folder's listing, "
                "or with `info=true` one entry, as JSON.",
                "application/octet-stream",
            )
        },
        scope=Scope.READ,
        query=FileQuery,
        problems=_AWAY,
    )
)
def read_file(call: Call) -> Reply:
    """A file of the workspace, or a part of it; a folder's listing; with `info=true` what it is."""
    path = call.path["path"]
    entry = files.info(call.context, call.caller, _session(call), path)
    if call.query["info"]:
        return tell(EntryView, _fields(entry))
    if entry.type == "folder":
        return _listing(_list(call, path))
    return _content(
        files.read(
            call.context,
            call.caller,
            _session(call),
            path,
            offset=call.query["offset"],
            limit=call.query["limit"],
        )
    )


@routes.add(
    Route(
        "PUT",
        "/v1/sessions/<session_id>/files/<path:path>",
        replies={200: Shown(EntryView, "The file was replaced."), 201: Shown(EntryView, "The file is new.")},
        scope=Scope.WRITE,
        takes_file=True,
        headers={"If-None-Match": "`*`: only where there is no file of this name, otherwise 409 `file_exists`."},
        problems={
            **_AWAY,
            408: "`request_timeout`: the body did not come in time",
            409: "`file_exists`, `workspace_full`: it holds as much as it may",
            503: "`files_away`, `volume_full`: the worker's disk is full, `too_many_uploads`",
        },
    )
)
def write_file(call: Call) -> Reply:
    """Put the body's bytes into a file of the workspace, whole or not at all; folders above it are made.

    Works for running, parked and ended sessions. Symlinks are not followed, and only plain files are replaced, which
    keep their permissions.
    """
    upload = call.upload
    if upload is None:
        raise InvalidField("body", "must be the file's bytes")
    wish = files.NewFile(
        call.path["path"],
        Payload(upload.file, upload.size_bytes, upload.sha256),
        create_only=_create_only(call.headers.get("if-none-match")),
    )
    return _written(files.write(call.context, call.caller, _session(call), wish, once=call.once(_written)))


@routes.add(
    Route(
        "DELETE",
        "/v1/sessions/<session_id>/files/<path:path>",
        replies={200: Shown(EntryView, "What it was.")},
        scope=Scope.WRITE,
        query=RemovalQuery,
        problems={**_AWAY, 409: "`folder_not_empty`: say `recursive=true`"},
    )
)
def delete_file(call: Call) -> Reply:
    """Remove a file, a symlink (not what it names) or a folder of the workspace."""
    recursive = call.query["recursive"]
    gone = files.delete(call.context, call.caller, _session(call), call.path["path"], recursive=recursive)
    return tell(EntryView, _fields(gone))


@routes.add(
    Route(
        "GET",
        "/v1/sessions/<session_id>/archive",
        replies={200: Shown(None, "A tar archive, streamed; `tar.gz` with `gzip=true`.", "application/x-tar")},
        scope=Scope.READ,
        query=ArchiveQuery,
        problems={**_AWAY, 503: "`files_away`, `too_many_archives`"},
    )
)
def archive(call: Call) -> Reply:
    """A folder of the workspace as a tar archive: plain files with one name, folders, symlinks that stay inside.

    What is left out is named in its last entry, `corral-left-out.txt`. A stream without its last chunk broke off.
    """
    session, gzip = _session(call), call.query["gzip"]
    fetches = files.archive(call.context, call.caller, session, call.query["path"], gzip=gzip)
    name = f"{session}.tar.gz" if gzip else f"{session}.tar"
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        # The shell takes this off and streams what it names.
        FETCH_HEADER: json.dumps([[one.url, dict(one.headers)] for one in fetches]),
    }
    return Reply(200, b"", "application/gzip" if gzip else "application/x-tar", headers)


def _create_only(condition: str | None) -> bool:
    if condition not in {None, "*"}:
        raise InvalidField("If-None-Match", "must be *")
    return condition is not None


def _written(made: Written) -> Reply:
    return tell(EntryView, _fields(made.entry), 201 if made.is_new else 200)


def _list(call: Call, path: str) -> Listing:
    return files.listing(
        call.context, call.caller, _session(call), path, depth=call.query["depth"], limit=call.query["entries"]
    )


def _listing(found: Listing) -> Reply:
    return tell(ListingView, {"data": [_fields(entry) for entry in found.entries], "truncated": found.truncated})


def _fields(entry: Entry) -> dict[str, Any]:
    return dataclasses.asdict(entry)


def _content(chunk: Chunk) -> Reply:
    headers = {
        "X-Corral-File-Size": str(chunk.size_bytes),
        "X-Corral-File-Offset": str(chunk.offset),
        # Whatever an agent wrote is never rendered as a page of ours.
        "Content-Disposition": "attachment",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    media_type = "text/plain; charset=utf-8" if _is_text(chunk.data) else "application/octet-stream"
    return Reply(200, chunk.data, media_type, headers)


def _is_text(data: bytes) -> bool:
    # A part of a file may end in the middle of a character.
    cut = data[:-3] if len(data) > 3 else data
    try:
        cut.decode()
    except UnicodeDecodeError as problem:
        return problem.start >= len(cut) - 3 and b"\0" not in data
    return b"\0" not in data
