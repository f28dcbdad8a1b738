"""Who is there: agents and whether any worker can run them, worker and delivery processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.agents.driver import Abilities
from shared.domain import versions
from shared.domain.errors import UnknownAgent
from shared.domain.json import JsonObject
from shared.domain.worker import WorkerRow
from shared.operations.context import Context
from shared.store import workers


@dataclass(frozen=True, slots=True)
class Found:
    """What one worker tells of an agent: `{ready, version?, problem?, path?, logged_in?}`. `path` is for operators."""

    worker: str
    ready: bool
    version: str | None
    problem: str | None
    path: str | None
    logged_in: bool | None


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether live workers can start one agent."""

    workers: tuple[str, ...]
    version: str | None
    problem: str | None
    logged_in: bool | None = None
    """Whether a worker that is ready has an account for it; None: nobody can tell."""
    found: tuple[Found, ...] = ()


@dataclass(frozen=True, slots=True)
class AgentState:
    """One agent, what it can do and where it can be run."""

    name: str
    abilities: Abilities
    readiness: Readiness
    models: Sequence[str]
    """What may be asked for, where that is bounded (patterns); else what the driver knows of."""
    models_bounded: bool

    @property
    def is_tested(self) -> bool | None:
        """Whether the driver was held to this version of the program; None: that cannot be told."""
        return versions.is_within(self.readiness.version, self.abilities.profile.tested)


def readiness(rows: Sequence[WorkerRow], agent: str) -> Readiness:
    """What live workers tell of one agent."""
    told = [_found(row.name, entry) for row in rows if isinstance(entry := row.agents.get(agent), dict)]
    ready = [one for one in told if one.ready]
    version = next((one.version for one in ready if one.version), None)
    problem = next((one.problem for one in told if one.problem), None)
    if not rows:
        problem = "no worker is there"
    accounts = {one.logged_in for one in ready}
    logged_in = True if True in accounts else None if None in accounts or not ready else False
    names = tuple(sorted(one.worker for one in ready))
    return Readiness(names, version, None if ready else problem, logged_in, tuple(told))


def _found(worker: str, entry: JsonObject) -> Found:
    logged_in = entry.get("logged_in")
    return Found(
        worker,
        entry.get("ready") is True,
        _text(entry, "version"),
        _text(entry, "problem"),
        _text(entry, "path"),
        logged_in if isinstance(logged_in, bool) else None,
    )


def _text(entry: JsonObject, name: str) -> str | None:
    value = entry.get(name)
    return str(value) if value else None


def agents(context: Context) -> list[AgentState]:
    """Every agent of this release, by name."""
    with context.db.read() as connection:
        rows = workers.live(connection, "worker")
    return [_state(context, rows, name) for name in sorted(context.agents)]


def _state(context: Context, rows: Sequence[WorkerRow], name: str) -> AgentState:
    abilities, bounds = context.agents[name], context.models.get(name)
    models = abilities.profile.models if bounds is None else bounds
    return AgentState(name, abilities, readiness(rows, name), models, models_bounded=bounds is not None)


def agent(context: Context, name: str) -> AgentState:
    """One agent.

    Raises:
        UnknownAgent: there is none of that name.
    """
    found = {state.name: state for state in agents(context)}
    if name not in found:
        raise UnknownAgent(name, ", ".join(found))
    return found[name]


def processes(context: Context) -> Sequence[WorkerRow]:
    """All worker and delivery processes that have a row, oldest first."""
    with context.db.read() as connection:
        return workers.list_all(connection)
