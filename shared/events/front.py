"""The front door to the log: operations tell facts they decide themselves, in the transaction of those facts.

Only named types pass. Everything an agent does goes through `owner.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from shared.domain import clock
from shared.domain.errors import NotFound
from shared.domain.event import Draft, Event, EventType
from shared.domain.ids import SessionId
from shared.events.codec import number, prepare
from shared.events.owner import keep_asides
from shared.store import events, heads
from shared.store.database import Connection

TYPES: Final = frozenset(
    {
        EventType.TURN_QUEUED,
        EventType.ASK_RESOLVED,
        EventType.FILE_CHANGED,
        # A queued turn that is withdrawn, and a session that ends while nobody hosts it: no owner is needed,
        # because no agent has anything to do with them.
        EventType.TURN_ENDED,
        EventType.SESSION_ENDED,
        EventType.SESSION_STRANDED,
    }
)


def append(connection: Connection, session: SessionId, drafts: Sequence[Draft]) -> list[Event]:
    """Append to the log of `session`, in the caller's transaction.

    Call it before other statements on the session's rows, so that the head's lock is taken first everywhere.

    Raises:
        NotFound: no such session.
        ValueError: a type that only an owner may append.
    """
    foreign = {draft.type for draft in drafts} - TYPES
    if foreign:
        msg = f"only a session's owner appends {sorted(foreign)}"
        raise ValueError(msg)
    moment = clock.now()
    last = heads.reserve(connection, session, len(drafts), moment)
    if last is None:
        raise NotFound("session", session)
    prepared = [prepare(session, draft) for draft in drafts]
    first = last - len(prepared) + 1
    at = clock.to_text(moment)
    written = [number(session, one, first + place, at) for place, one in enumerate(prepared)]
    events.insert(connection, written)
    keep_asides(connection, session, prepared)
    return written
