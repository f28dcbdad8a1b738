"""All settings, read once from the environment (and `.env`) into one frozen tree.

Only composition roots read this; everything else is handed what it needs.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from shared.domain import parsing
from shared.domain.addresses import AddressRules
from shared.domain.prices import PriceTable
from shared.settings.entry import Secret, SettingError
from shared.settings.files import Files
from shared.settings.git import Git
from shared.settings.groups import Api, Core, Delivery, Limits, Mcp, Times, Usage, Worker

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Settings:
    """The tree."""

    core: Core
    api: Api
    mcp: Mcp
    worker: Worker
    limits: Limits
    times: Times
    delivery: Delivery
    usage: Usage
    files: Files
    git: Git
    agent_commands: Mapping[str, str]
    """`CORRAL_<AGENT>_COMMAND`, by lower-case agent name."""
    agent_models: Mapping[str, tuple[str, ...]]
    """`CORRAL_<AGENT>_MODELS`, by lower-case agent name: patterns of models that may be asked for."""
    child_env: Mapping[str, str]
    """`CHILD_ENV_X=v` as `X: v`: what agents get beyond the allow-list."""
    environ: Mapping[str, str]
    """The whole environment this was read from; agents get an allow-list of it."""

    def __repr__(self) -> str:
        return f"Settings(core={self.core!r}, api={self.api!r}, worker={self.worker!r})"


GROUPS: Mapping[str, type[Any]] = {
    "core": Core,
    "api": Api,
    "mcp": Mcp,
    "worker": Worker,
    "limits": Limits,
    "times": Times,
    "delivery": Delivery,
    "usage": Usage,
    "files": Files,
    "git": Git,
}


def _read_group(group: type[T], environ: Mapping[str, str]) -> T:
    values: dict[str, object] = {}
    for entry in dataclasses.fields(group):  # type: ignore[arg-type]
        name = entry.metadata["name"]
        raw = environ.get(name)
        if raw is None or (raw == "" and entry.default not in (None, ())):
            continue
        try:
            values[entry.name] = entry.metadata["parse"](raw)
        except ValueError as problem:
            # A URL may carry a password.
            shown = "its value" if entry.default.__class__ is Secret or name.endswith("_URL") else repr(raw)
            use = "used" if isinstance(problem, parsing.OutOfBounds) else _use_of(group, entry.name)
            msg = f"{name}: {shown} cannot be {use} ({problem})."
            raise SettingError(msg) from problem
    return group(**values)


def _use_of(group: type[Any], name: str) -> str:
    hint = get_type_hints(group)[name]
    return {str: "used", Secret: "used", bool: "used", PriceTable: "used", int: "read as a whole number"}.get(
        hint, "read as a number"
    )


def read(environ: Mapping[str, str] | None = None, *, dotenv: Path | None = None) -> Settings:
    """The settings of `environ` (the process's own where None); what it lacks is looked up in `dotenv`.

    Raises:
        SettingError: a value cannot be read, or does not go with another.
    """
    merged = {**(read_dotenv(dotenv) if dotenv else {}), **(os.environ if environ is None else environ)}
    groups = {name: _read_group(group, merged) for name, group in GROUPS.items()}
    commands = _by_agent(merged, "COMMAND")
    models = {agent: parsing.texts(value) for agent, value in _by_agent(merged, "MODELS").items()}
    child = {name.removeprefix("CHILD_ENV_"): value for name, value in merged.items() if name.startswith("CHILD_ENV_")}
    settings = Settings(**groups, agent_commands=commands, agent_models=models, child_env=child, environ=merged)
    _check(settings)
    return settings


def _check(settings: Settings) -> None:
    """What no setting by itself can tell."""
    times, worker = settings.times, settings.worker
    if not times.beat_s < times.freeze_s < times.lapse_s:
        # Agents that are frozen later than peers take their sessions would work on beside the next ones.
        told = f"{times.beat_s:g}, {times.freeze_s:g} and {times.lapse_s:g} s"
        raise SettingError(
            f"CORRAL_BEAT_S, CORRAL_FREEZE_S and CORRAL_LAPSE_S must rise in this order; they are {told}."
        )
    if worker.line_limit > worker.line_total:
        raise SettingError("CORRAL_LINE_LIMIT: one line cannot be longer than all together, CORRAL_LINE_TOTAL.")
    try:
        AddressRules.read(settings.delivery.allow, settings.delivery.ports)
        settings.git.rules()
    except ValueError as problem:
        raise SettingError(f"{problem}.") from problem


def _by_agent(environ: Mapping[str, str], what: str) -> dict[str, str]:
    """What is set as `CORRAL_<AGENT>_<what>`, by lower-case agent name."""
    return {
        name.removeprefix("CORRAL_").removesuffix(f"_{what}").lower(): value
        for name, value in environ.items()
        if name.startswith("CORRAL_") and name.endswith(f"_{what}") and value
    }


def read_dotenv(path: Path) -> dict[str, str]:
    """`NAME=value` lines of a `.env` file; quotes around a value are taken off, `#` lines are comments."""
    if not path.is_file():
        return {}
    return parsing.assignments(path.read_text(encoding="utf-8"))
