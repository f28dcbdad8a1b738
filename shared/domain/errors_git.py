"""Errors of git: what a repository, a server or a ref would not do. None names a path of the machine or a secret."""

from __future__ import annotations

from shared.domain.errors import Refused


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
