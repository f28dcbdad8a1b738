"""Walls of Landlock, the second choice: the kernel refuses other files, where it refuses namespaces.

What it cannot do: hide that a file is there, hide processes, give a /tmp of its own (TMPDIR is), bound UDP.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shared.workspaces import view
from shared.workspaces.kind import Place, SpawnSpec
from shared.workspaces.view import View

LAUNCHER: Final = str(Path(__file__).with_name("confine.py"))
_DEVICES: Final = ("null", "zero", "full", "random", "urandom", "tty")
"""No terminals and no shared memory: those are not the session's own."""
_SEEN: Final = ("/proc", "/sys/devices/system/cpu", "/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Landlock:
    """The worker's Python restricts itself to the lists (`confine.py`) and becomes the agent.

    `python` and `env` are absolute paths.
    """

    python: str
    env: str
    view: View
    name = "landlock"
    cuts_network = False

    def enclose(self, spec: SpawnSpec, place: Place, *, network: bool, openings: Sequence[Path] = ()) -> SpawnSpec:
        # Without what site-packages would add, and deaf to PYTHON*: a session may have set those.
        argv = [self.python, "-I", "-S", LAUNCHER]
        argv += (f"read:{path}" for path in self._readable())
        argv += (f"write:{path}" for path in (place.root, place.home, *openings))
        argv += (f"write:/dev/{name}" for name in _DEVICES)
        argv += (f"limit:{name}={soft}:{hard}" for name, (soft, hard) in view.limits().items())
        argv += (f"keep:{number}" for number in (view.OWNERS.values() if view.is_foreign(place.root) else ()))
        argv += () if network else ("no-network",)
        argv += ("--", *view.inside(self.env, spec.env), *spec.argv)
        return SpawnSpec(argv=argv, env=view.outside(spec.env), cwd=spec.cwd)

    def _readable(self) -> Iterable[str]:
        yield from (*view.SYSTEM, *view.ETC, *_SEEN)
        # Nothing can be cut out of a folder that may be read.
        yield from (str(path) for path in self.view.shown if not view.is_above(path, self.view.hidden))
