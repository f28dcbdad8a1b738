"""Tools of Poke Orchestrator that read files and history; reading removes nothing."""

from __future__ import annotations

from typing import Final

from marshmallow import fields

from api.mcp.fields import session_ref, taken
from api.mcp.files import ROOT, content_fields, entry_fields, listing
from api.mcp.poke_sessions import Done, SummaryView
from api.mcp.sessions import OneSession
from api.mcp.tool import ENDS, Asked, Family, Shape, Told
from api.mcp.views import cwd_of
from api.paging import DEFAULT_LIMIT
from api.schemas.fields import Request, View, moment, shown, text, whole
from api.schemas.paging import LogQuery, PageQuery
from shared.domain.errors import FilesAway, NotFound
from shared.domain.errors_mcp import SessionLives
from shared.domain.session import Session, SessionStatus
from shared.domain.tenant import Scope
from shared.operations import files, history, sessions
from shared.workspaces.opener import MAX_READ_BYTES

tools = Family("poke files")

_FILE_BYTES: Final = 1024 * 1024
"""Most bytes of a file in one answer where the caller says nothing."""
_MAX_STALE: Final = 50
"""Ended sessions looked at by one call: each is a question to a worker."""


class ReadSessionFile(OneSession):
    """Which part of which file."""

    path = text("Relative to the workspace.", max_length=4096, required=True)
    offset = whole("First byte.", at_least=0, at_most=2**53, load_default=0)
    limit = whole("Most bytes.", at_least=1, at_most=MAX_READ_BYTES, load_default=_FILE_BYTES)


class FileContent(SummaryView):
    """A part of a file."""

    path = shown(fields.String, "Relative to the workspace.")
    content = shown(fields.String, "The text; base64 where `encoding` says so.")
    encoding = shown(fields.String, "`utf-8` or `base64`.")
    size = shown(fields.Integer, "Size of the whole file, bytes.")
    truncated = shown(fields.Boolean, "There is more behind: ask again with a greater `offset`.")


@tools.add(
    Shape("Read a file", ReadSessionFile, FileContent, Scope.READ, {"sessionId": "ses_…", "path": "src/app.py"}),
)
def read_session_file(asked: Asked) -> Told:
    """A file of a session's workspace, also after its end. Nothing outside the workspace, whatever the path says."""
    path, offset = asked.args["path"], asked.args["offset"]
    chunk = files.read(asked.context, asked.caller, asked.session, path, offset=offset, limit=asked.args["limit"])
    return {
        "summary": f"{path}: {chunk.size_bytes} bytes.",
        "path": path,
        **content_fields(chunk),
        "size": chunk.size_bytes,
        "truncated": offset + len(chunk.data) < chunk.size_bytes,
    }


class ListSessionFiles(OneSession):
    """Which folder."""

    path = text(
        "Relative to the workspace; empty: the workspace itself.", min_length=0, max_length=4096, load_default=""
    )


class FileNames(SummaryView):
    """What a folder holds."""

    path = shown(fields.String, "Relative to the workspace.")
    files = shown(fields.List, "Names; those of folders end in `/`.", cls_or_instance=fields.String())
    truncated = shown(fields.Boolean, "There are more.")


@tools.add(Shape("List a folder", ListSessionFiles, FileNames, Scope.READ, {"sessionId": "ses_…", "path": "src"}))
def list_session_files(asked: Asked) -> Told:
    """Names of what a folder of the workspace holds, also after the session's end."""
    path = asked.args["path"]
    found = listing(asked, asked.session, path)
    shown_entries = [entry_fields(entry) for entry in found.entries]
    names = [f"{entry['name']}/" if entry["type"] == "directory" else entry["name"] for entry in shown_entries]
    return {"summary": f"{len(names)} entries.", "path": path, "files": names, "truncated": found.truncated}


class WhichFile(OneSession):
    """Which file."""

    path = text("Relative to the workspace.", max_length=4096, required=True)


class FileInfo(SummaryView):
    """What a path is."""

    path = shown(fields.String, "Relative to the workspace.")
    size = shown(fields.Integer, "Its size, bytes.")
    is_directory = shown(fields.Boolean, "Whether it is a folder.", data_key="isDirectory")
    modified_at = moment("When its content last changed.", data_key="modifiedAt")


@tools.add(Shape("Look at a file", WhichFile, FileInfo, Scope.READ, {"sessionId": "ses_…", "path": "README.md"}))
def get_session_file_info(asked: Asked) -> Told:
    """Size and time of a file or folder of the workspace."""
    entry = files.info(asked.context, asked.caller, asked.session, asked.args["path"])
    return {
        "summary": f"{entry.path}: {entry.type}, {entry.size_bytes} bytes.",
        "path": entry.path,
        "size": entry.size_bytes,
        "is_directory": entry.type == "folder",
        "modified_at": entry.modified_at,
    }


