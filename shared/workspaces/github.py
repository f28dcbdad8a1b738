"""Opens pull requests through GitHub's REST API (version 2022-11-28)."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

import requests

from shared.domain.errors_git import PullRequestRefused
from shared.domain.git import GitRules, Remote
from shared.domain.pulls import Proposal, PullRequest

TIMEOUT_S: Final = 20.0
_TOLD: Final = 300
"""Characters of GitHub's words that a caller gets to see."""


def open_pull(rules: GitRules, remote: Remote, token: str, proposal: Proposal, commit: str) -> PullRequest:
    """The open pull request of the proposal's branch: the one it has, or a new one. Safe to repeat.

    Raises:
        PullRequestRefused: GitHub cannot be reached, or says no.
    """
    owner, name = urlsplit(remote.url).path.removesuffix(".git").strip("/").split("/", 1)
    at = f"{rules.github_api}/repos/{owner}/{name}/pulls"
    with requests.Session() as http:
        # Credentials of a .netrc, or a proxy of the environment, have no place beside the operator's own.
        http.trust_env = False
        http.verify = str(rules.ca_file) if rules.ca_file is not None else True
        http.headers.update({"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"})
        http.headers["Authorization"] = f"Bearer {token}"
        query = {"head": f"{owner}:{proposal.branch}", "base": str(proposal.base), "state": "open"}
        if (found := _first(_ask(http, "GET", at, params=query))) is not None:
            return _told(found, proposal, commit, is_new=False)
        wish = {
            "title": proposal.title,
            "body": proposal.body,
            "head": proposal.branch,
            "base": proposal.base,
            "draft": proposal.draft,
        }
        try:
            return _told(_ask(http, "POST", at, json=wish), proposal, commit, is_new=True)
        except PullRequestRefused:
            # Somebody else may have opened it between the look and the wish.
            if (found := _first(_ask(http, "GET", at, params=query))) is None:
                raise
            return _told(found, proposal, commit, is_new=False)


def _ask(http: requests.Session, method: str, url: str, **more: Any) -> Any:
    try:
        answer = http.request(method, url, timeout=TIMEOUT_S, allow_redirects=False, **more)
    except requests.RequestException as trouble:
        raise PullRequestRefused(0, "GitHub cannot be reached.") from trouble
    try:
        told = answer.json()
    except ValueError as trouble:
        raise PullRequestRefused(answer.status_code, f"GitHub answers {answer.status_code}.") from trouble
    if answer.status_code not in {200, 201}:
        raise PullRequestRefused(answer.status_code, _words(told, answer.status_code))
    return told


def _words(told: Any, status: int) -> str:
    if not isinstance(told, dict):
        return f"GitHub answers {status}."
    errors = told.get("errors")
    more = [one.get("message") for one in errors if isinstance(one, dict)] if isinstance(errors, list) else []
    text = "; ".join(str(part) for part in (told.get("message"), *more) if part)
    return f"GitHub answers {status}: {text[:_TOLD]}"


def _first(told: Any) -> Any:
    return told[0] if isinstance(told, list) and told else None


def _told(found: Any, proposal: Proposal, commit: str, *, is_new: bool) -> PullRequest:
    try:
        number, url = int(found["number"]), str(found["html_url"])
    except (KeyError, TypeError, ValueError) as trouble:
        raise PullRequestRefused(200, "GitHub's answer tells no pull request.") from trouble
    return PullRequest(number, url, proposal.branch, str(proposal.base), commit, is_new=is_new)
