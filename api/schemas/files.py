"""Files of a workspace on the wire."""

from __future__ import annotations

from marshmallow import fields, validate

from api.schemas.fields import Request, View, Whole, moment, shown, text
from shared.workspaces.opener import MAX_DEPTH, MAX_ENTRIES, MAX_READ_BYTES


class FilesQuery(Request):
    """What to show of a folder, or which part of a file."""

    depth = Whole(
        textual=True,
        load_default=1,
        validate=validate.Range(1, MAX_DEPTH),
        metadata={"description": "Folder: levels to go down."},
    )
    entries = Whole(
        textual=True,
        load_default=1000,
        validate=validate.Range(1, MAX_ENTRIES),
        metadata={"description": "Folder: most entries of the answer."},
    )


class FileQuery(FilesQuery):
    """What to show of a folder, or which part of a file."""

    info = fields.Boolean(
        load_default=False,
        truthy={"true", "1"},
        falsy={"false", "0"},
        metadata={"description": "Tell what it is instead of what is in it."},
    )
    offset = Whole(
        textual=True,
        load_default=0,
        validate=validate.Range(0, 2**53),
        metadata={"description": "File: first byte."},
    )
    limit = Whole(
        textual=True,
        load_default=MAX_READ_BYTES,
        validate=validate.Range(1, MAX_READ_BYTES),
        metadata={"description": "File: most bytes of the answer."},
    )


class RemovalQuery(Request):
    """How to remove."""

    recursive = fields.Boolean(
        load_default=False,
        truthy={"true", "1"},
        falsy={"false", "0"},
        metadata={"description": "Folder: with all that is in it; otherwise only an empty one goes."},
    )


class ArchiveQuery(Request):
    """What to pack."""

    path = text("Folder to pack, relative to the workspace.", max_length=4096, load_default=".")
    gzip = fields.Boolean(
        load_default=False,
        truthy={"true", "1"},
        falsy={"false", "0"},
        metadata={"description": "Compress it (`tar.gz`)."},
    )


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
