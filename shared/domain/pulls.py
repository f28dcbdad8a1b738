"""A pull request: what a caller wishes, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Proposal:
    """What is to be proposed, complete. `message` is for the commit of what was not committed yet."""

    branch: str
    base: str | None
    """None: the repository's default branch."""
    title: str
    body: str
    message: str
    author_name: str
    author_email: str
    draft: bool = False


@dataclass(frozen=True, slots=True)
class PullRequest:
    """One on GitHub. `is_new`: it was opened just now; otherwise its branch had one, which shows the new commits."""

    number: int
    url: str
    branch: str
    base: str
    commit: str
    is_new: bool
