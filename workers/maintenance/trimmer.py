"""Removes by age what retention allows to go, a little at a time, so that nothing live ever waits for it."""

from __future__ import annotations

import dataclasses
import secrets
import threading
from datetime import timedelta
from types import TracebackType
from typing import Final, Self

import structlog

from shared.domain import clock
from shared.domain.errors import Unavailable
from shared.store import living, retention
from shared.store.database import Database, DatabaseError

log = structlog.get_logger(__name__)

_PERIOD_S: Final = 3600.0


class Trimmer:
    """Trims about once an hour while the block runs; several workers may do so at once."""

    def __init__(self, database: Database, *, keep_days: float, period_s: float = _PERIOD_S) -> None:
        self._database = database
        self._keep = timedelta(days=keep_days)
        self._period_s = period_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="trimmer", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(timeout=5.0)

    def _run(self) -> None:
        # Workers of one fleet start together; they need not trim together.
        spread_s = self._period_s * secrets.randbelow(1000) / 1000
        while not self._stop.wait(spread_s):
            spread_s = self._period_s
            try:
                before = clock.now() - self._keep
                removed = retention.trim(self._database, before=before)
                trimmed = living.trim_living(self._database, before=before)
            except (Unavailable, DatabaseError) as problem:
                log.warning("trim.failed", problem=str(problem))
            except Exception:
                # The thread goes on: an hour later there may be a release that knows better.
                log.exception("trim.failed")
            else:
                log.info("trim.done", **dataclasses.asdict(removed), events_of_living=trimmed)
