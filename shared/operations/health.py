"""Whether the API can do its work: what is missing stops it, what is warned of is only missed."""

from __future__ import annotations

from dataclasses import dataclass

import redis
import structlog

from shared.domain.errors import Unavailable
from shared.operations import fleet
from shared.operations.context import Context
from shared.store import migrate, workers
from shared.store.database import DatabaseAway, DatabaseError

log = structlog.get_logger(__name__)


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
    except DatabaseError as problem:
        log.warning("database.refuses", problem=str(problem))
        return Health((_why_refused(context),), tuple(warnings))
    if not rows:
        warnings.append("No worker is there: sessions wait `starting`.")
    elif not any(fleet.readiness(rows, agent).workers for agent in context.agents):
        warnings.append("No worker has the program of any agent; `corral doctor` says what is missing.")
    return Health((), tuple(warnings))


def _why_refused(context: Context) -> str:
    try:
        migrate.require_current(context.db.url.render_as_string(hide_password=False))
    except Unavailable as problem:
        return problem.message
    return "The database is at this release and still refuses what is asked of it; the log says how."


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
