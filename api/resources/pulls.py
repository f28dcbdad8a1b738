"""Pull requests with what a session's agent did."""

from __future__ import annotations

from api.routes import Call, Reply, Route, Routes, Shown, tell
from api.schemas.pulls import OpenPullRequest, PullRequestView
from shared.domain.ids import SessionId
from shared.domain.pulls import PullRequest
from shared.domain.tenant import Scope
from shared.operations import pulls
from shared.operations.pulls import AUTHOR, Wish

routes = Routes("pulls", "Pull requests with what a session's agent did.")


@routes.add(
    Route(
        "POST",
        "/v1/sessions/<session_id>/pull-request",
        replies={
            201: Shown(PullRequestView, "The new pull request."),
            200: Shown(PullRequestView, "The one its branch had; it shows the new commits."),
        },
        scope=Scope.WRITE,
        body=OpenPullRequest,
        problems={
            409: "`session_busy`: a turn runs; `nothing_to_propose`",
            422: "`unsupported`: no repository on GitHub; `git_failed`, `pull_request_refused`",
            503: "`files_away`: no live worker has the disk",
        },
    )
)
def open_pull_request(call: Call) -> Reply:
    """Commit what the agent left, push it as a branch and open a pull request on GitHub. Safe to repeat."""
    body = call.body
    author = body.get("author")
    wish = Wish(
        title=body.get("title"),
        body=body.get("body"),
        message=body.get("message"),
        branch=body.get("branch"),
        base=body.get("base"),
        author=AUTHOR if author is None else (author["name"], author["email"]),
        draft=body["draft"],
    )
    session = call.id("session_id", "ses", SessionId)
    return _told(pulls.open_pull(call.context, call.caller, session, wish, once=call.once(_told)))


def _told(made: PullRequest) -> Reply:
    return tell(PullRequestView, made, 201 if made.is_new else 200)
