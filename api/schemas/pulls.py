"""A pull request on the wire."""

from __future__ import annotations

from marshmallow import fields, validate

from api.schemas.fields import Request, View, flag, line, shown, text
from api.schemas.prompts import NOT_BLANK

_MAIL = validate.Regexp(r"[^\s<>@]{1,64}@[^\s<>@]{1,190}\Z", error="Must be a mail address.")


class AuthorBody(Request):
    """Who is named as the author of the commit."""

    name = line(
        "Name.",
        max_length=100,
        required=True,
        validate=[NOT_BLANK, validate.Regexp(r"[^<>]*\Z", error="Must not hold < or >.")],
    )
    email = line("Mail address.", max_length=254, required=True, validate=_MAIL)


class OpenPullRequest(Request):
    """What is absent is made of the session and its last completed turn."""

    title = line("Title. Absent: the session's, or the first line of the last prompt.", max_length=200)
    body = text("Text, in Markdown. Absent: the last turn's result.", max_length=60_000, min_length=0)
    message = text(
        "Message of the commit of what is not committed yet. Absent: the title.", max_length=10_000, validate=NOT_BLANK
    )
    branch = line("Branch to push. Absent: the worktree's, or `corral/<session>`.", max_length=250)
    base = line("Branch it is proposed to. Absent: the repository's default branch.", max_length=250)
    author = fields.Nested(AuthorBody, metadata={"description": "Author of the commit. Absent: Corral."})
    draft = flag("Open it as a draft.", load_default=False)


class PullRequestView(View):
    """A pull request with the session's work."""

    number = shown(fields.Integer, "Its number.")
    url = shown(fields.String, "Where people see it.")
    branch = shown(fields.String, "The branch that was pushed.")
    base = shown(fields.String, "The branch it is proposed to.")
    commit = shown(fields.String, "The commit it stands at.")
