"""Tools that read the files of a session's workspace, under the names of pokeclaw. Nothing outside it, ever."""

from __future__ import annotations

import base64
from pathlib import PurePosixPath
from typing import Any

from marshmallow import fields

from api.mcp.fields import ref
from api.mcp.tool import Asked, Family, Shape, Told
from api.mcp.views import cwd_of
from api.schemas.fields import Request, View, flag, moment, shown, text, whole
from shared.domain.errors_mcp import NoSessionHoldsPath
from shared.domain.ids import SessionId
from shared.domain.tenant import Scope
from shared.operations import files, sessions
from shared.workspaces.opener import MAX_DEPTH, MAX_READ_BYTES, Chunk, Entry, Listing

tools = Family("files")

ROOT = "."
_LOOKED_THROUGH = 200
"""Newest sessions among which the one that holds an absolute path is looked for."""
_ENTRIES = 1000
_BASE64_BYTES = 256 * 1024
"""Most bytes of a file that is no text; models cannot read them anyway."""


class ReadFile(Request):
    """Which lines of which file."""

    path = text("Relative to the session's workspace; or absolute, in a `cwd`.", max_length=4096, required=True)
    session = ref("The session; may be left out for an absolute path in a `cwd` of yours.", "sessionId", required=False)
    lines = whole("Most lines.", at_least=1, at_most=100_000, load_default=2000, data_key="maxLines")
    offset = whole("First line, from 0.", at_least=0, at_most=2**53, load_default=0)


class FileLines(View):
    """A part of a text file."""

    session = shown(fields.String, "The session whose workspace holds it.", data_key="sessionId")
    path = shown(fields.String, "Relative to the workspace.")
    total_lines = shown(
        fields.Integer, "Lines of the file; null: it is larger than what is read.", maybe=True, data_key="totalLines"
    )
    lines = shown(fields.String, "The lines, joined by newlines.")
    size_bytes = shown(fields.Integer, "Size of the file.", data_key="sizeBytes")


@tools.add(
    Shape("Read a file", ReadFile, FileLines, Scope.READ, {"sessionId": "ses_…", "path": "src/app.py", "maxLines": 200})
)
def read_file(asked: Asked) -> Told:
    """Lines of a text file of a session's workspace, also after the session has ended.

    Files outside workspaces are refused. Use `list_directory` to see what is there.
    """
    session, path = placed(asked, asked.args["path"])
    chunk = files.read(asked.context, asked.caller, session, path, offset=0, limit=MAX_READ_BYTES)
    found = chunk.data.decode(errors="replace").splitlines()
    whole_file = len(chunk.data) == chunk.size_bytes
    first = asked.args["offset"]
    return {
        "session": session,
        "path": path,
        "total_lines": len(found) if whole_file else None,
        "lines": "\n".join(found[first : first + asked.args["lines"]]),
        "size_bytes": chunk.size_bytes,
    }


class ListDirectory(Request):
    """Which folder."""

    path = text("Relative to the session's workspace; or absolute, in a `cwd`.", max_length=4096, load_default=ROOT)
    session = ref("The session; may be left out for an absolute path in a `cwd` of yours.", "sessionId", required=False)
    recursive = flag(f"Go down {MAX_DEPTH} levels.", load_default=False)


class EntryShown(View):
    """One thing in a workspace."""

    name = shown(fields.String, "Its name.")
    path = shown(fields.String, "Relative to the workspace.")
    type = shown(fields.String, "`file`, `directory`, `symlink` or `other`.")
    size_bytes = shown(fields.Integer, "Its size.", data_key="sizeBytes")
    modified_at = moment("When its content last changed.", data_key="modifiedAt")


class DirectoryShown(View):
    """What a folder holds."""

    session = shown(fields.String, "The session whose workspace holds it.", data_key="sessionId")
    path = shown(fields.String, "Relative to the workspace.")
    entries = fields.List(
        fields.Nested(EntryShown), required=True, metadata={"description": "All of them by path, dotfiles too."}
    )
    truncated = shown(fields.Boolean, f"There are more than {_ENTRIES}.")


@tools.add(
    Shape("List a directory", ListDirectory, DirectoryShown, Scope.READ, {"sessionId": "ses_…", "path": "src"}),
)
def list_directory(asked: Asked) -> Told:
    """What a folder of a session's workspace holds, one level or three. Symlinks are shown, not followed."""
    session, path = placed(asked, asked.args["path"])
    found = listing(asked, session, path, depth=MAX_DEPTH if asked.args["recursive"] else 1)
    entries = [entry_fields(entry) for entry in found.entries]
    return {"session": session, "path": path, "entries": entries, "truncated": found.truncated}


def listing(asked: Asked, session: SessionId, path: str, *, depth: int = 1) -> Listing:
    """What a folder holds, as `GET …/files` tells."""
    return files.listing(asked.context, asked.caller, session, path or ROOT, depth=depth, limit=_ENTRIES)


def entry_fields(entry: Entry) -> Told:
    """One thing in a workspace, as `EntryShown` dumps it."""
    return {
        "name": PurePosixPath(entry.path).name or entry.path,
        "path": entry.path,
        "type": "directory" if entry.type == "folder" else entry.type,
        "size_bytes": entry.size_bytes,
        "modified_at": entry.modified_at,
    }


def content_fields(chunk: Chunk) -> dict[str, Any]:
    """What a file holds: text as it is, anything else in base64."""
    try:
        return {"content": chunk.data.decode(), "encoding": "utf-8"}
    except UnicodeDecodeError:
        data = chunk.data[:_BASE64_BYTES]
        return {"content": base64.b64encode(data).decode(), "encoding": "base64"}


def placed(asked: Asked, path: str) -> tuple[SessionId, str]:
    """The session a path lies in and the path relative to its workspace.

    An absolute path lies in the `cwd` of a session: of the one that is named, or of the newest that holds it.

    Raises:
        NoSessionHoldsPath: it lies in none.
    """
    if asked.args.get("session") is not None:
        seen = sessions.get(asked.context, asked.caller, asked.session).session
        return seen.id, _relative(path, cwd_of(seen)) or path
    if path.startswith("/"):
        found, _ = sessions.page(asked.context, asked.caller, limit=_LOOKED_THROUGH)
        for one in found:
            if (inside := _relative(path, cwd_of(one.session))) is not None:
                return one.session.id, inside
    raise NoSessionHoldsPath


def _relative(path: str, cwd: str | None) -> str | None:
    if cwd is None or not path.startswith("/") or ".." in PurePosixPath(path).parts:
        return None
    inside = PurePosixPath(path)
    return str(inside.relative_to(cwd)) if inside.is_relative_to(cwd) else None
