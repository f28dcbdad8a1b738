"""Rows of live processes: their beat, and the count of sessions each may host. Who owns what is in `heads.py`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TypedDict, Unpack

import sqlalchemy as sa

from shared.domain.ids import Incarnation
from shared.domain.json import JsonObject
from shared.domain.worker import WorkerRole, WorkerRow, WorkerState
from shared.store.cursors import Row
from shared.store.database import Connection
from shared.store.tables import workers

_BEATING: tuple[WorkerState, ...] = ("live", "draining")


class NewWorker(TypedDict):
    """What a process tells of itself when it starts."""

    incarnation: Incarnation
    name: str
    role: WorkerRole
    volume_id: str | None
    address: str | None
    capacity: int
    agents: JsonObject
    at: datetime


def register(connection: Connection, **new: Unpack[NewWorker]) -> None:
    """Make the row of a new incarnation: live, its first beat done, hosting nothing."""
    connection.execute(
        workers.insert().values(
            incarnation=new["incarnation"],
            name=new["name"],
            role=new["role"],
            state="live",
            volume_id=new["volume_id"],
            address=new["address"],
            capacity=new["capacity"],
            agents=new["agents"],
            started_at=new["at"],
            beat_at=new["at"],
        )
    )


def beat(connection: Connection, incarnation: Incarnation, at: datetime) -> bool:
    """Count the beat up. False: the row is gone or was declared lost, and with it all the process held."""
    statement = (
        workers.update()
        .where(workers.c.incarnation == incarnation, workers.c.state.in_(_BEATING))
        .values(beat=workers.c.beat + 1, beat_at=at)
    )
    return connection.execute(statement).rowcount == 1


def get(connection: Connection, incarnation: Incarnation) -> WorkerRow | None:
    """One incarnation."""
    row = connection.execute(sa.select(workers).where(workers.c.incarnation == incarnation)).one_or_none()
    return _worker(row) if row else None


def live(connection: Connection, role: WorkerRole) -> Sequence[WorkerRow]:
    """Incarnations of a role that nobody declared lost, draining ones too, oldest first."""
    return _several(connection, workers.c.role == role, workers.c.state.in_(_BEATING))


def list_all(connection: Connection) -> Sequence[WorkerRow]:
    """All incarnations that have a row, oldest first."""
    return _several(connection)


def predecessors(connection: Connection, name: str, role: WorkerRole, me: Incarnation) -> Sequence[WorkerRow]:
    """Other incarnations of the same name: `me` started after them and takes over what they held at once."""
    return _several(connection, workers.c.name == name, workers.c.role == role, workers.c.incarnation != me)


def has_volume(connection: Connection, volume_id: str | None) -> bool:
    """Whether a worker that was not declared lost holds the volume; None, for a workspace not yet made, any does."""
    if volume_id is None:
        return True
    rows = _several(connection, workers.c.volume_id == volume_id, workers.c.state.in_(_BEATING))
    return bool(rows)


def lock(connection: Connection, incarnation: Incarnation) -> WorkerRow | None:
    """The row, locked until the transaction ends, so that of several rescuers one acts and no beat comes between.

    On SQLite the writing transaction itself is the lock.
    """
    statement = sa.select(workers).where(workers.c.incarnation == incarnation).with_for_update()
    row = connection.execute(statement).one_or_none()
    return _worker(row) if row else None


def set_state(connection: Connection, incarnation: Incarnation, state: WorkerState) -> bool:
    """Say where the worker is in its life. A lost one stays lost. False: nothing changed."""
    statement = workers.update().where(workers.c.incarnation == incarnation, workers.c.state.in_(_BEATING))
    return connection.execute(statement.values(state=state)).rowcount == 1


def set_agents(connection: Connection, incarnation: Incarnation, agents: JsonObject) -> None:
    """Say which agents the worker can start, by name."""
    connection.execute(workers.update().where(workers.c.incarnation == incarnation).values(agents=agents))


def remove(connection: Connection, incarnation: Incarnation) -> None:
    """Remove the row; a beat of it fails from now on."""
    connection.execute(workers.delete().where(workers.c.incarnation == incarnation))


def take_slot(connection: Connection, incarnation: Incarnation) -> bool:
    """Count one more session on a live worker. False: it is full, draining, lost or gone.

    One statement that counts and compares: counting rows first let 11 sessions onto a worker for 5.
    """
    statement = (
        workers.update()
        .where(
            workers.c.incarnation == incarnation,
            workers.c.state == "live",
            workers.c.used < workers.c.capacity,
        )
        .values(used=workers.c.used + 1)
    )
    return connection.execute(statement).rowcount == 1


def free_slot(connection: Connection, incarnation: Incarnation) -> None:
    """Count one session less, whatever the worker's state; never below zero."""
    connection.execute(
        workers.update().where(workers.c.incarnation == incarnation, workers.c.used > 0).values(used=workers.c.used - 1)
    )


def _several(connection: Connection, *conditions: sa.ColumnElement[bool]) -> Sequence[WorkerRow]:
    statement = sa.select(workers).where(*conditions).order_by(workers.c.started_at, workers.c.incarnation)
    return [_worker(row) for row in connection.execute(statement)]


def _worker(row: Row) -> WorkerRow:
    return WorkerRow(
        incarnation=Incarnation(row.incarnation),
        name=row.name,
        role=row.role,
        state=row.state,
        volume_id=row.volume_id,
        address=row.address,
        capacity=row.capacity,
        used=row.used,
        beat=row.beat,
        agents=row.agents,
        started_at=row.started_at,
        beat_at=row.beat_at,
    )
