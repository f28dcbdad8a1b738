"""Earlier lives of this worker's name: what is dead is taken over at once, and beside a live one nobody begins.

Two live workers of one name would take each other's sessions in turn.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Final

from shared.domain.errors import Conflict
from shared.domain.ids import Incarnation
from shared.store import workers
from shared.store.database import Connection, Database

_BEATS: Final = 2.0
"""For how many of its own beats a worker looks at the counter of an earlier life before it calls it dead."""
_LOOKS: Final = 4  # a beat


class NameTaken(Conflict):
    """A worker of the same name lives."""

    code = "worker_name_taken"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"A worker named {name!r} is running already. Give each its own CORRAL_WORKER_NAME and "
            "CORRAL_WORKSPACE_ROOT, or stop the other one first.",
            name=name,
        )


def silent(database: Database, name: str, me: Incarnation, *, beat_s: float) -> Mapping[Incarnation, int]:
    """The earlier lives of `name` whose counter stands still, and where. Takes two beats where there are any.

    Raises:
        NameTaken: one of them beats.
        DatabaseAway: nobody can tell.
    """
    with database.read() as connection:
        first = _beats(connection, name, me)
    deadline_s = time.monotonic() + _BEATS * beat_s
    pause = threading.Event()
    while first and time.monotonic() < deadline_s:
        pause.wait(beat_s / _LOOKS)
        with database.read() as connection:
            require_silence(connection, name, me, first)
    return first


def require_silence(connection: Connection, name: str, me: Incarnation, known: Mapping[Incarnation, int]) -> None:
    """Raise where anybody of `name` beats who did not stand still at `known`; in the transaction in which `me` joins.

    Raises:
        NameTaken: somebody came, or came back.
    """
    if any(known.get(other) != beat for other, beat in _beats(connection, name, me).items()):
        raise NameTaken(name)


def _beats(connection: Connection, name: str, me: Incarnation) -> Mapping[Incarnation, int]:
    rows = workers.predecessors(connection, name, "worker", me)
    return {row.incarnation: row.beat for row in rows if row.state != "lost"}
