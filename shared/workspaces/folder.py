"""Workspace kind `folder`: a new empty folder on the worker's volume, or an existing one on its allow-list."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shared.domain.errors import InvalidField
from shared.domain.ids import SessionId
from shared.domain.json import JsonObject
from shared.workspaces import existing, managed
from shared.workspaces.kind import Place, Volume, check_keys

KEYS = {"kind", "path", "shared"}


class Folder:
    """A folder as it is: what the agent writes stays there, and nothing is copied.

    A managed one lies at `<volume>/sessions/<session>/workspace`; an existing one (`path`) stays where it is and is
    never removed. Either way the agent's home is `<volume>/sessions/<session>/home`.
    """

    name = "folder"
    portable = False

    def check(self, spec: JsonObject, volume_hint: Sequence[Path]) -> JsonObject:
        check_keys(self.name, spec, KEYS, "a folder takes path and shared, or nothing")
        shared = spec.get("shared", False)
        if not isinstance(shared, bool):
            raise InvalidField("workspace.shared", "must be true or false")
        if spec.get("path") is None:
            if shared:
                raise InvalidField("workspace.shared", "is for an existing folder; a new one is this session's alone")
            return {"kind": self.name}
        path = existing.wished(spec["path"], volume_hint)
        return {"kind": self.name, "path": str(path), **({"shared": True} if shared else {})}

    def fork(self, spec: JsonObject, source: SessionId) -> JsonObject:
        """A folder Corral made is copied; an existing one is worked in by both, where they share it."""
        return spec if spec.get("path") is not None else {"kind": self.name, "copy_of": source}

    def open(self, session: SessionId, spec: JsonObject, volume: Volume) -> Place:
        if (path := spec.get("path")) is not None:
            root = existing.opened(path, volume)
            return Place(root, managed.prepare(session, volume).home, managed=False)
        if isinstance(source := spec.get("copy_of"), str):
            return managed.make(session, volume, lambda root: managed.copy_of(SessionId(source), volume, root))
        return managed.make(session, volume, Path.mkdir)

    def find(self, session: SessionId, spec: JsonObject, volume: Volume) -> Place | None:
        if (path := spec.get("path")) is None:
            return managed.found(session, volume)
        if not managed.has_home(session, volume):
            return None
        return Place(existing.opened(path, volume), managed.place(session, volume).home, managed=False)

    def remove(self, session: SessionId, spec: JsonObject, volume: Volume) -> None:
        managed.remove(session, volume)


def may_share(one: JsonObject, other: JsonObject) -> bool:
    """Whether both specs say that they share their folder."""
    return one.get("shared") is True and other.get("shared") is True
