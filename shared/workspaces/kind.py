"""What every workspace kind is: a place where one session's agent works, and a way to spawn there."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from shared.domain.errors import InvalidField
from shared.domain.git import GitRules
from shared.domain.ids import SessionId
from shared.domain.json import JsonObject


@dataclass(frozen=True, slots=True)
class Place:
    """An opened workspace on this machine."""

    root: Path
    """The agent's working directory; all files a caller may see are beneath it."""
    home: Path
    """The agent's private HOME, beside the workspace, never shown to callers."""
    managed: bool
    """Corral made `root` and may remove it."""
    openings: Sequence[Path] = ()
    """Folders elsewhere that its processes write as well: the repository of a worktree."""


@dataclass(frozen=True, slots=True)
class SpawnSpec:
    """One process to start inside a place."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str


class Walls(Protocol):
    """What keeps a process inside its place. Stateless; chosen once when a worker starts."""

    name: str
    """`bubblewrap`, `landlock` or `none`: what doctor, /readyz and metrics call it."""
    cuts_network: bool
    """Whether `network=False` leaves a process without any; where not, no list of domains can be held."""

    def enclose(self, spec: SpawnSpec, place: Place, *, network: bool, openings: Sequence[Path] = ()) -> SpawnSpec:
        """The same process behind the walls: it sees the system read-only, writes `place` alone.

        Paths are the same on both sides. `network`: it shares the machine's network; otherwise it has none but what
        comes through a socket in `openings`, folders it may also write. Computes only: starts and makes nothing.
        """
        ...


class NoWalls:
    """The process as it is: it can do what the worker's user can."""

    name = "none"
    cuts_network = False

    def enclose(self, spec: SpawnSpec, place: Place, *, network: bool, openings: Sequence[Path] = ()) -> SpawnSpec:
        return spec


@dataclass(frozen=True, slots=True)
class Volume:
    """The disk this worker keeps workspaces on."""

    id: str
    root: Path
    allowed_roots: Sequence[Path] = ()
    """Existing folders (and what is beneath them) that sessions may be opened on."""
    walls: Walls = field(default_factory=NoWalls)
    """What processes that touch a session's files run behind."""
    git: GitRules = field(default_factory=GitRules)
    """What may be cloned to this disk, and how."""


def check_keys(kind: str, spec: JsonObject, keys: Collection[str], takes: str) -> None:
    """Return if `spec` is one of this kind and holds nothing but `keys`; `takes` says in words what those are.

    Raises:
        InvalidField: which key, and why.
    """
    if unknown := sorted(spec.keys() - keys):
        raise InvalidField(f"workspace.{unknown[0]}", f"is unknown; {takes}")
    if spec.get("kind", kind) != kind:
        raise InvalidField("workspace.kind", f"must be {kind}")


class Kind(Protocol):
    """One kind of workspace. Stateless; found in `registry.py`."""

    name: str
    portable: bool
    """Whether any worker can open it, wherever it was made (no volume)."""

    def check(self, spec: JsonObject, volume_hint: Sequence[Path]) -> JsonObject:
        """The spec, completed and normalised.

        Raises:
            InvalidField: a value cannot be taken; says which and why. Nothing was made.
        """
        ...

    def fork(self, spec: JsonObject, source: SessionId) -> JsonObject:
        """The spec of a workspace that begins with the files of `source`, whose own spec is `spec`; `open` copies them.

        Only for sessions of one tenant, and on the volume of `source`.
        """
        ...

    def open(self, session: SessionId, spec: JsonObject, volume: Volume) -> Place:
        """Make the workspace, or find it again. Idempotent; blocks on disk or network, so call it in a thread.

        Raises:
            Refused: it cannot be opened here (unreadable folder, not on the allow-list).
        """
        ...

    def find(self, session: SessionId, spec: JsonObject, volume: Volume) -> Place | None:
        """The workspace where `open` has made it, or None. Makes and changes nothing; blocks on disk.

        Raises:
            Refused: it cannot be opened here any more.
        """
        ...

    def remove(self, session: SessionId, spec: JsonObject, volume: Volume) -> None:
        """Remove what `open` made, and nothing else. Idempotent."""
        ...
