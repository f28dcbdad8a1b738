"""This worker's row in the fleet: there from the moment it may host until it hosts nothing any more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from shared.domain import clock
from shared.domain.errors import Unavailable
from shared.domain.ids import Incarnation
from shared.domain.json import JsonObject
from shared.store import ownership, workers
from shared.store.database import Database
from workers.maintenance import namesakes

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Membership:
    """Who this worker is to its peers. Blocking: not for the host's loop."""

    database: Database
    me: Incarnation
    name: str
    volume_id: str
    capacity: int
    earlier: Mapping[Incarnation, int]
    """Earlier lives of the name that were found silent, and where their counters stand."""

    def join(self, address: str) -> None:
        """Be counted as live, with the first beat done; the API reaches this worker's files at `address`.

        Raises:
            NameTaken: another one of the name lives.
            DatabaseAway: nothing was written.
        """
        with self.database.write() as connection:
            namesakes.require_silence(connection, self.name, self.me, self.earlier)
            workers.register(
                connection,
                incarnation=self.me,
                name=self.name,
                role="worker",
                volume_id=self.volume_id,
                address=address,
                capacity=self.capacity,
                agents={},
                at=clock.now(),
            )

    def tell_agents(self, found: JsonObject) -> bool:
        """Say which agents can be started here, by name; False: the database is away, try again."""
        try:
            with self.database.write() as connection:
                workers.set_agents(connection, self.me, found)
        except Unavailable as problem:
            log.warning("agents.untold", problem=str(problem))
            return False
        return True

    def say_draining(self) -> None:
        """Take no more sessions. Peers go on watching the beat. Untold while the database is away."""
        try:
            with self.database.write() as connection:
                workers.set_state(connection, self.me, "draining")
        except Unavailable as problem:
            log.warning("drain.untold", problem=str(problem))

    def leave(self) -> None:
        """Take the row away. What could not be handed over keeps it there, for a rescuer to find."""
        try:
            with self.database.write() as connection:
                if not ownership.owned_by(connection, self.me):
                    workers.remove(connection, self.me)
        except Unavailable as problem:
            log.warning("leave.untold", problem=str(problem))
