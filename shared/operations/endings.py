"""Ends, or names stranded, sessions that nobody hosts. A hosted session is ended by its host alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from shared.domain import clock
from shared.domain.ask import Ask, AskStatus
from shared.domain.event import Draft, Event, EventType
from shared.domain.ids import SessionId
from shared.domain.json import JsonObject
from shared.domain.session import EndReason, SessionStatus
from shared.domain.turn import Ending, TurnStatus
from shared.events import front
from shared.store import asks, external, heads, turns
from shared.store.database import Connection, Database

_TURNS = {
    EndReason.TERMINATED: TurnStatus.CANCELLED,
    # Nobody wished it and the agent did not fail: it was left, or is out of sight.
    EndReason.AGENT_LEFT: TurnStatus.INTERRUPTED,
    EndReason.HEARTBEAT_LOST: TurnStatus.INTERRUPTED,
}
"""What becomes of a turn that is open when its session ends."""


@dataclass(frozen=True, slots=True)
class Front:
    """Where facts are kept and who is told after they are."""

    database: Database
    committed: Callable[[Sequence[Event]], None]


def end_unhosted(place: Front, session: SessionId, reason: EndReason, detail: str | None) -> bool:
    """End a session that nobody hosts; False where somebody does, or it has ended. Safe to repeat.

    Each turn still open gets its terminal event first.
    """
    with place.database.write() as connection:
        written = end_under_lock(connection, session, reason, detail)
    place.committed(written)
    return bool(written)


def end_under_lock(connection: Connection, session: SessionId, reason: EndReason, detail: str | None) -> list[Event]:
    """The same inside the caller's transaction; the events that tell it, none where nothing was done."""
    head = heads.lock(connection, session)
    if head is None or head.owner is not None or head.status is SessionStatus.ENDED:
        return []
    moment = clock.now()
    open_turns = turns.open_turns(connection, session)
    ending = Ending(_TURNS.get(reason, TurnStatus.FAILED), f"session_{reason}", error=detail)
    # What still waits for a human waits in vain; whoever parked the session should have said so already.
    lost = asks.unresolved_of(connection, session)
    drafts = [Draft(EventType.ASK_RESOLVED, _lost(ask), ask.turn) for ask in lost]
    drafts += [Draft(EventType.TURN_ENDED, ending.data(), turn.id) for turn in open_turns]
    drafts.append(Draft(EventType.SESSION_ENDED, {"reason": reason.value, "detail": detail}))
    written = front.append(connection, session, drafts)
    for ask in lost:
        asks.lose(connection, ask.id, moment)
    for turn in open_turns:
        turns.end(connection, turn.id, ending, moment)
    heads.end(connection, session, reason, detail, moment)
    if head.external:
        # Whoever looks for silent sessions each second must not find all that ever ended.
        external.hear(connection, session, None)
    return written


def _lost(ask: Ask) -> JsonObject:
    return {"ask_id": ask.id, "kind": ask.kind.value, "status": AskStatus.LOST.value, "reason": "session_ended"}


def strand(place: Front, session: SessionId) -> bool:
    """Say that no live worker has the session's volume; it goes on when one returns. Safe to repeat."""
    with place.database.write() as connection:
        head = heads.lock(connection, session)
        if head is None or head.owner is not None or head.status in {SessionStatus.STRANDED, SessionStatus.ENDED}:
            return False
        data = {"reason": "no_worker_on_volume", "volume_id": head.volume_id}
        written = front.append(connection, session, [Draft(EventType.SESSION_STRANDED, dict(data))])
        heads.set_status(connection, session, SessionStatus.STRANDED)
    place.committed(written)
    return True
