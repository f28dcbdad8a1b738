"""What git says of a workspace: diff, status, log."""

from __future__ import annotations

import dataclasses

from api.routes import Call, Reply, Route, Routes, Shown, tell
from api.schemas.fields import NoQuery
from api.schemas.gitviews import DiffQuery, DiffView, GitLogQuery, GitLogView, GitStatusView
from shared.domain.ids import SessionId
from shared.domain.tenant import Scope
from shared.operations import files

routes = Routes("git", "What git says of a session's workspace.")

_PROBLEMS = {
    422: "`not_a_repository`, `git_timed_out`, `git_failed`",
    503: "`files_away`: no live worker has the disk",
}


@routes.add(
    Route(
        "GET",
        "/v1/sessions/<session_id>/diff",
        replies={200: Shown(DiffView, "What differs.")},
        scope=Scope.READ,
        query=DiffQuery,
        problems=_PROBLEMS,
    )
)
def get_diff(call: Call) -> Reply:
    """What the files of the workspace differ in from a commit, those git does not know included. At most 2 MiB."""
    return tell(DiffView, files.diff(call.context, call.caller, _session(call), base=call.query["base"]))


@routes.add(
    Route(
        "GET",
        "/v1/sessions/<session_id>/git/status",
        replies={200: Shown(GitStatusView, "Where it stands.")},
        scope=Scope.READ,
        query=NoQuery,
        problems=_PROBLEMS,
    )
)
def get_git_status(call: Call) -> Reply:
    """Branch, commit and changed paths of the workspace's repository."""
    return tell(GitStatusView, dataclasses.asdict(files.git_status(call.context, call.caller, _session(call))))


@routes.add(
    Route(
        "GET",
        "/v1/sessions/<session_id>/git/log",
        replies={200: Shown(GitLogView, "The commits.")},
        scope=Scope.READ,
        query=GitLogQuery,
        problems=_PROBLEMS,
    )
)
def get_git_log(call: Call) -> Reply:
    """Commits of the workspace's repository that its head reaches, newest first."""
    limit, skip = call.query["limit"], call.query["skip"]
    found = files.git_log(call.context, call.caller, _session(call), limit=limit, skip=skip)
    return tell(GitLogView, {"data": found})


def _session(call: Call) -> SessionId:
    return call.id("session_id", "ses", SessionId)
