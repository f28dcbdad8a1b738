"""Workspace kind `worktree`: a branch of its own, in a local repository of the allow-list or of one on a server.

Of a local repository it is a real git worktree: the agent writes its branch, and can write the whole repository. Of one
on a server it is a clone: a repository shared with other sessions would let each run what it likes in the others.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from shared.domain.errors import CorralError, InvalidField, WorkspaceUnusable
from shared.domain.errors_git import GitFailed, NotARepository
from shared.domain.git import ref_of, remote_of
from shared.domain.ids import SessionId
from shared.domain.json import JsonObject
from shared.workspaces import existing, gitcmd, managed
from shared.workspaces.cloning import clone
from shared.workspaces.copying import copy_tree
from shared.workspaces.gitcmd import Bounds
from shared.workspaces.kind import Place, Volume, check_keys

KEYS = {"kind", "path", "url", "ref", "branch"}
NOTE = "worktree"
"""Beside a local worktree: its branch, the commit it began at, and whether it is whole."""


class Worktree:
    """Its branch is `corral/<session>` or one that was wished for and is new; no other session gets the same."""

    name = "worktree"
    portable = False

    def check(self, spec: JsonObject, volume_hint: Sequence[Path]) -> JsonObject:
        check_keys(self.name, spec, KEYS, "a worktree takes path or url, ref and branch")
        if (spec.get("path") is None) == (spec.get("url") is None):
            raise InvalidField("workspace", "takes either path, a local repository, or url")
        checked: JsonObject = {"kind": self.name}
        if spec.get("url") is not None:
            checked["url"] = remote_of(spec["url"]).url
        else:
            checked["path"] = str(existing.wished(spec["path"], volume_hint))
        return checked | {key: ref_of(spec[key], f"workspace.{key}") for key in ("ref", "branch") if spec.get(key)}

    def fork(self, spec: JsonObject, source: SessionId) -> JsonObject:
        """A branch of its own from the commit the source stands at, with what was not committed there."""
        return {key: spec[key] for key in ("kind", "path", "url") if key in spec} | {"copy_of": source}

    def open(self, session: SessionId, spec: JsonObject, volume: Volume) -> Place:
        if (path := spec.get("path")) is not None:
            return _open_local(session, spec, volume, existing.opened(path, volume))
        return managed.make(session, volume, lambda root: _fill(session, spec, volume, root))

    def find(self, session: SessionId, spec: JsonObject, volume: Volume) -> Place | None:
        if (place := managed.found(session, volume)) is None or spec.get("path") is None:
            return place
        if not _note(place).get("is_whole"):
            return None
        return _with_repository(place, existing.opened(spec["path"], volume))

    def remove(self, session: SessionId, spec: JsonObject, volume: Volume) -> None:
        place = managed.place(session, volume)
        if spec.get("path") is None:
            _release(session, spec, volume)
        elif note := _note(place):
            # A repository that is gone, or no longer allowed, keeps its note of the worktree: nothing else is lost.
            with contextlib.suppress(CorralError):
                _prune(place, existing.opened(spec["path"], volume), note, volume)
        managed.remove(session, volume)


def _branch(session: SessionId, spec: JsonObject) -> str:
    return str(spec.get("branch") or f"corral/{session}")


# --- of a repository on a server ---


def _fill(session: SessionId, spec: JsonObject, volume: Volume, root: Path) -> None:
    branch = _branch(session, spec)
    if isinstance(source := spec.get("copy_of"), str):
        managed.copy_of(SessionId(source), volume, root)
        # Its configuration is an agent's by now.
        copied = Place(root, managed.place(session, volume).home, managed=True)
        gitcmd.run_in(copied, volume.walls, ["checkout", "--quiet", "-b", branch])
        return
    _claim(session, spec, volume)
    try:
        clone(spec, root, volume)
        if gitcmd.run(["for-each-ref", f"refs/remotes/origin/{branch}"], root).output:
            raise GitFailed("worktree", f"the repository has a branch {branch} already")
        gitcmd.run(["checkout", "--quiet", "--no-track", "-b", branch], root, bounds=_bounds(volume))
    except CorralError:
        _release(session, spec, volume)
        raise


def _claim(session: SessionId, spec: JsonObject, volume: Volume) -> None:
    claim = _claim_file(session, spec, volume)
    claim.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError), claim.open("x", encoding="ascii") as made:
        made.write(session)
    if claim.read_text(encoding="ascii") != session:
        raise GitFailed("worktree", f"another session works on the branch {_branch(session, spec)}")


def _release(session: SessionId, spec: JsonObject, volume: Volume) -> None:
    claim = _claim_file(session, spec, volume)
    with contextlib.suppress(FileNotFoundError):
        if claim.read_text(encoding="ascii") == session:
            claim.unlink()


def _claim_file(session: SessionId, spec: JsonObject, volume: Volume) -> Path:
    named = f"{spec.get('url')}\n{_branch(session, spec)}"
    return volume.root / "mirrors" / "branches" / hashlib.sha256(named.encode()).hexdigest()[:40]


# --- of a local repository ---


def _open_local(session: SessionId, spec: JsonObject, volume: Volume, repository: Path) -> Place:
    place = managed.prepare(session, volume)
    whole = _with_repository(place, repository)
    note = _note(place)
    if note.get("is_whole") and place.root.is_dir():
        return whole
    if note:
        # Broken off by the end of a worker: nobody has worked in it.
        _prune(place, repository, note, volume)
    source = spec.get("copy_of")
    origin = _with_repository(managed.place(SessionId(source), volume), repository) if isinstance(source, str) else None
    base = _base(place, origin, spec, repository, volume)
    branch = _branch(session, spec)
    _make_branch(place, repository, branch, base, volume)
    _write(place, branch, base, is_whole=False)
    how = ["--quiet", *([] if origin is None else ["--no-checkout"])]
    try:
        _in_repository(place, repository, volume, ["worktree", "add", *how, "--", str(place.root), branch])
        if origin is not None:
            _copy(origin, whole)
            gitcmd.run_in(whole, volume.walls, ["reset", "--quiet"], bounds=_bounds(volume))
    except CorralError:
        _prune(place, repository, _note(place), volume)
        raise
    _write(place, branch, base, is_whole=True)
    return whole


def _make_branch(place: Place, repository: Path, branch: str, base: str, volume: Volume) -> None:
    """A branch that was not there. Before the note is written: what the note names is removed one day."""
    try:
        _in_repository(place, repository, volume, ["update-ref", f"refs/heads/{branch}", base, "0" * 40])
    except GitFailed as failed:
        # A worker that ended here before it wrote its note has left the session's own.
        if not branch.endswith(f"/{place.root.parent.name}"):
            raise GitFailed(
                "worktree", f"the branch {branch} cannot be made; there may be one of that name"
            ) from failed


def _base(place: Place, origin: Place | None, spec: JsonObject, repository: Path, volume: Volume) -> str:
    """The commit a new branch begins at."""
    if origin is not None:
        answer = gitcmd.run_in(origin, volume.walls, ["rev-parse", "--verify", "HEAD^{commit}"])
        return answer.output.decode("ascii", "replace").strip()
    ref = str(spec.get("ref") or "HEAD")
    try:
        answer = _in_repository(place, repository, volume, ["rev-parse", "--verify", f"{ref}^{{commit}}"])
    except NotARepository:
        raise
    except GitFailed as failed:
        raise GitFailed("worktree", "there is no such ref, or the repository is empty") from failed
    return answer.output.decode("ascii", "replace").strip()


def _in_repository(place: Place, repository: Path, volume: Volume, args: Sequence[str]) -> gitcmd.Answer:
    """Other agents may have written the repository's configuration: only behind walls, around it and the session."""
    around = Place(repository, place.home, managed=False)
    return gitcmd.run_in(around, volume.walls, args, bounds=_bounds(volume), openings=[place.root.parent])


