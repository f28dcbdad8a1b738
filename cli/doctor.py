"""`corral doctor`: what is installed, which agents are ready, what is missing and how to get it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import click
import redis

from cli import background
from cli.edge import first_line
from cli.home import Home
from cli.up import redis_program
from shared.agents.driver import Driver
from shared.agents.registry import DRIVERS
from shared.domain import versions
from shared.domain.errors import Unavailable
from shared.redis import connect
from shared.settings.reading import Settings
from shared.store import migrate
from shared.store.database import DatabaseError
from workers.host import environment, walls
from workers.host.locate import Readiness, probe


class Mark(StrEnum):
    """How one finding weighs."""

    GOOD = "ok"
    WARNING = "!!"
    MISSING = "no"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; `advice` says how to mend it."""

    mark: Mark
    what: str
    advice: str = ""


def examine(settings: Settings, home: Home) -> Iterator[Finding]:
    """Look at everything Corral needs, one finding at a time. Changes nothing."""
    version = importlib.metadata.version("corral")
    yield Finding(Mark.GOOD, f"Corral {version} on Python {platform.python_version()}, {platform.system()}")
    yield _running(home)
    yield _database(settings.core.database_url, home)
    yield _redis(settings.core.redis_url)
    yield _git()
    yield _walls(settings, home)
    yield _disk(Path(settings.worker.volume or home.workspaces))
    yield from (_folder(Path(folder)) for folder in settings.worker.allowed_folders)
    for driver in DRIVERS.values():
        given = environment.given(settings.environ, settings.child_env)
        yield from _agent(driver, probe(driver, settings.agent_commands, given))
        yield from _models(driver, settings.agent_models)


def _agent(driver: Driver, found: Readiness) -> Iterator[Finding]:
    if not found.is_ready:
        yield Finding(Mark.WARNING, f"agent {driver.name} is not ready", found.problem or "")
        return
    where = f", {found.command[0]}" if found.command else ""
    yield Finding(Mark.GOOD, f"agent {driver.name}: {found.version or 'ready'}{where}")
    profile = driver.abilities.profile
    if profile.tested is not None and versions.is_within(found.version, profile.tested) is False:
        oldest, newest = profile.tested
        yield Finding(
            Mark.WARNING,
            f"agent {driver.name}: this version was not tried with this release of Corral",
            f"Versions {oldest} to {newest} were. It will most likely work; tell us where it does not.",
        )
    if found.logged_in is False and profile.login is not None:
        ways = [f"CHILD_ENV_{name}" for name in profile.login.variables]
        ways += [f"~/{name}" for name in profile.login.files]
        yield Finding(
            Mark.WARNING,
            f"agent {driver.name} finds no account",
            f"Give it one of {', '.join(ways)}; or let each session bring its own in `env`.",
        )


def _models(driver: Driver, bounds: Mapping[str, Sequence[str]]) -> Iterator[Finding]:
    if driver.name in bounds:
        yield Finding(Mark.GOOD, f"agent {driver.name} may be asked for {', '.join(bounds[driver.name])} alone")


def _running(home: Home) -> Finding:
    told = background.status(home)
    return Finding(Mark.GOOD, told or f"nothing runs on {home.root}; `corral up` starts it")


def _database(configured: str, home: Home) -> Finding:
    if not configured and not home.database.exists():
        return Finding(Mark.GOOD, f"database: SQLite under {home.root}, made by `corral up`")
    mend = "Look at CORRAL_DATABASE_URL and its server." if configured else f"Look at {home.database}."
    try:
        is_current = migrate.is_current(configured or home.database_url)
    except Unavailable:
        return Finding(Mark.MISSING, "the database cannot be reached", mend)
    except (DatabaseError, OSError) as problem:
        return Finding(Mark.MISSING, f"the database cannot be read ({first_line(problem)})", mend)
    if is_current:
        return Finding(Mark.GOOD, "database: reachable, at this release")
    if configured:
        return Finding(Mark.MISSING, "the database is not at this release", "Run `corral migrate`.")
    return Finding(Mark.GOOD, "database: of an earlier release; `corral up` brings it to this one")


def _redis(configured: str) -> Finding:
    if not configured:
        try:
            redis_program()
        except click.ClickException as problem:
            return Finding(Mark.MISSING, "there is no Redis", problem.message)
        return Finding(Mark.GOOD, "Redis: embedded, run by `corral up`")
    try:
        with connect(configured) as client:
            client.ping()
            return _eviction(client)
    except (redis.RedisError, ValueError) as problem:
        return Finding(
            Mark.WARNING,
            f"Redis cannot be reached ({first_line(problem)})",
            "Look at CORRAL_REDIS_URL and its server. Without Redis prompts are accepted and start a little later.",
        )


def _eviction(client: redis.Redis) -> Finding:
    try:
        policy = client.config_get("maxmemory-policy").get("maxmemory-policy")
    except redis.ResponseError:
        # Where others run it for us its configuration is often closed.
        return Finding(Mark.GOOD, "Redis: reachable")
    if policy not in {"noeviction", None}:
        return Finding(Mark.WARNING, f"Redis evicts ({policy})", "Set maxmemory-policy noeviction.")
    return Finding(Mark.GOOD, "Redis: reachable")


def _git() -> Finding:
    if shutil.which("git"):
        return Finding(Mark.GOOD, "git is on PATH")
    return Finding(Mark.WARNING, "git is not on PATH", "Agents that work on repositories need it.")


def _walls(settings: Settings, home: Home) -> Finding:
    worker, given = settings.worker, environment.given(settings.environ, settings.child_env)
    url = settings.core.database_url or home.database_url
    said = walls.Said(worker.sandbox, worker.sandbox_read, settings.agent_commands, given, url)
    try:
        choice = walls.choose(said, Path(worker.volume or home.workspaces))
    except walls.NoWallsStand as problem:
        return Finding(Mark.MISSING, "no walls stand around agents", problem.message)
    why = "; ".join(choice.problems)
    match choice.walls.name:
        case "bubblewrap":
            return Finding(Mark.GOOD, "agents run behind walls: bubblewrap")
        case "landlock":
            return Finding(Mark.WARNING, f"agents run behind the weaker walls: Landlock ({why})", walls.INSTALL)
    return Finding(Mark.WARNING, f"agents run without walls ({why})", f"{walls.WARNING} {walls.INSTALL}")


def _folder(folder: Path) -> Finding:
    if folder.is_dir() and os.access(folder, os.R_OK | os.X_OK):
        return Finding(Mark.GOOD, f"{folder} is open to agents")
    return Finding(
        Mark.WARNING, f"{folder} cannot be read", "Make it readable, or take it out of CORRAL_ALLOWED_FOLDERS."
    )


def _disk(root: Path) -> Finding:
    place = next((folder for folder in (root, *root.parents) if folder.exists()), Path("/"))
    free = shutil.disk_usage(place).free / 2**30
    if free >= 1:
        return Finding(Mark.GOOD, f"{free:.0f} GiB free for workspaces")
    return Finding(Mark.WARNING, f"only {free:.1f} GiB free for workspaces", f"Make room on the disk of {place}.")


def report(settings: Settings, home: Home) -> bool:
    """Print all findings; whether nothing is missing."""
    colours = {Mark.GOOD: "green", Mark.WARNING: "yellow", Mark.MISSING: "red"}
    is_whole = True
    for finding in examine(settings, home):
        is_whole = is_whole and finding.mark is not Mark.MISSING
        click.echo(f" {click.style(finding.mark.value, fg=colours[finding.mark])}  {finding.what}")
        if finding.advice:
            click.echo(f"     {finding.advice}")
    return is_whole
