"""Whether the API can do its work: what is missing stops it, what is warned of is only missed."""

from __future__ import annotations

from dataclasses import dataclass

import redis

from shared.operations import fleet
from shared.operations.context import Context
from shared.store import workers
from shared.store.database import DatabaseAway


@dataclass(frozen=True, slots=True)
class Health:
    """Sentences for the operator."""

    missing: tuple[str, ...]
    warnings: tuple[str, ...]


def look(context: Context, client: redis.Redis) -> Health:
    """What is missing or away right now. Takes as long as the time-outs of database and Redis at most."""
    warnings = [] if _answers(client) else ["Redis is away: prompts start and events show up to a few seconds late."]
    try:
        with context.db.read() as connection:
            rows = workers.live(connection, "worker")
    except DatabaseAway:
        return Health(("The database cannot be reached.",), tuple(warnings))
    if not rows:
        warnings.append("No worker is there: sessions wait `starting`.")
    elif not any(fleet.readiness(rows, agent).workers for agent in context.agents):
        warnings.append("No worker has the program of any agent; `corral doctor` says what is missing.")
    return Health((), tuple(warnings))


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