def _with_repository(place: Place, repository: Path) -> Place:
    """The place with the repository's own folder open to its processes; only what lies at its path, behind no link."""
    inner = repository / ".git"
    is_bare = all((repository / name).is_dir() and not (repository / name).is_symlink() for name in ("objects", "refs"))
    if not is_bare and (inner.is_symlink() or not inner.is_dir()):
        raise WorkspaceUnusable("its path is not the top folder of a git repository.")
    return Place(place.root, place.home, managed=True, openings=[repository if is_bare else inner])


def _copy(origin: Place, place: Place) -> None:
    fresh = place.root.parent / ".fresh-copy"
    shutil.rmtree(fresh, ignore_errors=True)
    copy_tree(origin.root, fresh)
    for entry in fresh.iterdir():
        if entry.name != ".git":
            entry.rename(place.root / entry.name)
    shutil.rmtree(fresh, ignore_errors=True)


def _prune(place: Place, repository: Path, note: JsonObject, volume: Volume) -> None:
    """Let the repository forget the worktree, and its branch where no commit was made on it."""
    with contextlib.suppress(GitFailed):
        # Named, never `worktree prune`: to it whatever lies behind our walls, other sessions' worktrees, seems gone.
        _in_repository(place, repository, volume, ["worktree", "remove", "--force", "--force", "--", str(place.root)])
    with contextlib.suppress(GitFailed, InvalidField):
        branch, base = ref_of(note.get("branch")), ref_of(note.get("base"))
        _in_repository(place, repository, volume, ["update-ref", "-d", f"refs/heads/{branch}", base])
    (place.root.parent / NOTE).unlink(missing_ok=True)


def _note(place: Place) -> JsonObject:
    with contextlib.suppress(OSError, ValueError):
        found = json.loads((place.root.parent / NOTE).read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
    return {}


def _write(place: Place, branch: str, base: str, *, is_whole: bool) -> None:
    fresh = place.root.parent / f".{NOTE}"
    fresh.write_text(json.dumps({"branch": branch, "base": base, "is_whole": is_whole}), encoding="utf-8")
    fresh.replace(place.root.parent / NOTE)


def _bounds(volume: Volume) -> Bounds:
    return Bounds(timeout_s=volume.git.timeout_s)
