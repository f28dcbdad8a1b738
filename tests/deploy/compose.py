"""docker-compose.yml as Compose would understand it, and its services as plain processes."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.deploy import image
from tests.house.tree import ROOT

FILE = ROOT / "docker-compose.yml"
DOCKERFILE = ROOT / "Dockerfile"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_UNITS_S = {"s": 1, "m": 60, "h": 3600}


class Unset(Exception):
    """A variable that must be set is not; the message is the file's own."""


def load(environ: Mapping[str, str]) -> dict[str, Any]:
    """The file with anchors merged and `${…}` filled in from `environ`.

    Raises:
        Unset: a variable that must be set is not.
    """
    parsed: dict[str, Any] = _filled(yaml.safe_load(FILE.read_text(encoding="utf-8")), environ)
    return parsed


def _filled(thing: Any, environ: Mapping[str, str]) -> Any:
    if isinstance(thing, str):
        return interpolate(thing, environ)
    if isinstance(thing, list):
        return [_filled(value, environ) for value in thing]
    if isinstance(thing, dict):
        return {key: _filled(value, environ) for key, value in thing.items()}
    return thing


def interpolate(text: str, environ: Mapping[str, str]) -> str:
    """`text` with `$X`, `${X}`, `${X:-default}`, `${X:?message}` (and without the colon) and `$$` filled in.

    Raises:
        Unset: a variable with `?` is not set (with the colon: or empty).
    """
    done, rest = "", text
    while "$" in rest:
        before, _, rest = rest.partition("$")
        if rest.startswith("$"):
            value, rest = "$", rest[1:]
        elif rest.startswith("{"):
            inside, rest = _braced(rest)
            value = _valued(inside, environ)
        else:
            name = _NAME.match(rest)
            assert name is not None, f"a lone $ in {text!r}"
            value, rest = environ.get(name[0], ""), rest[name.end() :]
        done += before + value
    return done + rest


def _braced(text: str) -> tuple[str, str]:
    """What stands between the first brace and its partner, and what follows."""
    depth = 0
    for place, letter in enumerate(text):
        depth += (letter == "{") - (letter == "}")
        if depth == 0:
            return text[1:place], text[place + 1 :]
    raise AssertionError(f"an open brace in {text!r}")


def _valued(inside: str, environ: Mapping[str, str]) -> str:
    name = _NAME.match(inside)
    assert name is not None, inside
    operator = inside[name.end() :]
    value = environ.get(name[0])
    if operator.startswith(":"):
        value, operator = value or None, operator[1:]
    if value is not None:
        return value
    match operator[:1]:
        case "-":
            return interpolate(operator[1:], environ)
        case "?":
            raise Unset(f"{name[0]}: {operator[1:]}")
        case "":
            return ""
    raise AssertionError(f"not understood: ${{{inside}}}")


def seconds(duration: str) -> float:
    """A duration of the file (`1m30s`)."""
    parts = re.findall(r"(\d+(?:\.\d+)?)([smh])", duration)
    assert "".join(number + unit for number, unit in parts) == duration, duration
    return sum(float(number) * _UNITS_S[unit] for number, unit in parts)


@dataclass(frozen=True, slots=True)
class Command:
    """One process: as the container would start it, in words of this machine."""

    argv: list[str]
    env: dict[str, str]
    folder: Path


@dataclass(frozen=True, slots=True)
class Machine:
    """What stands here for the container's world."""

    hosts: Mapping[str, str]
    """URL of each service that is no process of ours, by its name in the file."""
    ports: Mapping[str, str]
    """A free port here for each port of the file."""
    volumes: Mapping[str, Path]
    """A folder here for each named volume."""
    folder: Path

    def start_of(self, service: Mapping[str, Any]) -> Command:
        """The service's process: the image's entry point with the service's command."""
        stage = _stage_of(service)
        entry = stage.argv("ENTRYPOINT")
        if shutil.which(entry[0]) is None:
            # tini only hands signals on, and may not be here.
            entry = entry[entry.index("--") + 1 :]
        return self._command([*entry, *(service.get("command") or stage.argv("CMD"))], service, stage)

    def healthcheck_of(self, service: Mapping[str, Any]) -> Command:
        """The service's healthcheck, run in the container beside its process."""
        kind, *words = service["healthcheck"]["test"]
        assert kind == "CMD", "a shell in between is one more process each time"
        return self._command(words, service, _stage_of(service))

    def beside(self, service: Mapping[str, Any], *words: str) -> Command:
        """`docker compose exec <service> …`."""
        return self._command(list(words), service, _stage_of(service))

    def _command(self, words: list[str], service: Mapping[str, Any], stage: image.Stage) -> Command:
        mounts = self._mounts(service)
        env = {
            name: self._here(value, mounts)
            for name, value in {**stage.environment, **service.get("environment", {})}.items()
        }
        # The image's programs are this environment's.
        env["PATH"] = env["PATH"].replace("/opt/corral/bin", str(Path(sys.executable).parent))
        argv = [self.ports.get(word, word) for word in words]
        program = shutil.which(argv[0], path=env["PATH"])
        assert program is not None, f"the image has no {argv[0]}"
        return Command([program, *argv[1:]], env, self.folder)

    def _mounts(self, service: Mapping[str, Any]) -> dict[str, Path]:
        pairs = (volume.split(":") for volume in service.get("volumes", []))
        return {target: self.volumes[name] for name, target in pairs}

    def _here(self, value: str, mounts: Mapping[str, Path]) -> str:
        if value in mounts:
            return str(mounts[value])
        if value == "/opt/corral/bin:$PATH":
            return f"/opt/corral/bin:{os.environ['PATH']}"
        host = re.match(r"\w+://(?:[^@/]*@)?([^:/]+)", value)
        if host and host[1] in self.hosts:
            return self.hosts[host[1]]
        return self.ports.get(value, value)


def _stage_of(service: Mapping[str, Any]) -> image.Stage:
    return image.read(DOCKERFILE)[service["build"]["target"]]
