"""Walls of Linux namespaces, put up by bubblewrap (`bwrap`): what a process does not need is not there at all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shared.workspaces import view
from shared.workspaces.kind import Place, SpawnSpec
from shared.workspaces.view import View

TMP_BYTES: Final = 1024**3
"""Room in /tmp and /dev/shm: memory, so it is bounded. TMPDIR lies on disk."""
RUN_BYTES: Final = 16 * 1024**2

_OWN: Final = ("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--die-with-parent")
"""No --new-session: the warden has made one without a terminal, and its signals go to this process group."""


@dataclass(frozen=True, slots=True)
class Bubblewrap:
    """User, process, mount, IPC, host name and cgroup namespaces of its own, and a network where it gets none.

    `program`, `prlimit` and `env` are absolute paths. Where the thread that starts bwrap ends, all behind it is
    killed: the warden's keepers have one thread, and live as long as their agent.
    """

    program: str
    prlimit: str
    env: str
    view: View
    is_last: bool = True
    """No user namespace can be made inside. bubblewrap knows this from 0.8 on."""
    name = "bubblewrap"
    cuts_network = True

    def enclose(self, spec: SpawnSpec, place: Place, *, network: bool, openings: Sequence[Path] = ()) -> SpawnSpec:
        argv = [self.program, *_OWN, *self._standing(place.root)]
        argv += () if network else ("--unshare-net",)
        argv += _system()
        argv += self._files(place, openings)
        argv += ("--remount-ro", "/", "--chdir", spec.cwd, "--", self.prlimit)
        argv += (f"--{name}={soft}:{hard}" for name, (soft, hard) in view.limits().items())
        argv += ("--", *view.inside(self.env, spec.env), *spec.argv)
        return SpawnSpec(argv=argv, env=view.outside(spec.env), cwd=spec.cwd)

    def _standing(self, root: Path) -> Sequence[str]:
        """Who the process is, and what it may do as such."""
        none = ("--cap-drop", "ALL")
        if view.is_foreign(root):
            return (*none, *(word for name in view.OWNERS for word in ("--cap-add", name)))
        return ("--unshare-user", *(("--disable-userns",) if self.is_last else ()), *none)

    def _files(self, place: Place, openings: Sequence[Path]) -> Iterable[str]:
        shown = self.view.shown
        for path in shown:
            yield from ("--ro-bind", str(view.real(path)), str(path))
        yield from _covered(self.view.hidden, shown)
        yield from ("--bind", str(place.root), str(place.root))
        yield from _covered(self.view.hidden, [place.root])
        for folder in (place.home, *openings):
            yield from ("--bind", str(folder), str(folder))


def _system() -> Iterable[str]:
    for path in map(Path, view.SYSTEM):
        if path.is_symlink():
            yield from ("--symlink", str(path.readlink()), str(path))
        elif path.is_dir():
            yield from ("--ro-bind", str(path), str(path))
    for path in map(Path, view.ETC):
        if path.exists():
            yield from ("--ro-bind", str(view.real(path)), str(path))
    # Read-only as a whole: without it a worker that is root could write /proc/sys, core_pattern among it, since
    # the kernel asks there who owns the file and not in which namespace (bubblewrap 0.8 covers folders alone).
    yield from ("--proc", "/proc", "--remount-ro", "/proc")
    yield from ("--dev", "/dev", "--size", str(TMP_BYTES), "--perms", "1777", "--tmpfs", "/dev/shm")  # noqa: S108
    yield from ("--remount-ro", "/dev")
    yield from ("--size", str(TMP_BYTES), "--perms", "1777", "--tmpfs", "/tmp")  # noqa: S108
    yield from ("--size", str(RUN_BYTES), "--perms", "0755", "--tmpfs", "/run")


def _covered(hidden: Sequence[Path], shown: Sequence[Path]) -> Iterable[str]:
    for folder in hidden:
        if folder.is_dir() and any(folder.is_relative_to(path) and folder != path for path in shown):
            yield from ("--perms", "0755", "--tmpfs", str(folder))
