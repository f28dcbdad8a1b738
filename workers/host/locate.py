"""Finds each agent's program on this machine, and says whether it is ready to work."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from shared.agents.driver import Driver
from shared.domain.json import JsonObject

_PROBE_S: Final = 10.0
_BUILT_IN: Final = {"demo": (sys.executable, "-P", "-m", "cli.demo_agent")}
"""Agents that come with Corral run by its own interpreter where no program is named."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether one agent can be started here; `problem` says what is missing and how to get it."""

    agent: str
    command: Sequence[str] | None
    version: str | None = None
    problem: str | None = None
    logged_in: bool | None = None
    """Whether what its driver says it needs of an account is there; None: the driver does not say."""

    @property
    def is_ready(self) -> bool:
        """Whether sessions with this agent can be started here."""
        return self.command is not None and self.problem is None

    def as_json(self) -> JsonObject:
        """What is told of it. `path` is for operators alone: `/v1/agents` shows it to admins."""
        return {
            "ready": self.is_ready,
            "version": self.version,
            "problem": self.problem,
            "logged_in": self.logged_in,
            "path": self.command[0] if self.command else None,
        }


def command_of(driver: Driver, configured: Mapping[str, str]) -> Sequence[str] | None:
    """The program and leading arguments of an agent: as configured, else from PATH; None where there is none."""
    if driver.name in configured:
        return shlex.split(configured[driver.name])
    found = shutil.which(driver.program)
    return (found,) if found else _BUILT_IN.get(driver.name)


def logged_in(driver: Driver, environ: Mapping[str, str], home: Path) -> bool | None:
    """Whether an agent finds an account in the environment it gets, or in the worker's home; None: nobody can tell.

    Looks whether things are there, never what they are. A session may bring a key of its own.
    """
    login = driver.abilities.profile.login
    if login is None:
        return None
    if not login.is_needed:
        return True
    has_variable = any(environ.get(name) for name in login.variables)
    return has_variable or any((home / name).is_file() for name in login.files)


def probe(
    driver: Driver, configured: Mapping[str, str], environ: Mapping[str, str] = MappingProxyType({})
) -> Readiness:
    """Look for an agent's program, ask for its version, and whether `environ`, the agents' own, holds an account.

    Takes up to ten seconds; never raises.
    """
    return replace(_probe(driver, configured), logged_in=logged_in(driver, environ, Path.home()))


def _probe(driver: Driver, configured: Mapping[str, str]) -> Readiness:
    setting = f"CORRAL_{driver.name.upper()}_COMMAND"
    command = command_of(driver, configured)
    if command is None:
        return Readiness(driver.name, None, problem=f"{driver.program} is not on PATH. Install it, or set {setting}.")
    if shutil.which(command[0]) is None:
        return Readiness(driver.name, None, problem=f"The program that {setting} names cannot be run.")
    if not driver.version_args:
        return Readiness(driver.name, command)
    try:
        asked = subprocess.run(
            [*command, *driver.version_args], capture_output=True, text=True, timeout=_PROBE_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return Readiness(driver.name, command, problem="It does not answer when asked for its version.")
    if asked.returncode != 0:
        return Readiness(driver.name, command, problem=f"Asked for its version it exits with {asked.returncode}.")
    said = asked.stdout.strip().splitlines()
    return Readiness(driver.name, command, version=said[0][:100] if said else None)
