"""Chooses the walls agents run behind, by running something behind them, and says which stand. Once per process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import structlog

from shared.agents.registry import DRIVERS
from shared.domain.errors import CorralError
from shared.telemetry.metrics import SANDBOX
from shared.workspaces import view
from shared.workspaces.bubblewrap import Bubblewrap
from shared.workspaces.kind import NoWalls, Place, SpawnSpec, Volume, Walls
from shared.workspaces.landlock import Landlock
from shared.workspaces.view import View
from workers.host.locate import command_of

log = structlog.get_logger(__name__)

INSTALL: Final = "Install bubblewrap (Debian, Ubuntu: apt-get install bubblewrap)."
WARNING: Final = "Agents run without walls: each can read and change what the worker's user can. See docs/security.md."
_ROOT: Final = Path(__file__).resolve().parents[2]
_PROBE_S: Final = 20.0
_ATTEMPT: Final = 'echo in > in && echo in > "$HOME/in" && ! cat ../secret 2>/dev/null'
"""Succeeds where place and home can be written and the file beside them cannot be read."""


class NoWallsStand(CorralError):
    """CORRAL_SANDBOX is `required` and nothing can keep an agent in its place here."""

    code = "no_walls"

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(
            f"CORRAL_SANDBOX is required and no walls stand here: {'; '.join(problems)}. {INSTALL}",
            problems="; ".join(problems),
        )


@dataclass(frozen=True, slots=True)
class Choice:
    """The best walls that stand here, and why better ones do not."""

    walls: Walls
    problems: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Said:
    """What the operator's settings say that bears on walls."""

    wish: str
    """CORRAL_SANDBOX: auto, required or off."""
    read: Sequence[str]
    """CORRAL_SANDBOX_READ."""
    commands: Mapping[str, str]
    """Agents' programs as configured, by agent."""
    given: Mapping[str, str]
    """The environment every agent gets."""
    database_url: str

    def view(self, volume: Path) -> View:
        """What agents see of this machine: what Corral itself runs on, and what these settings name."""
        ours = [Path(sys.prefix), Path(sys.base_prefix), _ROOT / "cli", _ROOT / "shared"]
        hidden = [volume]
        if self.database_url.startswith("sqlite:///"):
            hidden.append(Path(self.database_url.removeprefix("sqlite:///")).parent)
        commands = [command_of(driver, self.commands) or () for driver in DRIVERS.values()]
        wished = [Path(name).expanduser() for name in self.read]
        return view.make(given=self.given, commands=commands, more=[*ours, *wished], hidden=hidden)


def choose(said: Said, volume: Path) -> Choice:
    """The walls for the volume at `volume`, as CORRAL_SANDBOX wishes. Starts a process or two; blocks up to a minute.

    Raises:
        NoWallsStand: walls are required, and none stand.
    """
    if said.wish == "off":
        return Choice(NoWalls(), ("CORRAL_SANDBOX is off",))
    problems: dict[str, str] = {}
    for walls in candidates(said.view(volume)):
        if not (problem := problem_of(walls)):
            return Choice(walls, tuple(problems.values()))
        # The later of two of a kind asks for less, so its problem is the one that counts.
        problems[walls.name] = problem
    if not _tools():
        problems[Bubblewrap.name] = "bwrap, prlimit or env is not on PATH"
    if said.wish == "required":
        raise NoWallsStand(tuple(problems.values()))
    return Choice(NoWalls(), tuple(problems.values()))


def put_up(said: Said, volume: Volume) -> Volume:
    """The volume with the chosen walls, which are told to the log and the metric.

    Raises:
        NoWallsStand: as `choose`.
    """
    choice = choose(said, volume.root)
    SANDBOX.labels(choice.walls.name).set(1)
    if choice.walls.name == NoWalls.name:
        log.warning("walls.none", problems=list(choice.problems), advice=WARNING)
    else:
        log.info("walls.stand", walls=choice.walls.name, problems=list(choice.problems))
    return replace(volume, walls=choice.walls)


def troubles(walls: Walls) -> list[str]:
    """What an operator is warned of where `walls` stand."""
    return [WARNING] if walls.name == NoWalls.name else []


def candidates(seen: View) -> Iterator[Walls]:
    """Every kind of walls there may be here, the best first. Whether it stands is for `problem_of` to say."""
    if tools := _tools():
        yield Bubblewrap(*tools, seen)
        # Before 0.8 it does not know how to forbid namespaces inside.
        yield Bubblewrap(*tools, seen, is_last=False)
    yield Landlock(sys.executable, shutil.which("env") or "/usr/bin/env", seen)


def _tools() -> tuple[str, str, str] | None:
    bwrap, prlimit, env = (shutil.which(name) for name in ("bwrap", "prlimit", "env"))
    return (bwrap, prlimit, env) if bwrap and prlimit and env else None


def problem_of(walls: Walls) -> str:
    """Why `walls` do not stand; empty where they do."""
    with tempfile.TemporaryDirectory(prefix="corral-walls-") as folder:
        top = Path(folder).resolve()
        (top / "secret").write_text("secret", encoding="ascii")
        place = Place(top / "place", top / "home", managed=True)
        for made in (place.root, place.home):
            made.mkdir(mode=0o700)
        env = {"PATH": os.defpath, "HOME": str(place.home)}
        spec = SpawnSpec(["/bin/sh", "-c", _ATTEMPT], env, str(place.root))
        return _run(walls.name, walls.enclose(spec, place, network=True), [place.root / "in", place.home / "in"])


def _run(name: str, spec: SpawnSpec, written: Sequence[Path]) -> str:
    try:
        done = subprocess.run(
            spec.argv,
            env=dict(spec.env),
            cwd=spec.cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PROBE_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as trouble:
        return f"{name} cannot be run ({trouble.__class__.__name__})"
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        return f"{name} does not hold here ({said[-1] if said else f'status {done.returncode}'})"
    return "" if all(file.is_file() for file in written) else f"{name} does not let the place be written"
