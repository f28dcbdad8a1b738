"""Files of a workspace on the wire."""

from __future__ import annotations

from marshmallow import fields

from api.schemas.fields import Request, View, counted, moment, shown, switch, text
from shared.workspaces.opener import MAX_DEPTH, MAX_ENTRIES, MAX_READ_BYTES


class FilesQuery(Request):
    """What to show of a folder, or which part of a file."""

    depth = counted("Folder: levels to go down.", at_least=1, at_most=MAX_DEPTH, default=1)
    entries = counted("Folder: most entries of the answer.", at_least=1, at_most=MAX_ENTRIES, default=1000)


class FileQuery(FilesQuery):
    """What to show of a folder, or which part of a file."""

    info = switch("Tell what it is instead of what is in it.")
    offset = counted("File: first byte.", at_least=0, at_most=2**53, default=0)
    limit = counted("File: most bytes of the answer.", at_least=1, at_most=MAX_READ_BYTES, default=MAX_READ_BYTES)


class RemovalQuery(Request):
    """How to remove."""

    recursive = switch("Folder: with all that is in it; otherwise only an empty one goes.")


class ArchiveQuery(Request):
    """What to pack."""

    path = text("Folder to pack, relative to the workspace.", max_length=4096, load_default=".")
    gzip = switch("Compress it (`tar.gz`).")


class EntryView(View):
    """One thing in the workspace."""

    path = shown(fields.String, "Relative to the workspace; `.` is the workspace itself.")
    type = shown(fields.String, "`file`, `folder`, `symlink` or `other`.")
    size_bytes = shown(fields.Integer, "Its size.")
    modified_at = moment("When its content last changed.")


class ListingView(View):
    """What a folder holds. Symlinks are shown, not followed."""

    data = fields.List(fields.Nested(EntryView), required=True, metadata={"description": "The entries, by path."})
    truncated = shown(fields.Boolean, "There is more than `entries`.")
