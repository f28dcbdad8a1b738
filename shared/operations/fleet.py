"""Who is there: agents and whether any worker can run them, worker and delivery processes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from shared.agents.driver import Abilities
from shared.domain.errors import UnknownAgent
from shared.domain.json import JsonObject
from shared.domain.worker import WorkerRow
from shared.operations.context import Context
from shared.store import workers


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether live workers can start one agent. A worker tells `{ready, version?, problem?}` of each."""

    workers: tuple[str, ...]
    version: str | None
    problem: str | None


@dataclass(frozen=True, slots=True)
class AgentState:
    """One agent, what it can do and where it can be run."""

    name: str
    abilities: Abilities
    readiness: Readiness

    def abilities_shown(self) -> JsonObject:
        """Abilities beside modes and commands, by name."""
        named = {field.name: getattr(self.abilities, field.name) for field in dataclasses.fields(self.abilities)}
        return {name: value for name, value in named.items() if isinstance(value, bool)}


def readiness(rows: Sequence[WorkerRow], agent: str) -> Readiness:
    """What live workers tell of one agent."""
    told = [(row.name, entry) for row in rows if isinstance(entry := row.agents.get(agent), dict)]
    ready = [(name, entry) for name, entry in told if entry.get("ready") is True]
    version = next((str(entry["version"]) for _, entry in ready if entry.get("version")), None)
    problem = next((str(entry["problem"]) for _, entry in told if entry.get("problem")), None)
    if not rows:
        problem = "no worker is there"
    return Readiness(tuple(sorted(name for name, _ in ready)), version, None if ready else problem)


def agents(context: Context) -> list[AgentState]:
    """Every agent of this release, by name."""
    with context.db.read() as connection:
        rows = workers.live(connection, "worker")
    return [AgentState(name, context.agents[name], readiness(rows, name)) for name in sorted(context.agents)]


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