@tools.add(Shape("Delete a workspace", OneSession, Done, Scope.WRITE, {"sessionId": "ses_…"}, ENDS))
def delete_workspace(asked: Asked) -> Told:
    """Remove the workspace of an ended session, for good, where Corral made it; a folder of yours stays."""
    seen = sessions.get(asked.context, asked.caller, asked.session).session
    if seen.status is not SessionStatus.ENDED:
        raise SessionLives(seen.id, seen.status)
    sessions.terminate(asked.context, asked.caller, seen.id, remove_workspace=True)
    kept = cwd_of(seen)
    summary = f"Removed what Corral kept for {seen.id}." + (f" {kept} is yours and stays." if kept else "")
    return {"summary": summary, "status": "deleted", "session": seen.id}


class StaleQuery(Request):
    """Which page."""

    limit = whole("Most ended sessions looked at.", at_least=1, at_most=_MAX_STALE, load_default=20)
    cursor = taken(PageQuery, "cursor")


class StaleWorkspace(View):
    """A workspace whose session has ended."""

    session = shown(fields.String, "`ses_…`", data_key="sessionId")
    path = shown(fields.String, "Its workspace: files are read by session, so this is `.`.")
    modified_at = moment("When its content last changed.", data_key="modifiedAt")
    size_entries = shown(fields.Integer, "Entries on its first level, up to 1000.", data_key="sizeEntries")


class StaleList(SummaryView):
    """Workspaces of ended sessions."""

    workspaces = fields.List(
        fields.Nested(StaleWorkspace), required=True, metadata={"description": "Newest session first."}
    )
    count = shown(fields.Integer, "How many are in this answer.")
    unreachable = shown(fields.List, "Ended sessions whose disk no live worker has.", cls_or_instance=fields.String())
    next_cursor = shown(fields.String, "Pass as `cursor` for more; null: none.", maybe=True, data_key="nextCursor")


@tools.add(Shape("List left-over workspaces", StaleQuery, StaleList, Scope.READ, {"limit": 20}))
def list_stale_workspaces(asked: Asked) -> Told:
    """Workspaces Corral made that are left though their sessions have ended, for `delete_workspace`.

    Folders of yours are not listed.
    """
    found, onward = sessions.page(
        asked.context,
        asked.caller,
        status=[SessionStatus.ENDED],
        limit=asked.args["limit"],
        cursor=asked.args["cursor"],
    )
    stale, away = [], []
    for seen in found:
        try:
            told = _left_over(asked, seen.session)
        except FilesAway:
            away.append(seen.session.id)
        else:
            stale += [told] if told else []
    return {
        "summary": f"{len(stale)} workspace(s) of ended sessions.",
        "workspaces": stale,
        "count": len(stale),
        "unreachable": away,
        "next_cursor": onward,
    }


def _left_over(asked: Asked, session: Session) -> Told | None:
    if cwd_of(session) is not None:
        return None
    try:
        entry = files.info(asked.context, asked.caller, session.id, ROOT)
        found = listing(asked, session.id, ROOT)
    except NotFound:
        return None
    told = {"modified_at": entry.modified_at, "size_entries": len(found.entries)}
    return {"session": session.id, "path": entry.path, **told}


class ReadHistory(OneSession):
    """Which part of the conversation."""

    session = session_ref()
    after = taken(LogQuery, "after")
    limit = taken(LogQuery, "limit")


class HistoryShown(SummaryView):
    """What the agent said."""

    session = shown(fields.String, "`ses_…`", data_key="sessionId")
    chunks = shown(fields.List, "Its texts, oldest first.", cls_or_instance=fields.String())
    count = shown(fields.Integer, "How many are in this answer.")
    next_after = shown(
        fields.Integer, "Pass as `after` for what follows; null: none.", maybe=True, data_key="nextAfter"
    )


@tools.add(
    Shape(
        "Read what the agent said",
        ReadHistory,
        HistoryShown,
        Scope.READ,
        {"sessionId": "ses_…", "limit": DEFAULT_LIMIT},
    )
)
def read_message_history(asked: Asked) -> Told:
    """What the agent said, oldest first, also after the session's end. Reading removes nothing: ask as often as you
    like, onward with `after`.
    """
    found, onward = history.messages(
        asked.context, asked.caller, asked.session, after=asked.args["after"], limit=asked.args["limit"]
    )
    chunks = [message.text for message in found if message.direction == "out"]
    told = {"session": asked.session, "chunks": chunks, "count": len(chunks), "next_after": onward}
    return {"summary": f"{len(chunks)} message(s).", **told}
