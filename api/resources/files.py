"""Files of a workspace: list, look at, read. Nothing outside the workspace, ever."""

from __future__ import annotations

import dataclasses
from typing import Any

from api.routes import Call, Reply, Route, Routes, Shown, tell
from api.schemas.files import EntryView, FileQuery, FilesQuery, ListingView
from shared.domain.ids import SessionId
from shared.domain.tenant import Scope
from shared.operations import files
from shared.workspaces.opener import Chunk, Entry, Listing

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
