"""Workspace kind `git`: a clone of its own, of a repository on a server, at a ref."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from shared.domain.errors import InvalidField
from shared.domain.errors_git import GitFailed
from shared.domain.git import is_commit, ref_of, remote_of
from shared.domain.ids import SessionId
from shared.domain.json import JsonObject, JsonValue
from shared.workspaces import gitcmd, managed, mirrors
from shared.workspaces.copying import copy_tree
from shared.workspaces.gitcmd import Bounds, Reach
from shared.workspaces.kind import Place, Volume
from shared.workspaces.mirrors import Mirror

KEYS = {"kind", "url", "ref", "depth"}
DEPTH_LIMIT = 1_000_000


class Git:
    """A clone through the volume's mirror, from which it takes copies: it depends on nothing and reaches nothing else.

    It lies at `<volume>/sessions/<session>/workspace`; `origin` is the public URL. Neither submodules nor LFS objects
    are fetched.
    """

    name = "git"
    portable = False

    def check(self, spec: JsonObject, volume_hint: Sequence[Path]) -> JsonObject:
        if unknown := sorted(spec.keys() - KEYS):
            raise InvalidField(f"workspace.{unknown[0]}", "is unknown; git takes url, ref and depth")
        if spec.get("kind", self.name) != self.name:
            raise InvalidField("workspace.kind", f"must be {self.name}")
        checked: JsonObject = {"kind": self.name, "url": remote_of(spec.get("url")).url}
        if spec.get("ref") is not None:
            checked["ref"] = ref_of(spec["ref"])
        if spec.get("depth") is not None:
            checked["depth"] = _depth(spec["depth"])
            if is_commit(str(checked.get("ref"))):
                raise InvalidField("workspace.depth", "goes with a branch or a tag, not with a commit id")
        return checked

    def fork(self, spec: JsonObject, source: SessionId) -> JsonObject:
        """The clone is copied as it is, with what was not committed."""
        return {**{key: spec[key] for key in KEYS & spec.keys()}, "copy_of": source}

    def open(self, session: SessionId, spec: JsonObject, volume: Volume) -> Place:
        if isinstance(source := spec.get("copy_of"), str):
            copied = managed.place(SessionId(source), volume).root
            return managed.make(session, volume, lambda root: copy_tree(copied, root))
        return managed.make(session, volume, lambda root: clone(spec, root, volume))

    def find(self, session: SessionId, spec: JsonObject, volume: Volume) -> Place | None:
        return managed.found(session, volume)

    def remove(self, session: SessionId, spec: JsonObject, volume: Volume) -> None:
        managed.remove(session, volume)


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


def _depth(value: JsonValue) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= DEPTH_LIMIT:
        raise InvalidField("workspace.depth", f"must be a whole number from 1 to {DEPTH_LIMIT}")
    return value
