"""Makes a clone through the volume's mirror: files of its own, which depend on nothing."""

from __future__ import annotations

import contextlib
from pathlib import Path
from urllib.parse import quote

from shared.domain.errors import InvalidField
from shared.domain.errors_git import GitFailed
from shared.domain.git import is_commit, ref_of, remote_of
from shared.domain.json import JsonObject, JsonValue
from shared.workspaces import gitcmd, mirrors
from shared.workspaces.gitcmd import Bounds, Reach
from shared.workspaces.kind import Volume
from shared.workspaces.mirrors import Mirror


def clone(spec: JsonObject, root: Path, volume: Volume) -> None:
    """Clone what `spec` (`url`, `ref`, `depth`) names to `root`, which is not there yet.

    Raises:
        GitFailed: as `mirrors.refreshed`, or there is no such ref.
    """
    remote = remote_of(spec.get("url"))
    with mirrors.refreshed(volume, remote) as mirror:
        ref = str(spec["ref"]) if spec.get("ref") else _default(mirror)
        _copy(mirror, ref, spec.get("depth"), root, volume)
    gitcmd.run(["remote", "set-url", "origin", remote.url], root)


def _copy(mirror: Mirror, ref: str | None, depth: JsonValue, root: Path, volume: Volume) -> None:
    bounds = Bounds(timeout_s=volume.git.timeout_s)
    watch = mirrors.within(root, volume.git.size_bytes)
    options = ["--quiet", "--template=", "--no-recurse-submodules"]
    at_commit = ref is not None and is_commit(ref)
    if at_commit:
        options.append("--no-checkout")
    elif ref is not None:
        options.append(f"--branch={ref}")
    if depth is None:
        # Files of its own: a hard link is shared with the mirror, and refused by whoever reads files for callers.
        source = [*options, "--no-hardlinks", "--", str(mirror.path), str(root)]
    else:
        source = [*options, f"--depth={depth}", "--", f"file://{quote(str(mirror.path))}", str(root)]
    gitcmd.run(["clone", *source], root.parent, bounds=bounds, reach=Reach("file"), watch=watch)
    if at_commit:
        _check_out(str(ref), root, bounds, volume)
    mirrors.within_now(root, volume.git.size_bytes)


def _check_out(commit: str, root: Path, bounds: Bounds, volume: Volume) -> None:
    try:
        gitcmd.run(["cat-file", "-e", f"{commit}^{{commit}}"], root)
    except GitFailed as failed:
        raise GitFailed("clone", "there is no such commit on a branch or a tag") from failed
    watch = mirrors.within(root, volume.git.size_bytes)
    gitcmd.run(["checkout", "--quiet", "--detach", commit, "--"], root, bounds=bounds, watch=watch)


def _default(mirror: Mirror) -> str | None:
    # The server's word: a name we would refuse from a caller is not taken from it either.
    with contextlib.suppress(InvalidField):
        return None if mirror.head is None else ref_of(mirror.head)
    raise GitFailed("clone", "its default branch has a name that cannot be taken; name a ref")
