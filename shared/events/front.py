"""The front door to the log: operations tell facts they decide themselves, in the transaction of those facts.

Only named types pass. Everything an agent does goes through `owner.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
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
        # A pull request that a caller opened.
        EventType.NOTICE,
        # A queued turn that is withdrawn, and a session that ends while nobody hosts it: no owner is needed,
        # because no agent has anything to do with them.
        EventType.TURN_ENDED,
        EventType.SESSION_ENDED,
        EventType.SESSION_STRANDED,
    }
)

REPORTED: Final = frozenset(
    {
        EventType.SESSION_STARTED,
        EventType.TURN_QUEUED,
        EventType.TURN_STARTED,
        EventType.TURN_ENDED,
        EventType.MESSAGE,
        EventType.TOOL_CALL,
        EventType.TOOL_RESULT,
        EventType.PERMISSION_REQUEST,
        EventType.ASK_RESOLVED,
        EventType.NOTICE,
        EventType.SESSION_IDLE,
    }
)
"""What the reports of an external session may tell. It never has an owner who could tell it."""


def append(connection: Connection, session: SessionId, drafts: Sequence[Draft]) -> list[Event]:
    """Append to the log of `session`, in the caller's transaction.

    Call it before other statements on the session's rows, so that the head's lock is taken first everywhere.

    Raises:
        NotFound: no such session.
        ValueError: a type that only an owner may append.
    """
    _check(drafts, TYPES)
    moment = clock.now()
    last = heads.reserve(connection, session, len(drafts), moment)
    if last is None:
        raise NotFound("session", session)
    return _write(connection, session, drafts, last, moment)


def report(connection: Connection, session: SessionId, drafts: Sequence[Draft]) -> list[Event]:
    """The same for what an external session's agent reports of itself.

    Raises:
        NotFound: no such session, or one that a worker hosts.
        ValueError: a type that no report tells.
    """
    _check(drafts, REPORTED)
    moment = clock.now()
    last = heads.reserve_external(connection, session, len(drafts), moment)
    if last is None:
        raise NotFound("external session", session)
    return _write(connection, session, drafts, last, moment)


def _check(drafts: Sequence[Draft], types: frozenset[EventType]) -> None:
    foreign = {draft.type for draft in drafts} - types
    if foreign:
        msg = f"only a session's owner appends {sorted(foreign)}"
        raise ValueError(msg)


def _write(
    connection: Connection, session: SessionId, drafts: Sequence[Draft], last: int, moment: datetime
) -> list[Event]:
    prepared = [prepare(session, draft) for draft in drafts]
    first = last - len(prepared) + 1
    at = clock.to_text(moment)
    written = [number(session, one, first + place, at) for place, one in enumerate(prepared)]
    events.insert(connection, written)
    keep_asides(connection, session, prepared)
    return written
