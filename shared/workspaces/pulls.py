"""Takes a session's work to its repository on the server: commit, push, pull request.

The workspace's repository is an agent's: git only commits and packs in it, behind the walls. What it packed goes into a
repository of ours, and from there to the server with the operator's credentials.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from shared.domain.errors import InvalidField, Unsupported
from shared.domain.errors_git import GitFailed, GitTimedOut, NothingToPropose
from shared.domain.git import Remote, is_commit, ref_of, remote_of
from shared.domain.json import JsonObject
from shared.domain.pulls import Proposal, PullRequest
from shared.workspaces import gitcmd, github, gitreach, mirrors
from shared.workspaces.gitcmd import Bounds, Reach
from shared.workspaces.kind import Place, Volume
from shared.workspaces.mirrors import Mirror

BUNDLE_BYTES: Final = 256 * 1024 * 1024
"""Of what a session may propose at once; held in memory on its way."""


def propose(place: Place, spec: JsonObject, proposal: Proposal, volume: Volume) -> PullRequest:
    """Commit what is not committed, push `HEAD` as the proposal's branch, and open its pull request. Safe to repeat.

    Raises:
        Unsupported: the workspace is no clone of a repository on the operator's GitHub.
        NothingToPropose: there is nothing the server lacks.
        InvalidField: the branch is the base itself.
        GitFailed: not committed, or not pushed.
        PullRequestRefused: GitHub did not open it.
    """
    remote = _remote(spec, volume)
    token = volume.git.tokens.get(remote.place, "").rpartition(":")[2]
    if not token:
        raise GitFailed("push", f"the operator has set no token for {remote.place} (CORRAL_GIT_TOKENS)")
    _commit(place, proposal, volume)
    commit = _text(place, volume, ["rev-parse", "--verify", "HEAD^{commit}"])
    if not is_commit(commit):
        raise GitFailed("push", "the workspace tells no commit")
    with mirrors.refreshed(volume, remote) as mirror:
        proposal = replace(proposal, base=proposal.base or _default(mirror))
        if proposal.branch == proposal.base:
            raise InvalidField("branch", "must be another than the base it is proposed to")
        _push(place, commit, proposal, mirror, remote, volume)
    return github.open_pull(volume.git, remote, token, proposal, commit)


def _remote(spec: JsonObject, volume: Volume) -> Remote:
    # The URL the caller named: what the workspace's own configuration says may be the agent's.
    if spec.get("url") is None:
        raise _unsupported("Only a workspace with a url, of kind git or worktree, can open a pull request.")
    remote = remote_of(spec["url"])
    if remote.place != volume.git.github_host or remote.scheme != "https":
        raise _unsupported(f"Pull requests are opened on {volume.git.github_host} only, for https URLs.")
    return remote


def _unsupported(problem: str) -> Unsupported:
    return Unsupported(problem, problem=problem)


def _commit(place: Place, proposal: Proposal, volume: Volume) -> None:
    _run(place, volume, ["add", "--all"])
    looked = gitcmd.run_in(
        place,
        volume.walls,
        ["diff", "--cached", "--quiet", "--no-ext-diff", "--no-textconv"],
        bounds=Bounds(volume.git.timeout_s, accepts=frozenset({0, 1})),
    )
    if looked.status == 0:
        return
    who = [f"user.name={proposal.author_name}", f"user.email={proposal.author_email}", "commit.gpgSign=false"]
    config = [part for pair in who for part in ("-c", pair)]
    _run(place, volume, [*config, "commit", "--quiet", "--no-verify", f"--message={proposal.message}"])


def _push(place: Place, commit: str, proposal: Proposal, mirror: Mirror, remote: Remote, volume: Volume) -> None:
    with _workbench(mirror) as bench:
        for beyond in (["--not", "--remotes=origin"], []):
            if not _has(bench, commit):
                _take(bench, _bundle(place, volume, beyond), volume)
        if not _has(bench, commit):
            raise GitFailed("push", "the workspace's commit cannot be taken out of it")
        if not _has(bench, f"refs/base/{proposal.base}"):
            raise InvalidField("base", "is no branch of the repository")
        if not gitcmd.run(["rev-list", "--max-count=1", commit, "--not", f"refs/base/{proposal.base}"], bench).output:
            raise NothingToPropose(str(proposal.base))
        reach = gitreach.reach(volume.git, remote, mirror.path.parent / "askpass")
        target = f"{commit}:refs/heads/{proposal.branch}"
        bounds = Bounds(volume.git.timeout_s)
        gitcmd.run(["push", "--quiet", "--no-verify", "--", remote.url, target], bench, bounds=bounds, reach=reach)


@contextmanager
def _workbench(mirror: Mirror) -> Iterator[Path]:
    """A bare repository of ours that sees what the mirror has, its branches as `refs/base/…`."""
    bench = Path(tempfile.mkdtemp(prefix=".fresh-", dir=mirror.path.parent))
    try:
        gitcmd.run(["init", "--quiet", "--bare", "--template=", "."], bench)
        (bench / "objects/info").mkdir(exist_ok=True)
        (bench / "objects/info/alternates").write_text(f"{mirror.path}/objects\n", encoding="utf-8")
        refs = ["--quiet", "--no-tags", "--no-write-fetch-head", "--", str(mirror.path), "+refs/heads/*:refs/base/*"]
        gitcmd.run(["fetch", *refs], bench, reach=Reach("file"))
        yield bench
    finally:
        shutil.rmtree(bench, ignore_errors=True)


def _bundle(place: Place, volume: Volume, beyond: Sequence[str]) -> bytes:
    """The workspace's commits, packed behind its walls; nothing where git cannot."""
    bounds = Bounds(volume.git.timeout_s, BUNDLE_BYTES)
    try:
        packed = gitcmd.run_in(
            place, volume.walls, ["bundle", "create", "--quiet", "-", "HEAD", *beyond], bounds=bounds
        )
    except GitTimedOut:
        raise
    except GitFailed:
        # There is nothing beyond, or what lies before is not there.
        return b""
    if packed.truncated:
        raise GitFailed("push", f"what is new has more than {BUNDLE_BYTES} bytes")
    return packed.output


def _take(bench: Path, bundle: bytes, volume: Volume) -> None:
    if not bundle:
        return
    file = bench / "work.bundle"
    file.write_bytes(bundle)
    args = ["--quiet", "--no-tags", "--no-write-fetch-head", "--", str(file), "+HEAD:refs/heads/proposed"]
    # What it builds on may not be known here, which the next bundle brings along.
    with contextlib.suppress(GitFailed):
        gitcmd.run(["fetch", *args], bench, bounds=Bounds(volume.git.timeout_s), reach=Reach("file"))


def _has(bench: Path, commit: str) -> bool:
    try:
        gitcmd.run(["rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}"], bench)
    except GitFailed:
        return False
    return True


def _default(mirror: Mirror) -> str:
    if mirror.head is None or is_commit(mirror.head):
        raise InvalidField("base", "must be named: the server tells no default branch")
    return ref_of(mirror.head, "base")


def _text(place: Place, volume: Volume, args: Sequence[str]) -> str:
    return gitcmd.run_in(place, volume.walls, args).output.decode("ascii", "replace").strip()


def _run(place: Place, volume: Volume, args: Sequence[str]) -> None:
    gitcmd.run_in(place, volume.walls, args, bounds=Bounds(volume.git.timeout_s))
