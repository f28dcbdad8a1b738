"""Workers: processes that hold sessions (or webhook lanes) under a lease which lapses with their beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from shared.domain.ids import Incarnation
from shared.domain.json import JsonObject

WorkerRole = Literal["worker", "delivery"]
"""What kind of process it is: a host of agents, or a sender of webhooks."""

WorkerState = Literal["live", "draining", "lost"]
"""Where it is in its life. A draining one keeps what it has and takes nothing new; a lost one never comes back."""


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """One incarnation as stored."""

    incarnation: Incarnation
    name: str
    """Stable over restarts; one name has at most one incarnation that is not lost."""
    role: WorkerRole
    state: WorkerState
    volume_id: str | None
    address: str | None
    """host:port of its internal HTTP."""
    capacity: int
    used: int
    beat: int
    """Counts up with each beat. Observers watch it change on their own clock; `beat_at` is for people."""
    agents: JsonObject
    """`{ready, version, problem}` of each agent it has looked for; one that is missing is still being looked for."""
    started_at: datetime
    beat_at: datetime

    @property
    def ready_agents(self) -> frozenset[str]:
        """The agents it can start."""
        return frozenset(
            name for name, told in self.agents.items() if isinstance(told, dict) and told.get("ready") is True
        )


def lacking(rows: Sequence[WorkerRow]) -> frozenset[str]:
    """The agents all of these workers have looked for and none can start."""
    known = [frozenset(row.agents) for row in rows]
    ready = frozenset[str]().union(*(row.ready_agents for row in rows))
    return frozenset.intersection(*known) - ready if known else frozenset()
