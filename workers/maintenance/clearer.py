"""Removes workspaces of sessions that retention is about to remove, from the disk of this worker, a few at a time.

The rows are the list of what is to be done: a session keeps them until its files are gone, and nothing on the disk is
ever removed because the database does not know it.
"""

from __future__ import annotations

import threading
from datetime import timedelta
from types import TracebackType
from typing import Final, Self

import structlog

from shared.domain import clock
from shared.domain.errors import CorralError, Unavailable
from shared.domain.ids import SessionId
from shared.store import retention
from shared.store.database import Database, DatabaseError
from shared.workspaces import registry as kinds
from shared.workspaces.kind import Volume

log = structlog.get_logger(__name__)

_PERIOD_S: Final = 20.0
_AT_ONCE: Final = 5
"""Workspaces removed a period: agents that work on the same disk must not feel it."""


class Clearer:
    """Clears while the block runs; several workers of one volume may do so at once."""

    def __init__(self, database: Database, volume: Volume, *, keep_days: float, period_s: float = _PERIOD_S) -> None:
        self._database = database
        self._volume = volume
        self._keep = timedelta(days=keep_days)
        self._period_s = period_s
        self._failed: set[SessionId] = set()
        """Tried in vain in this life; they hold up no other."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="clearer", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(timeout=5.0)

    def round(self) -> int:
        """Remove up to five workspaces; how many went. Raises what the database raises."""
        before = clock.now() - self._keep
        with self._database.read() as connection:
            due = retention.uncleared(connection, self._volume.id, before, _AT_ONCE, but=self._failed)
        return sum(self._clear(one) for one in due if not self._stop.is_set())

    def _clear(self, one: retention.Uncleared) -> bool:
        try:
            kinds.find(one.kind).remove(one.session, one.workspace, self._volume)
        except CorralError as problem:
            self._failed.add(one.session)
            log.warning("workspace.not_removed", session=one.session, problem=problem.message)
            return False
        with self._database.write() as connection:
            retention.set_cleared(connection, one.session)
        log.info("workspace.removed", session=one.session, reason="retention")
        return True

    def _run(self) -> None:
        while not self._stop.wait(self._period_s):
            try:
                self.round()
            except (Unavailable, DatabaseError) as problem:
                log.warning("clear.failed", problem=str(problem))
            except Exception:
                # The thread goes on: a release that comes later may know better, this process serves until then.
                log.exception("clear.failed")
