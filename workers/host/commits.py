"""Commits what hosted sessions have to say, many sessions in one transaction, and finds the culprit where that fails.

Blocking, for the journal's thread. Renders before the transaction begins, publishes after it ended.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from shared.domain.errors import CorralError
from shared.domain.event import Draft, Event, EventType
from shared.domain.ids import SessionId
from shared.events import owner
from shared.events.codec import Prepared, prepare
from shared.events.owner import Appended, Effect, Entry
from shared.store.database import Connection, Database, DatabaseAway
from shared.telemetry import metrics

log = structlog.get_logger(__name__)

RETRY_S: Final = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Pauses while the database is away; the last one again and again."""
CORRALS_OWN: Final = frozenset(
    {
        EventType.SESSION_STARTED,
        EventType.TURN_STARTED,
        EventType.TURN_ENDED,
        EventType.ASK_RESOLVED,
        EventType.SESSION_IDLE,
        EventType.SESSION_PARKED,
        EventType.SESSION_ENDED,
    }
)
"""Written by the host itself. These stay where a commit must do without what the agent said."""


class Fenced(CorralError):
    """The session's epoch is no longer ours: nothing was written, and its host must let go."""

    code = "fenced"

    def __init__(self, session: SessionId) -> None:
        super().__init__(f"{session} is hosted by somebody else now.", session=session)


class Vetoed(CorralError):
    """Raised by an effect that finds the facts changed: nothing of its put is written."""

    code = "vetoed"

    def __init__(self) -> None:
        super().__init__("What this was to tell is no longer so.")


class NotStored(CorralError):
    """The store takes neither the events nor the effects of a put, or the journal was closed before it could."""

    code = "not_stored"

    def __init__(self) -> None:
        super().__init__("This could not be stored.")


@dataclass(slots=True, eq=False)
class Put:
    """Events and effects of one session that belong together: committed all or not at all."""

    session: SessionId
    epoch: int
    drafts: Sequence[Draft]
    effects: Sequence[Effect]
    size: int
    """Bytes, roughly; known before rendering."""
    count: int = field(init=False)
    prepared: list[Prepared] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.count = len(self.drafts)

    def render(self) -> None:
        """Turn the drafts into text, once."""
        if self.prepared is None:
            self.prepared = [prepare(self.session, draft) for draft in self.drafts]


Outcome = CorralError | None
Settled = Sequence[tuple[Put, Outcome]]


