"""What git says of a workspace, on the wire."""

from __future__ import annotations

from marshmallow import fields

from api.schemas.fields import Request, View, counted, shown, text
from shared.workspaces.gitviews import MAX_LOG


class DiffQuery(Request):
    """From where."""

    base = text("Branch, tag or commit to compare with.", max_length=200, load_default="HEAD")


class DiffView(View):
    """What the files differ in from a commit."""

    base = shown(fields.String, "The commit; null: the repository has none yet.", maybe=True)
    diff = shown(fields.String, "Unified diff, with the files git does not know.", attribute="text")
    truncated = shown(fields.Boolean, "There is more.")


class ChangeView(View):
    """One path that differs from the last commit."""

    path = shown(fields.String, "Relative to the repository.")
    status = shown(fields.String, "`added modified deleted renamed copied retyped conflicted` or `untracked`.")
    staged = shown(fields.Boolean, "Whether any of it is in the index.")
    old_path = shown(fields.String, "What it was called before, where it was renamed or copied.", maybe=True)


class GitStatusView(View):
    """Where the repository stands."""

    branch = shown(fields.String, "Null: the head is detached.", maybe=True)
    head = shown(fields.String, "The last commit; null: there is none yet.", maybe=True)
    upstream = shown(fields.String, "The branch it follows.", maybe=True)
    ahead = shown(fields.Integer, "Commits it has before `upstream`.")
    behind = shown(fields.Integer, "Commits it lacks of `upstream`.")
    changes = fields.List(fields.Nested(ChangeView), required=True, metadata={"description": "What differs."})
    truncated = shown(fields.Boolean, "There are more changes.")


class GitLogQuery(Request):
    """Which commits."""

    limit = counted("Most commits of the answer.", at_least=1, at_most=MAX_LOG, default=50)
    skip = counted("Newest commits to leave out.", at_least=0, at_most=10**6, default=0)


class CommitView(View):
    """One commit."""

    id = shown(fields.String, "Its hash.")
    parents = shown(fields.List, "Hashes of its parents.", cls_or_instance=fields.String())
    author = shown(fields.String, "Name of its author.")
    at = shown(fields.String, "When it was written, by its author's clock.")
    subject = shown(fields.String, "First line of its message.")


class GitLogView(View):
    """Commits, newest first."""

    data = fields.List(fields.Nested(CommitView), required=True, metadata={"description": "The commits."})
