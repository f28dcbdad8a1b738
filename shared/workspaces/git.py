"""Workspace kind `git`: a clone of its own, of a repository on a server, at a ref."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shared.domain.errors import InvalidField
from shared.domain.git import is_commit, ref_of, remote_of
from shared.domain.ids import SessionId
from shared.domain.json import JsonObject, JsonValue
from shared.workspaces import managed
from shared.workspaces.cloning import clone
from shared.workspaces.kind import Place, Volume, check_keys

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
        check_keys(self.name, spec, KEYS, "git takes url, ref and depth")
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
            return managed.make(session, volume, lambda root: managed.copy_of(SessionId(source), volume, root))
        return managed.make(session, volume, lambda root: clone(spec, root, volume))

    def find(self, session: SessionId, spec: JsonObject, volume: Volume) -> Place | None:
        return managed.found(session, volume)

    def remove(self, session: SessionId, spec: JsonObject, volume: Volume) -> None:
        managed.remove(session, volume)


def _depth(value: JsonValue) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= DEPTH_LIMIT:
        raise InvalidField("workspace.depth", f"must be a whole number from 1 to {DEPTH_LIMIT}")
    return value