class Committer:
    """Appends puts as the owner of their sessions. For one thread."""

    def __init__(self, database: Database, committed: Callable[[Sequence[Event]], None], stop: threading.Event) -> None:
        self._database = database
        self._committed = committed
        self._stop = stop
        self._batches: dict[SessionId, tuple[int, int]] = {}

    def forget(self, session: SessionId, epoch: int) -> None:
        """The session is no longer hosted here in this epoch; in a later one it may be."""
        if self._batches.get(session, (None, 0))[0] == epoch:
            del self._batches[session]

    def store(self, puts: Sequence[Put]) -> list[tuple[Put, Outcome]]:
        """Commit `puts`, in order; what became of each. Waits for as long as the database is away.

        A put that cannot be stored is committed without what the agent said, so that it holds up nobody.
        """
        for put in puts:
            _render(put)
        try:
            appended = self._append(self._entries(puts))
        except _Veto as veto:
            others = [put for put in puts if put is not veto.put]
            return [*(self.store(others) if others else []), (veto.put, Vetoed())]
        except NotStored as closed:
            return [(put, closed) for put in puts]
        except Exception as problem:  # noqa: BLE001 - whatever the store refuses, the other sessions must go on
            return self._store_in_parts(puts, problem)
        return [(put, Fenced(put.session) if put.session in appended.fenced else None) for put in puts]

    def _store_in_parts(self, puts: Sequence[Put], problem: Exception) -> list[tuple[Put, Outcome]]:
        if len(puts) > 1:
            half = len(puts) // 2
            return [*self.store(puts[:half]), *self.store(puts[half:])]
        put = puts[0]
        if len(put.drafts) > 1 and not put.effects:
            return [(put, self._store_drafts_in_parts(put))]
        metrics.EVENTS_UNSTORABLE.inc(len(put.drafts))
        _complain(put, problem)
        told = Draft(EventType.ERROR, {"message": "an event could not be stored"})
        kept = [draft for draft in put.drafts if draft.type in CORRALS_OWN]
        for drafts, effects in (([told, *kept], put.effects), ([told, *kept], ()), ([], put.effects)):
            rest = Put(put.session, put.epoch, drafts, effects, 0)
            rest.render()
            try:
                appended = self._append(self._entries([rest]))
            except _Veto:
                return [(put, Vetoed())]
            except Exception as again:  # noqa: BLE001 - see store()
                _complain(rest, again)
            else:
                return [(put, Fenced(put.session) if appended.fenced else None)]
        return [(put, NotStored())]

    def _store_drafts_in_parts(self, put: Put) -> Outcome:
        half = len(put.drafts) // 2
        outcomes = [
            outcome
            for drafts in (put.drafts[:half], put.drafts[half:])
            for _, outcome in self.store([Put(put.session, put.epoch, drafts, (), 0)])
        ]
        return next((outcome for outcome in outcomes if outcome is not None), None)

    def _entries(self, puts: Iterable[Put]) -> list[Entry]:
        grouped: dict[SessionId, list[Put]] = {}
        for put in puts:
            grouped.setdefault(put.session, []).append(put)
        return [self._entry(session, together) for session, together in grouped.items()]

    def _entry(self, session: SessionId, puts: Sequence[Put]) -> Entry:
        epoch = puts[0].epoch
        before = self._batches.get(session, (epoch, 0))
        batch = before[1] + 1 if before[0] == epoch else 1
        self._batches[session] = (epoch, batch)
        events = [one for put in puts for one in put.prepared or ()]
        return Entry(session, epoch, batch, events, [_guarded(put) for put in puts if put.effects])

    def _append(self, entries: Sequence[Entry]) -> Appended:
        """Append, trying again with the very same entries while the database is away: their order must not change.

        Raises:
            NotStored: the journal was closed while the database was away.
        """
        pauses = iter(RETRY_S)
        pause_s = 0.0
        while True:
            began = time.monotonic()
            try:
                appended = owner.append(self._database, entries)
            except DatabaseAway:
                pause_s = next(pauses, pause_s)
                metrics.JOURNAL_RETRIES.inc()
                if self._stop.wait(pause_s):
                    raise NotStored from None
            else:
                metrics.COMMIT_SECONDS.observe(time.monotonic() - began)
                metrics.EVENTS_COMMITTED.inc(len(appended.events))
                self._publish(appended.events)
                return appended

    def _publish(self, events: Sequence[Event]) -> None:
        try:
            self._committed(events)
        except Exception:
            # Committed is committed: what fails here must not look like a commit that failed, and be repeated.
            log.exception("journal.unpublished", events=len(events))


class _Veto(Exception):
    def __init__(self, put: Put) -> None:
        super().__init__()
        self.put = put


def _guarded(put: Put) -> Effect:
    def effect(connection: Connection) -> None:
        try:
            for one in put.effects:
                one(connection)
        except Vetoed as veto:
            raise _Veto(put) from veto

    return effect


def _complain(put: Put, problem: Exception) -> None:
    # Kinds only: the message of a database error quotes what the agent said, and callers' secrets may be in there.
    kinds = [type(problem).__name__, type(getattr(problem, "orig", None)).__name__]
    log.error("journal.unstorable", session=put.session, events=len(put.drafts), problem=kinds)


def _render(put: Put) -> None:
    try:
        put.render()
    except Exception as problem:  # noqa: BLE001 - a driver's data that is no JSON must not end the journal
        _complain(put, problem)
        metrics.EVENTS_UNSTORABLE.inc(len(put.drafts))
        kept = [draft for draft in put.drafts if draft.type in CORRALS_OWN]
        put.drafts = [Draft(EventType.ERROR, {"message": "an event could not be stored"}), *kept]
        put.render()
