"""Bare copies of remote repositories on a volume, so that the next clone is quick. No agent sees or writes one.

A mirror is asked of its server again for each clone: who lost access to a repository must not get it from here.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shared.domain.errors_git import GitFailed, GitTimedOut
from shared.domain.git import Remote
from shared.workspaces import gitcmd, gitreach
from shared.workspaces.gitcmd import Bounds, Reach
from shared.workspaces.kind import Volume

_POLL_S: Final = 0.05
_SPARED_S: Final = 600.0
"""A mirror used this lately is not evicted: its next clone may be about to begin."""
_PACKS: Final = 50
"""Each fetch leaves one; more than this slow a clone down and are joined."""
_REFSPECS: Final = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
_HEAD: Final = re.compile(rb"ref: refs/heads/(?P<branch>\S+)\tHEAD|(?P<commit>[0-9a-f]{40})\tHEAD")


@dataclass(frozen=True, slots=True)
class Mirror:
    """A mirror as its server has it now. `head`: its default branch, or a commit; None where it is empty."""

    path: Path
    head: str | None


@contextlib.contextmanager
def refreshed(volume: Volume, remote: Remote) -> Iterator[Mirror]:
    """The mirror of `remote`, made or brought up to date; it stays as it is while the block runs. Blocks: for threads.

    Raises:
        GitFailed: the server cannot be reached or refuses, there is no such repository, or it is too large.
    """
    folder = volume.root / "mirrors"
    folder.mkdir(mode=0o700, exist_ok=True)
    name = hashlib.sha256(remote.url.encode()).hexdigest()[:40]
    path, reach = folder / f"{name}.git", gitreach.reach(volume.git, remote, _askpass(folder))
    with (folder / f"{name}.lock").open("ab") as lock:
        _lock(lock.fileno(), fcntl.LOCK_EX, volume.git.timeout_s)
        _refresh(path, remote, reach, volume)
        head = _head(path, remote, reach, volume)
        os.utime(path)
        _evict(folder, path, volume.git.mirrors_bytes)
        # Others may clone from it at the same time, and none may change it.
        _lock(lock.fileno(), fcntl.LOCK_SH, volume.git.timeout_s)
        yield Mirror(path, head)


def within(folder: Path, limit: int) -> Callable[[], None]:
    """To be called again and again while `folder` grows; raises GitFailed when it holds more than `limit` bytes."""
    next_at = time.monotonic() + 0.5

    def look() -> None:
        nonlocal next_at
        began = time.monotonic()
        if began < next_at:
            return
        within_now(folder, limit)
        # A folder of many files takes long to measure: a tenth of the time at most goes into that.
        next_at = time.monotonic() + max(0.5, 10 * (time.monotonic() - began))

    return look


def size_bytes(folder: Path) -> int:
    """What the files beneath `folder` hold; what vanishes meanwhile is not counted."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(parent, name)).st_size  # noqa: PTH118 - a Path a file is slow here
    return total


def _refresh(path: Path, remote: Remote, reach: Reach, volume: Volume) -> None:
    if path.is_dir():
        _drop_leftovers(path)
        try:
            _fetch(path, remote, reach, volume)
        except GitFailed:
            _drop_leftovers(path)
            raise
        if len(list(path.glob("objects/pack/*.pack"))) > _PACKS:
            gitcmd.run(["repack", "-a", "-d", "-q"], path, bounds=Bounds(timeout_s=volume.git.timeout_s))
        return
    # Beside it, then moved: a fetch that broke off must not be taken for a whole one.
    fresh = Path(tempfile.mkdtemp(prefix=".fresh-", dir=path.parent))
    try:
        gitcmd.run(["init", "--quiet", "--bare", "--template=", "."], fresh)
        _fetch(fresh, remote, reach, volume)
        fresh.rename(path)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _fetch(path: Path, remote: Remote, reach: Reach, volume: Volume) -> None:
    # Few objects would be unpacked to a file each, which nobody collects.
    reach = Reach(reach.protocols, [*reach.config, "fetch.unpackLimit=1"], reach.env)
    options = ["--quiet", "--prune", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules"]
    gitcmd.run(
        ["fetch", *options, "--", remote.url, *_REFSPECS],
        path,
        bounds=Bounds(timeout_s=volume.git.timeout_s),
        reach=reach,
        watch=within(path, volume.git.size_bytes),
    )
    within_now(path, volume.git.size_bytes)


def within_now(folder: Path, limit: int) -> None:
    """Raise GitFailed where `folder` holds more than `limit` bytes: what was done before anybody looked counts too."""
    if size_bytes(folder) > limit:
        raise GitFailed("clone", f"the repository is larger than {limit} bytes, which CORRAL_GIT_SIZE_LIMIT allows")


def _head(path: Path, remote: Remote, reach: Reach, volume: Volume) -> str | None:
    bounds = Bounds(timeout_s=volume.git.timeout_s, output_bytes=64 * 1024)
    answer = gitcmd.run(["ls-remote", "--symref", "--", remote.url, "HEAD"], path, bounds=bounds, reach=reach)
    if (found := _HEAD.search(answer.output)) is None:
        return None
    return (found["branch"] or found["commit"]).decode("utf-8", "replace")


def _drop_leftovers(path: Path) -> None:
    """What a fetch that was killed left behind. The mirror is locked, so nobody holds these any more."""
    for left in (*path.glob("*.lock"), *path.glob("refs/**/*.lock"), *path.glob("objects/pack/tmp_*")):
        left.unlink(missing_ok=True)


def _evict(folder: Path, spared: Path, limit: int) -> None:
    for left in folder.glob(".fresh-*"):
        if time.time() - left.stat().st_mtime > 24 * 3600:
            shutil.rmtree(left, ignore_errors=True)
    by_age = sorted(folder.glob("*.git"), key=lambda mirror: mirror.stat().st_mtime)
    sizes = {mirror: size_bytes(mirror) for mirror in by_age}
    total = sum(sizes.values())
    for mirror in by_age:
        if total <= limit:
            return
        if mirror != spared and time.time() - mirror.stat().st_mtime > _SPARED_S and _drop(mirror):
            total -= sizes[mirror]


def _drop(mirror: Path) -> bool:
    with mirror.with_suffix(".lock").open("ab") as lock:
        try:
            fcntl.flock(lock.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        shutil.rmtree(mirror, ignore_errors=True)
        return True


def _lock(file: int, how: int, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            fcntl.flock(file, how | fcntl.LOCK_NB)
        except OSError as trouble:
            if time.monotonic() > deadline:
                raise GitTimedOut("clone", timeout_s) from trouble
            time.sleep(_POLL_S)
        else:
            return


def _askpass(folder: Path) -> Path:
    program = folder / "askpass"
    if not program.exists() or program.read_text(encoding="ascii") != gitreach.ASKPASS:
        # Two threads may write it at once: each writes a file of its own, and the last is as good as the first.
        fresh = folder / f".askpass-{secrets.token_hex(8)}"
        fresh.write_text(gitreach.ASKPASS, encoding="ascii")
        fresh.chmod(0o700)
        fresh.replace(program)
    return program
