"""The owner's door to the log: whoever hosts a session appends under its epoch, many sessions in one commit.

Not for the API: see `front.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from shared.domain import clock
from shared.domain.event import Event
from shared.domain.ids import SessionId
from shared.events.codec import Prepared, number
from shared.store import blobs, events, heads
from shared.store.database import Connection, Database

Effect = Callable[[Connection], None]
"""A change of facts that must be committed with the events that tell it. May be run again after a rollback."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What one owner wants committed for one session, all or nothing.

    `batch` counts up from 1 within an epoch; an entry that was committed is never committed again under
    the same number, so a retry after a COMMIT of unknown outcome is safe.
    """

    session: SessionId
    epoch: int
    batch: int
    events: Sequence[Prepared]
    effects: Sequence[Effect] = ()


@dataclass(frozen=True, slots=True)
class Appended:
    """What a commit did."""

    events: Sequence[Event]
    """All events now in the log, per session in order of seq."""
    fenced: frozenset[SessionId]
    """Sessions whose epoch is no longer the entry's: nothing of theirs was written, and their host must let go."""
    repeated: frozenset[SessionId]
    """Sessions whose entry had been committed by an earlier try."""


def append(database: Database, entries: Iterable[Entry]) -> Appended:
    """Commit the entries (at most one a session) in one transaction.

    Raises:
        DatabaseAway: nothing is known to be committed; repeat with the same entries.
        DatabaseError: an entry cannot be stored; the caller halves the batch to find it.
    """
    with database.write() as connection:
        return append_in(connection, entries)


def append_in(connection: Connection, entries: Iterable[Entry]) -> Appended:
    """The same inside a transaction that does more."""
    by_session = {entry.session: entry for entry in sorted(entries, key=lambda entry: entry.session)}
    moment = clock.now()
    wished = [
        heads.OwnerRange(entry.session, entry.epoch, entry.batch, len(entry.events)) for entry in by_session.values()
    ]
    given = heads.reserve_owned(connection, wished, moment)
    written = _write(connection, by_session, given, clock.to_text(moment))
    missing = [entry for session, entry in by_session.items() if session not in given]
    repeated = frozenset(
        entry.session for entry in missing if heads.has_batch(connection, entry.session, entry.epoch, entry.batch)
    )
    return Appended(written, frozenset(entry.session for entry in missing) - repeated, repeated)


def _write(
    connection: Connection, entries: Mapping[SessionId, Entry], given: Mapping[SessionId, int], created_at: str
) -> list[Event]:
    written: list[Event] = []
    for session, last in given.items():
        prepared = entries[session].events
        first = last - len(prepared) + 1
        written += [number(session, one, first + place, created_at) for place, one in enumerate(prepared)]
    if written:
        events.insert(connection, written)
    for session in given:
        keep_asides(connection, session, entries[session].events)
        for effect in entries[session].effects:
            effect(connection)
    return written


def keep_asides(connection: Connection, session: SessionId, prepared: Iterable[Prepared]) -> None:
    """Store the large values that were cut out of events, in the transaction of those events."""
    for one in prepared:
        for aside in one.asides:
            blobs.create(
                connection,
                id=aside.id,
                session=session,
                media_type=aside.media_type,
                content=aside.content,
                at=clock.now(),
            )
