"""Errors of git: what a repository, a server or a ref would not do. None names a path of the machine or a secret."""

from __future__ import annotations

from shared.domain.errors import Conflict, Refused


class GitFailed(Refused):
    """A git command could not do what was asked. `doing` says what was tried, `problem` why not."""

    code = "git_failed"

    def __init__(self, doing: str, problem: str) -> None:
        super().__init__(f"git {doing}: {problem}.", doing=doing, problem=problem)


class NotARepository(GitFailed):
    """The folder holds no git repository."""

    code = "not_a_repository"

    def __init__(self, doing: str = "status") -> None:
        super().__init__(doing, "the workspace is no git repository")


class GitTimedOut(GitFailed):
    """A git command was still running when its time was up, and was killed."""

    code = "git_timed_out"

    def __init__(self, doing: str, timeout_s: float) -> None:
        super().__init__(doing, f"it was not done within {timeout_s:g} s")


class NothingToPropose(Conflict):
    """The workspace has no commit that its repository on the server lacks, and no change to commit."""

    code = "nothing_to_propose"

    def __init__(self, base: str) -> None:
        super().__init__(f"The workspace holds no change beyond {base}, so there is nothing to propose.", base=base)


class PullRequestRefused(Refused):
    """GitHub did not open the pull request. `status` is its HTTP status, 0 where it could not be reached."""

    code = "pull_request_refused"

    def __init__(self, status: int, problem: str) -> None:
        super().__init__(f"The pull request was not opened: {problem}", status=status, problem=problem)
